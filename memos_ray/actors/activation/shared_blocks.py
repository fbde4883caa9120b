"""What prompts of a namespace begin with, and the KV caches of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from memos_ray.actors.activation.kv_caches import KvCaches
from memos_ray.actors.activation.kv_library import KvAdapter, KvName, KvObject
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import (
    AdaptedCache,
    CacheReport,
    CacheSource,
    CacheState,
    KvManifest,
)
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ActivationRef, Form
from memos_ray.core.cube.predicate import OneOf, Predicate, all_of, evaluate
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.scheduling import (
    PromptStart,
    Taught,
    holds,
    in_order,
    prompt_memory,
    shared_text,
    sources_of,
    unlearnt,
)
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Create
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.ports import ClockPort, RecordStorePort

MODEL = "model"
"""Attribute of an activation memory: the model that its cache is for."""
AUTOMATIC = "automatic"
"""Attribute of an activation memory: whether the scheduler has made it by itself."""
PINNED = "pinned"
"""Attribute of an activation memory: whether its cache stays whatever else is needed."""

_BLOCKS = all_of(
    OneOf("form", (Form.ACTIVATION.value,)),
    OneOf("state", tuple(state.value for state in LIVE)),
)
_MOST = 16


class SharedBlocks:
    """Keeps the blocks of a shard's namespaces, and finds their caches.

    What a block consists of is an activation memory in the record store, with its sources. Which
    cache fits is asked anew for every prompt: the one that was built of exactly the current
    versions. So a cache of something changed, deleted, expired or taken from the caller is never
    used, whatever happened to this process in between.

    A prompt for an adapter begins with what of the block that has not learnt, and has a cache of
    just this, computed with it. Whether a prompt is for it shows later, so both caches are found.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        caches: KvCaches,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._store = store
        self._caches = caches
        self._clock = clock
        self._executor = executor
        self._known: dict[Place, list[MemCube]] = {}

    async def find(
        self,
        place: Place,
        model: str,
        visible: Predicate,
        taught: Taught | None = None,
        *,
        exactly: bool = False,
    ) -> tuple[PromptStart, list[MemCube]]:
        """Returns the newest block of which the caller may read everything, and its memories.

        Args:
            visible: what the caller may read.
            taught: what the model has learnt, if the prompt may be for that.
            exactly: whether it is for nothing else.
        """
        for block in await self.of_model(place, model):
            ids = [source.cube_id or "" for source in block.descriptive.sources]
            heads = await self.holding(place, ids)
            if not all(evaluate(visible, facets_of(head)) for head in heads):
                continue
            memories = in_order([prompt_memory(head) for head in heads])
            if memories:
                start = PromptStart(tuple(memories), taught=taught)
                keep = pinned(block)
                return await self._with_caches(place, model, start, keep, exactly), heads
        return PromptStart(taught=taught), []

    async def build(self, place: Place, model: str, heads: Sequence[MemCube]) -> KvManifest:
        """Builds the cache of a block now, for the base; see `KvCaches.build`."""
        memories = in_order([prompt_memory(head) for head in self._holding(heads)])
        name = KvName(place, model, sources_of(memories))
        return await self._caches.build(name, shared_text(memories))

    async def reports(
        self, place: Place, visible: Predicate, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Says what is known of the caches that the caller may know of.

        Args:
            visible: what the caller may read.
            ids: activation memories; all when absent.
        """
        return [
            await self._report(place, block, visible)
            for block in await self._blocks(place)
            if (ids is None or block.id in ids) and evaluate(visible, facets_of(block))
        ]

    async def of_model(self, place: Place, model: str) -> list[MemCube]:
        """Returns the blocks of a model, the newest first."""
        return [
            block
            for block in await self._blocks(place)
            if block.descriptive.attributes.get(MODEL) == model
        ]

    async def evict(self, place: Place, block: MemCube) -> None:
        """Lets go of a block's caches, at rest as well; the next prompt has them computed again."""
        name, _ = await self._name(place, block)
        self._caches.evict([name, *self._adapted(name)])

    def apply(self, commit: Commit) -> None:
        """Forgets the blocks that a commit changes."""
        blocks = any(cube.payload.form is Form.ACTIVATION for cube in commit.cubes)
        if not blocks and not commit.erased:
            return
        tenants = {cube.tenant for cube in commit.cubes}.union(key.tenant for key in commit.erased)
        for place in list(self._known):
            if place.partition == commit.partition and place.tenant in tenants:
                del self._known[place]

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for place in [place for place in self._known if place.partition == partition]:
            del self._known[place]

    async def _blocks(self, place: Place) -> list[MemCube]:
        known = self._known.get(place)
        if known is None:
            loop = asyncio.get_running_loop()
            known = await loop.run_in_executor(
                self._executor,
                self._store.scan,
                place.partition,
                place.tenant,
                place.namespace,
                _BLOCKS,
                None,
                _MOST,
            )
            self._known[place] = known
        return known

    async def _heads(self, place: Place, ids: Sequence[str]) -> list[MemCube]:
        loop = asyncio.get_running_loop()
        keys = [CubeKey(place.tenant, cube_id) for cube_id in ids]
        found = await loop.run_in_executor(self._executor, self._store.heads, place.partition, keys)
        return list(found.values())

    async def holding(self, place: Place, ids: Sequence[str]) -> list[MemCube]:
        """Returns those memories that may stand in a prompt."""
        return self._holding(await self._heads(place, ids)) if ids else []

    def _holding(self, heads: Sequence[MemCube]) -> list[MemCube]:
        now = self._clock.now()
        return [head for head in heads if holds(head, now)]

    async def _name(self, place: Place, block: MemCube) -> tuple[KvName, list[MemCube]]:
        """Returns what a block's cache would be built of now, and the current memories."""
        ids = [source.cube_id or "" for source in block.descriptive.sources]
        heads = await self.holding(place, ids)
        memories = in_order([prompt_memory(head) for head in heads])
        model = str(block.descriptive.attributes.get(MODEL, ""))
        return KvName(place, model, sources_of(memories)), heads

    async def _with_caches(
        self, place: Place, model: str, start: PromptStart, keep: bool, exactly: bool
    ) -> PromptStart:
        """Adds the cache of the base, and that of what has not been learnt, with the adapter."""
        taught = start.taught
        said = [] if taught is None else unlearnt(start.memories, taught.known)

        async def base() -> KvObject | None:
            if exactly:
                return None
            name = KvName(place, model, sources_of(start.memories))
            return await self._caches.use(name, shared_text(start.memories), keep=keep)

        async def adapted() -> KvObject | None:
            if taught is None or not said:
                return None
            name = KvName(place, model, sources_of(said), adapter=adapter_name(taught))
            text, weights = shared_text(said), taught.weights
            return await self._caches.use(name, text, keep=keep, weights=weights)

        own, learnt = await asyncio.gather(base(), adapted())
        if own is not None:
            start = replace(start, kv=own.manifest, references=(own.reference,))
        if taught is not None and learnt is not None:
            taught = replace(taught, kv=learnt.manifest, reference=learnt.reference)
        return replace(start, taught=taught)

    def _adapted(self, base: KvName) -> list[KvName]:
        """Returns the caches of a block that were computed with adapters."""
        block, found = set(base.sources), []
        for name in self._caches.names:
            if name.adapter is None or (name.place, name.model) != (base.place, base.model):
                continue
            if block.difference(name.adapter.learnt) <= set(name.sources) <= block:
                found.append(name)
        return found

    async def _report(self, place: Place, block: MemCube, visible: Predicate) -> CacheReport:
        name, heads = await self._name(place, block)
        current = {head.id: head.version.number for head in heads}
        assert isinstance(block.payload, ActivationRef)
        state, reason = self._caches.state(name) if name.sources else (CacheState.EMPTY, None)
        known = self._caches.holding(name) or self._caches.resting(name)
        return CacheReport(
            cube_id=block.id,
            version=block.version.number,
            namespace=place.namespace,
            model=name.model,
            state=state,
            reason=reason,
            tokens=block.payload.tokens,
            size_bytes=known.size_bytes if known else block.payload.size_bytes,
            pinned=pinned(block),
            build_s=known.build_s if known else None,
            heat=self._caches.heat(name),
            worth=self._caches.worth(name),
            sources=tuple(
                CacheSource(source.cube_id, source.version or 0, current.get(source.cube_id))
                for source in block.descriptive.sources
                if source.cube_id is not None
            ),
            why=self._caches.why(name),
            adapted=tuple([each async for each in self._adapted_reports(name, visible)]),
        )

    async def _adapted_reports(
        self, base: KvName, visible: Predicate
    ) -> AsyncIterator[AdaptedCache]:
        """Yields what is known of a block's caches with adapters that the caller may know of."""
        for name in self._adapted(base):
            assert name.adapter is not None
            ids = [name.adapter.id, *(one.cube_id for one in name.adapter.learnt)]
            heads = await self._heads(base.place, ids)
            if not all(evaluate(visible, facets_of(head)) for head in heads):
                continue
            known = self._caches.holding(name) or self._caches.resting(name)
            state, _ = self._caches.state(name)
            yield AdaptedCache(
                adapter_id=name.adapter.id,
                adapter=name.adapter.digest,
                state=state,
                memories=len(name.sources),
                size_bytes=known.size_bytes if known else 0,
                build_s=known.build_s if known else None,
                heat=self._caches.heat(name),
                worth=self._caches.worth(name),
            )


def pinned(block: MemCube) -> bool:
    """Tells whether an activation memory's cache is to stay."""
    return block.descriptive.attributes.get(PINNED) is True


def adapter_name(taught: Taught) -> KvAdapter:
    """Names what a cache was computed with."""
    stale = sources_of(taught.stale)
    return KvAdapter(taught.id, taught.adapter, (*taught.learnt, *stale))


def activation_of(
    request: ConvertRequest, heads: Sequence[MemCube], manifest: KvManifest
) -> Create:
    """Makes the activation memory of a block: never wider open than the narrowest source."""
    private = any(head.governance.visibility is Visibility.PRIVATE for head in heads)
    payload = ActivationRef(manifest.name, manifest.engine, manifest.tokens, manifest.size_bytes)
    return Create(
        payload=payload,
        minted_id=request.minted_id,
        origin=Origin.CONVERSION,
        sources=tuple(SourceRef(cube_id=head.id, version=head.version.number) for head in heads),
        attributes={MODEL: request.model} | ({AUTOMATIC: True} if request.automatic else {}),
        visibility=Visibility.PRIVATE if private else None,
    )
