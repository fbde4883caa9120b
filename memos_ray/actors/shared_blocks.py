"""What prompts of a namespace begin with, and the KV caches of that."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass

from memos_ray.actors.residency import Place
from memos_ray.core.activation import KvManifest, SourceVersion, tenant_salt
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ActivationRef, Form
from memos_ray.core.cube.predicate import Not, OneOf, Predicate, all_of, evaluate
from memos_ray.core.defects import describe_defect
from memos_ray.core.scheduling import (
    PromptMemory,
    SharedMemories,
    holds,
    in_order,
    prompt_memory,
    shared_text,
    sources_of,
)
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Create
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import MemosError, NotFoundError, VersionConflictError
from memos_ray.ports import ClockPort, KvBuilderPort, RecordStorePort

MODEL = "model"
"""Attribute of an activation memory: the model that its cache is for."""

_BLOCKS = all_of(
    OneOf("form", (Form.ACTIVATION.value,)), Not(OneOf("state", (State.DELETED.value,)))
)
_MOST = 16
_REST_S = 30.0
_RESTING_MOST = 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """Exactly what a cache was built of: any change of a memory is another key."""

    place: Place
    model: str
    sources: tuple[SourceVersion, ...]

    def touches(self, changed: Set[CubeKey]) -> bool:
        """Tells whether one of the memories is among those that have changed."""
        tenant = self.place.tenant
        return any(CubeKey(tenant, source.cube_id) in changed for source in self.sources)


@dataclass(frozen=True, slots=True)
class _Built:
    manifest: KvManifest
    reference: object


class SharedBlocks:
    """Keeps the blocks of a shard's namespaces, and their caches within a byte budget.

    What a block consists of is an activation memory in the record store, with its sources. Which
    cache fits is asked anew for every prompt: the one that was built of exactly the current
    versions. So a cache of something changed, deleted, expired or taken from the caller is never
    used, whatever happened to this process in between; the commit also lets go of it at once.

    Eviction: the least recently used. A lost cache is built again behind the answer that missed it.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        builder: KvBuilderPort | None,
        clock: ClockPort,
        executor: Executor,
        budget_bytes: int,
    ) -> None:
        self._store = store
        self._builder = builder
        self._clock = clock
        self._executor = executor
        self._budget = budget_bytes
        self._bytes = 0
        self._known: dict[Place, list[MemCube]] = {}
        self._built: OrderedDict[_Key, _Built] = OrderedDict()
        self._building: dict[_Key, asyncio.Task[KvManifest]] = {}
        # What could not be built is not tried again with every prompt.
        self._resting: OrderedDict[_Key, float] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the caches held, in the object store."""
        return self._bytes

    async def find(
        self, place: Place, model: str, visible: Predicate
    ) -> tuple[SharedMemories, list[MemCube]]:
        """Returns the newest block of which the caller may read everything, and its memories.

        Args:
            visible: what the caller may read.
        """
        for block in await self._blocks(place):
            if block.descriptive.attributes.get(MODEL) != model:
                continue
            ids = [source.cube_id or "" for source in block.descriptive.sources]
            heads = self._holding(await self._heads(place, ids))
            if not all(evaluate(visible, facets_of(head)) for head in heads):
                continue
            memories = in_order([prompt_memory(head) for head in heads])
            if memories:
                return self._with_cache(place, model, memories), heads
        return SharedMemories(), []

    async def build(self, place: Place, model: str, heads: Sequence[MemCube]) -> KvManifest:
        """Builds the cache of a block now.

        Raises:
            NotFoundError: there is no such model.
            InvalidInputError: the text is shorter than a KV block, or too long.
            UnavailableError: no replica answers.
            VersionConflictError: a memory has changed meanwhile.
        """
        memories = in_order([prompt_memory(head) for head in self._holding(heads)])
        key = _Key(place, model, sources_of(memories))
        self._resting.pop(key, None)
        building = self._start(key, memories)
        await asyncio.wait([building])
        if building.cancelled():
            raise VersionConflictError("a memory has changed meanwhile")
        return building.result()

    def apply(self, commit: Commit) -> None:
        """Lets go of what a commit has outdated."""
        changed = {CubeKey(cube.tenant, cube.id) for cube in commit.cubes}.union(commit.erased)
        tenants = {key.tenant for key in changed}
        for key in [*self._built, *self._building]:
            if key.place.partition == commit.partition and key.touches(changed):
                self._let_go(key)
        blocks = any(cube.payload.form is Form.ACTIVATION for cube in commit.cubes)
        if blocks or commit.erased:
            for place in [place for place in self._known if place.tenant in tenants]:
                if place.partition == commit.partition:
                    del self._known[place]

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for place in [place for place in self._known if place.partition == partition]:
            del self._known[place]
        for key in [*self._built, *self._building]:
            if key.place.partition == partition:
                self._let_go(key)

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

    def _holding(self, heads: Sequence[MemCube]) -> list[MemCube]:
        now = self._clock.now()
        return [head for head in heads if holds(head, now)]

    def _with_cache(
        self, place: Place, model: str, memories: Sequence[PromptMemory]
    ) -> SharedMemories:
        key = _Key(place, model, sources_of(memories))
        built = self._built.get(key)
        if built is None:
            if self._clock.monotonic() >= self._resting.get(key, 0.0):
                self._start(key, memories)
            return SharedMemories(tuple(memories))
        self._built.move_to_end(key)
        return SharedMemories(tuple(memories), built.manifest, built.reference)

    def _start(self, key: _Key, memories: Sequence[PromptMemory]) -> asyncio.Task[KvManifest]:
        building = self._building.get(key)
        if building is None:
            building = asyncio.create_task(self._build(key, shared_text(memories)))
            building.add_done_callback(lambda done: self._finished(key, done))
            self._building[key] = building
        return building

    async def _build(self, key: _Key, text: str) -> KvManifest:
        if self._builder is None:
            raise NotFoundError("no models are served here", model=key.model)
        salt = tenant_salt(key.place.tenant)
        manifest, reference = await self._builder.build(
            key.model, text, salt=salt, sources=key.sources
        )
        self._built[key] = _Built(manifest, reference)
        self._bytes += manifest.size_bytes
        for other in list(self._built):
            if self._bytes <= self._budget or other == key:
                break
            self._let_go(other)
        return manifest

    def _finished(self, key: _Key, done: asyncio.Task[KvManifest]) -> None:
        self._building.pop(key, None)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._resting.pop(key, None)
            return
        self._resting[key] = self._clock.monotonic() + _REST_S
        self._resting.move_to_end(key)
        while len(self._resting) > _RESTING_MOST:
            self._resting.popitem(last=False)
        reason = error.code if isinstance(error, MemosError) else describe_defect(error)
        _log.warning("a KV cache was not built: %s", reason)

    def _let_go(self, key: _Key) -> None:
        built = self._built.pop(key, None)
        if built is not None:
            self._bytes -= built.manifest.size_bytes
        building = self._building.pop(key, None)
        if building is not None:
            building.cancel()


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
        attributes={MODEL: request.model},
        visibility=Visibility.PRIVATE if private else None,
    )
