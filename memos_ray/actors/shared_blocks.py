"""What prompts of a namespace begin with, and the KV caches of that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor

from memos_ray.actors.kv_library import KvLibrary, KvName, KvObject, ids_by_tenant
from memos_ray.actors.kv_rest import KvRest
from memos_ray.actors.residency import Place
from memos_ray.core.activation import (
    CacheReport,
    CacheSource,
    CacheState,
    KvManifest,
    tenant_salt,
)
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ActivationRef, Form
from memos_ray.core.cube.predicate import Not, OneOf, Predicate, all_of, evaluate
from memos_ray.core.defects import describe_defect
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.scheduling import (
    PromptMemory,
    PromptStart,
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
AUTOMATIC = "automatic"
"""Attribute of an activation memory: whether the scheduler has made it by itself."""
PINNED = "pinned"
"""Attribute of an activation memory: whether its cache stays whatever else is needed."""

_BLOCKS = all_of(
    OneOf("form", (Form.ACTIVATION.value,)),
    Not(OneOf("state", tuple(state.value for state in GONE))),
)
_MOST = 16
_REST_S = 30.0
_RESTING_MOST = 1024
# A prompt waits for a cache at rest for a part of what computing the text would take.
_PATIENCE = 0.5
_PATIENCE_S = (0.05, 2.0)
_log = logging.getLogger(__name__)


class SharedBlocks:
    """Keeps the blocks of a shard's namespaces, and their caches.

    What a block consists of is an activation memory in the record store, with its sources. Which
    cache fits is asked anew for every prompt: the one that was built of exactly the current
    versions. So a cache of something changed, deleted, expired or taken from the caller is never
    used, whatever happened to this process in between; the commit also lets go of it at once.

    A cache is hot in the object store and rests in the blob store; a lost one is built again behind
    the answer that missed it.

    Attributes:
        counters: hits, misses, builds, loads and evictions of caches.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        builder: KvBuilderPort | None,
        library: KvLibrary,
        rest: KvRest | None,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._store = store
        self._builder = builder
        self._library = library
        self._at_rest = rest
        self._clock = clock
        self._executor = executor
        self.counters: Counter[str] = Counter()
        self._known: dict[Place, list[MemCube]] = {}
        self._building: dict[KvName, asyncio.Task[KvManifest]] = {}
        # What could not be built is not tried again with every prompt.
        self._failed: OrderedDict[KvName, tuple[float, str]] = OrderedDict()

    @property
    def rest_bytes(self) -> int:
        """Bytes of the caches at rest."""
        return 0 if self._at_rest is None else self._at_rest.memory_bytes

    def open(self, partition: int, epoch: int) -> None:
        """Takes over what rests of a partition that this shard owns now."""
        if self._at_rest is not None:
            self._at_rest.open(partition, epoch)

    async def find(
        self, place: Place, model: str, visible: Predicate
    ) -> tuple[PromptStart, list[MemCube]]:
        """Returns the newest block of which the caller may read everything, and its memories.

        Args:
            visible: what the caller may read.
        """
        for block in await self.of_model(place, model):
            ids = [source.cube_id or "" for source in block.descriptive.sources]
            heads = await self.holding(place, ids)
            if not all(evaluate(visible, facets_of(head)) for head in heads):
                continue
            memories = in_order([prompt_memory(head) for head in heads])
            if memories:
                return await self._with_cache(place, model, memories, pinned(block)), heads
        return PromptStart(), []

    async def build(self, place: Place, model: str, heads: Sequence[MemCube]) -> KvManifest:
        """Builds the cache of a block now.

        Raises:
            NotFoundError: there is no such model.
            InvalidInputError: the text is shorter than a KV block, or too long.
            UnavailableError: no replica answers.
            VersionConflictError: a memory has changed meanwhile.
        """
        memories = in_order([prompt_memory(head) for head in self._holding(heads)])
        name = KvName(place, model, sources_of(memories))
        self._failed.pop(name, None)
        building = self._start(name, memories)
        await asyncio.wait([building])
        if building.cancelled():
            raise VersionConflictError("a memory has changed meanwhile")
        return building.result()

    async def reports(
        self, place: Place, visible: Predicate, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Says what is known of the caches that the caller may know of.

        Args:
            visible: what the caller may read.
            ids: activation memories; all when absent.
        """
        return [
            await self._report(place, block)
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
        """Lets go of a block's cache, at rest as well; the next prompt has it computed again."""
        name, _ = await self._name(place, block)
        self._let_go(name)
        if self._at_rest is not None:
            self._at_rest.let_go([name])

    def apply(self, commit: Commit) -> None:
        """Lets go of what a commit has outdated."""
        changed = {CubeKey(cube.tenant, cube.id) for cube in commit.cubes}.union(commit.erased)
        ids = ids_by_tenant(changed)
        for name in [*self._library.names, *self._building]:
            if name.place.partition == commit.partition and name.touches(ids):
                self._let_go(name)
        if self._at_rest is not None:
            self._at_rest.outdate(ids, commit.partition)
        blocks = any(cube.payload.form is Form.ACTIVATION for cube in commit.cubes)
        if blocks or commit.erased:
            for place in [place for place in self._known if place.tenant in ids]:
                if place.partition == commit.partition:
                    del self._known[place]

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for place in [place for place in self._known if place.partition == partition]:
            del self._known[place]
        for name in [*self._library.names, *self._building]:
            if name.place.partition == partition:
                self._let_go(name)
        if self._at_rest is not None:
            self._at_rest.drop(partition)

    async def close(self) -> None:
        """Returns when what was to be written at rest is there."""
        if self._at_rest is not None:
            await self._at_rest.settle()

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

    async def _with_cache(
        self, place: Place, model: str, memories: Sequence[PromptMemory], keep: bool
    ) -> PromptStart:
        name = KvName(place, model, sources_of(memories))
        held = self._library.use(name, pinned=keep)
        if held is None and self._may_try(name):
            building = self._start(name, memories, keep)
            resting = self._at_rest.look(name) if self._at_rest is not None else None
            if resting is not None:
                least, most = _PATIENCE_S
                patience = min(max(least, _PATIENCE * resting.build_s), most)
                await asyncio.wait([building], timeout=patience)
                held = self._library.use(name, pinned=keep)
        self.counters["kv_misses" if held is None else "kv_hits"] += 1
        if held is None:
            return PromptStart(tuple(memories))
        (one,) = held
        return PromptStart(tuple(memories), one.manifest, references=(one.reference,))

    def _may_try(self, name: KvName) -> bool:
        until, _ = self._failed.get(name, (0.0, ""))
        return self._clock.monotonic() >= until

    def _start(
        self, name: KvName, memories: Sequence[PromptMemory], keep: bool = False
    ) -> asyncio.Task[KvManifest]:
        building = self._building.get(name)
        if building is None:
            building = asyncio.create_task(self._build(name, shared_text(memories), keep))
            building.add_done_callback(lambda done: self._finished(name, done))
            self._building[name] = building
        return building

    async def _build(self, name: KvName, text: str, keep: bool) -> KvManifest:
        resting = self._at_rest.look(name) if self._at_rest is not None else None
        if self._at_rest is not None and resting is not None:
            held = await self._at_rest.fetch(name)
            if held is not None:
                self.counters["kv_loads"] += 1
                self._hold(name, held, resting.build_s, keep)
                return held.manifest
        if self._builder is None:
            raise NotFoundError("no models are served here", model=name.model)
        salt = tenant_salt(name.place.tenant)
        started = self._clock.monotonic()
        manifest, reference = await self._builder.build(
            name.model, text, salt=salt, sources=name.sources
        )
        build_s = self._clock.monotonic() - started
        self._library.note_build(manifest.tokens, build_s)
        self.counters["kv_builds"] += 1
        held = KvObject(manifest, reference)
        self._hold(name, held, build_s, keep)
        if self._at_rest is not None:
            self._at_rest.save(name, held, build_s)
        return manifest

    def _hold(self, name: KvName, held: KvObject, build_s: float, keep: bool) -> None:
        gone = self._library.hold(name, (held,), build_s, pinned=keep)
        self.counters["kv_evictions"] += len(gone)

    def _finished(self, name: KvName, done: asyncio.Task[KvManifest]) -> None:
        self._building.pop(name, None)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._failed.pop(name, None)
            return
        reason = error.code if isinstance(error, MemosError) else describe_defect(error)
        self._failed[name] = (self._clock.monotonic() + _REST_S, reason)
        self._failed.move_to_end(name)
        while len(self._failed) > _RESTING_MOST:
            self._failed.popitem(last=False)
        _log.warning("a KV cache was not built: %s", reason)

    def _let_go(self, name: KvName) -> None:
        self._library.let_go(name)
        building = self._building.pop(name, None)
        if building is not None:
            building.cancel()

    async def _report(self, place: Place, block: MemCube) -> CacheReport:
        name, heads = await self._name(place, block)
        current = {head.id: head.version.number for head in heads}
        assert isinstance(block.payload, ActivationRef)
        holding = self._library.look(name)
        resting = self._at_rest.look(name) if self._at_rest is not None else None
        state, reason = self._state(name)
        known = holding or resting
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
            heat=holding.heat(self._clock.monotonic()) if holding else 0.0,
            worth=self._library.worth(name) if holding else None,
            sources=tuple(
                CacheSource(source.cube_id, source.version or 0, current.get(source.cube_id))
                for source in block.descriptive.sources
                if source.cube_id is not None
            ),
        )

    def _state(self, name: KvName) -> tuple[CacheState, str | None]:
        if not name.sources:
            return CacheState.EMPTY, None
        if self._library.look(name) is not None:
            return CacheState.HOT, None
        if name in self._building:
            return CacheState.BUILDING, None
        if not self._may_try(name):
            return CacheState.FAILED, self._failed[name][1]
        if self._at_rest is not None and self._at_rest.look(name) is not None:
            return CacheState.RESTING, None
        return CacheState.ABSENT, None


def pinned(block: MemCube) -> bool:
    """Tells whether an activation memory's cache is to stay."""
    return block.descriptive.attributes.get(PINNED) is True


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
