"""The KV caches of what prompts begin with: computed, brought back, let go of."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor

from memos_ray.actors.activation.kv_library import KvLibrary, KvName, KvObject, ids_by_tenant
from memos_ray.actors.activation.kv_rest import KvRest, Resting
from memos_ray.core.activation import CacheState, KvManifest, tenant_salt
from memos_ray.core.defects import describe_defect
from memos_ray.core.scheduling.policies import Holding
from memos_ray.core.vault.log import Commit
from memos_ray.errors import InvalidInputError, MemosError, NotFoundError, VersionConflictError
from memos_ray.ports import ClockPort, KvBuilderPort, RecordStorePort

_REST_S = 30.0
_RESTING_MOST = 1024
# A prompt waits for a cache at rest for a part of what computing the text would take.
_PATIENCE = 0.5
_PATIENCE_S = (0.05, 2.0)
_log = logging.getLogger(__name__)


class KvCaches:
    """Keeps caches by what they were computed from: memories, and an adapter or none.

    A cache is hot in the object store and rests in the blob store; a lost one is built again behind
    the prompt that missed it. A commit lets go, before it is acknowledged, of every cache that
    something it changes went into: as text, or learnt by the adapter.

    Attributes:
        counters: hits, misses, builds, loads and evictions of caches.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`. A cache
    that several ask for is computed once.
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
        self._building: dict[KvName, asyncio.Task[KvManifest]] = {}
        # What could not be built is not tried again with every prompt.
        self._failed: OrderedDict[KvName, tuple[float, str]] = OrderedDict()

    @property
    def rest_bytes(self) -> int:
        """Bytes of the caches at rest."""
        return 0 if self._at_rest is None else self._at_rest.memory_bytes

    @property
    def names(self) -> list[KvName]:
        """The caches that there are, or will be soon."""
        resting = [] if self._at_rest is None else self._at_rest.names
        return list(dict.fromkeys([*self._library.names, *self._building, *resting]))

    def open(self, partition: int, epoch: int) -> None:
        """Takes over what rests of a partition that this shard owns now."""
        if self._at_rest is not None:
            self._at_rest.open(partition, epoch)

    async def use(
        self, name: KvName, text: str, *, keep: bool, weights: object | None = None
    ) -> KvObject | None:
        """Returns a cache if it is there, or soon; otherwise it is built behind the answer.

        Args:
            text: what it is of.
            keep: whether it stays whatever else is needed.
            weights: reference to those of the name's adapter.
        """
        held = self._library.use(name, pinned=keep)
        if self._at_rest is not None:
            # What is hot here is what the next owner wants first.
            self._at_rest.note(name, pinned=keep)
        resting = self.resting(name)
        tokens = self._library.expected_tokens(name.model, text)
        fits = resting is not None or self._library.admits(name, tokens, pinned=keep)
        if held is None and not fits:
            self.counters["kv_declined"] += 1
            _log.info("a KV cache is not built: it would not be kept, %s", self.why(name))
        elif held is None and self._may_try(name):
            building = self._start(name, text, keep, weights)
            if resting is not None:
                least, most = _PATIENCE_S
                patience = min(max(least, _PATIENCE * resting.build_s), most)
                await asyncio.wait([building], timeout=patience)
                held = self._library.use(name, pinned=keep)
        self.counters["kv_misses" if held is None else "kv_hits"] += 1
        return None if held is None else held[0]

    async def build(self, name: KvName, text: str) -> KvManifest:
        """Builds a cache now.

        Raises:
            NotFoundError: there is no such model.
            InvalidInputError: the text is shorter than a KV block, or too long.
            UnavailableError: no replica answers.
            VersionConflictError: a memory has changed meanwhile.
        """
        self._failed.pop(name, None)
        building = self._start(name, text, keep=False)
        await asyncio.wait([building])
        if building.cancelled():
            raise _changed()
        return building.result()

    def state(self, name: KvName) -> tuple[CacheState, str | None]:
        """Says where a cache is, and with which error it failed."""
        if self._library.look(name) is not None:
            return CacheState.HOT, None
        if name in self._building:
            return CacheState.BUILDING, None
        if not self._may_try(name):
            return CacheState.FAILED, self._failed[name][1]
        if self.resting(name) is not None:
            return CacheState.RESTING, None
        return CacheState.ABSENT, None

    def holding(self, name: KvName) -> Holding | None:
        """Returns what is known of a hot cache, without using it."""
        return self._library.look(name)

    def resting(self, name: KvName) -> Resting | None:
        """Returns what is known of a cache at rest."""
        return None if self._at_rest is None else self._at_rest.look(name)

    def heat(self, name: KvName) -> float:
        """Returns how much a cache is used."""
        holding = self._library.look(name)
        return 0.0 if holding is None else holding.heat(self._clock.monotonic())

    def why(self, name: KvName) -> str | None:
        """Says what decides over keeping a cache; nothing of one that nobody has asked for."""
        return self._library.why(name)

    def worth(self, name: KvName) -> float | None:
        """Returns by what the policy orders a hot cache."""
        return None if self._library.look(name) is None else self._library.worth(name)

    def evict(self, names: Iterable[KvName]) -> None:
        """Lets go of caches, at rest as well."""
        gone = list(names)
        for name in gone:
            self._let_go(name)
        if self._at_rest is not None:
            self._at_rest.let_go(gone)

    def apply(self, commit: Commit) -> None:
        """Lets go of what a commit has outdated."""
        changed = commit.touched
        ids = ids_by_tenant(changed)
        for name in [*self._library.names, *self._building]:
            if name.place.partition == commit.partition and name.touches(ids):
                self._let_go(name)
                self._library.outdated(name)
        if self._at_rest is not None:
            self._at_rest.outdate(ids, commit.partition)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for name in [*self._library.names, *self._building]:
            if name.place.partition == partition:
                self._let_go(name)
        if self._at_rest is not None:
            self._at_rest.drop(partition)

    async def close(self) -> None:
        """Returns when what was to be written at rest is there."""
        if self._at_rest is not None:
            await self._at_rest.settle()

    def _may_try(self, name: KvName) -> bool:
        until, _ = self._failed.get(name, (0.0, ""))
        return self._clock.monotonic() >= until

    def _start(
        self, name: KvName, text: str, keep: bool, weights: object | None = None
    ) -> asyncio.Task[KvManifest]:
        building = self._building.get(name)
        if building is None:
            building = asyncio.create_task(self._build(name, text, keep, weights))
            building.add_done_callback(lambda done: self._finished(name, done))
            self._building[name] = building
        return building

    async def _build(
        self, name: KvName, text: str, keep: bool, weights: object | None
    ) -> KvManifest:
        # Whoever asked may have read the memories before a commit that ended this cache. One that
        # comes later finds it under way.
        heads = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._store.heads, name.place.partition, name.keys
        )
        if not name.holds(heads.values()):
            raise _changed()
        resting = self.resting(name)
        if self._at_rest is not None and resting is not None:
            held = await self._at_rest.fetch(name)
            if held is not None:
                self.counters["kv_loads"] += 1
                self._library.note_build(held.manifest.tokens, resting.build_s)
                self._library.note_tokens(name.model, text, held.manifest.tokens)
                self._hold(name, held, resting.build_s, keep)
                return held.manifest
        if self._builder is None:
            raise NotFoundError("no models are served here", model=name.model)
        started = self._clock.monotonic()
        manifest, reference = await self._builder.build(
            name.model,
            text,
            salt=tenant_salt(name.place.tenant),
            sources=name.sources,
            adapter="" if name.adapter is None else name.adapter.digest,
            weights=weights,
        )
        build_s = self._clock.monotonic() - started
        self._library.note_build(manifest.tokens, build_s)
        self._library.note_tokens(name.model, text, manifest.tokens)
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
        if self._building.get(name) is done:
            del self._building[name]
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
        # A text may be too short for a cache: no defect, least of all beside what was learnt.
        level = logging.INFO if isinstance(error, InvalidInputError) else logging.WARNING
        _log.log(level, "a KV cache was not built: %s", reason)

    def _let_go(self, name: KvName) -> None:
        self._library.let_go(name)
        building = self._building.pop(name, None)
        if building is not None:
            building.cancel()


def _changed() -> VersionConflictError:
    return VersionConflictError("a memory has changed meanwhile")
