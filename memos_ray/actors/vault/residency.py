"""Which namespaces a shard holds in memory, within a byte budget."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.vault.heap import keep_what_searches_free
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex, VectorSet
from memos_ray.core.vault.log import Commit, CubeKey, Moved
from memos_ray.errors import NotOwnerError, StoreCorruptError
from memos_ray.ports import ClockPort, RecordStorePort, StoredVectors

_log = logging.getLogger(__name__)

_HEAT_HALF_LIFE_S = 300.0
_LOAD_BATCH = 512
_BYTES_PER_MEMORY = 3 << 10
_PENDING_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Place:
    """One partition's share of a namespace: what is in use there, or what has been put away."""

    partition: int
    tenant: str
    namespace: str
    archived: bool = False

    def holds(self, cube: MemCube | Moved) -> bool:
        """Tells whether a memory of the namespace is searched here."""
        wanted = cube.state is State.ARCHIVED if self.archived else cube.state in LIVE
        # Only texts are searched; other forms are found by their sources.
        return wanted and (isinstance(cube, Moved) or isinstance(cube.payload, Plaintext))


@dataclass(slots=True)
class _Resident:
    """An index in memory; `pending` is what has been committed, but not entered yet.

    `damaged` are the ids of what could not be read when it was loaded.
    """

    place: Place
    index: ResidentIndex
    heat: float
    touched_at: float
    memories: int = 0
    memory_bytes: int = 0
    damaged: frozenset[str] = frozenset()
    pending: deque[_Delta] = field(default_factory=deque)


@dataclass(slots=True)
class _Loading:
    """A load under way: what is committed meanwhile is applied when it is done."""

    done: asyncio.Task[None]
    courtesy: Courtesy
    pending: deque[_Delta] = field(default_factory=deque)
    vectors: list[StoredVectors] = field(default_factory=list)


@dataclass(slots=True)
class _Delta:
    """What a commit changes in one place."""

    gone: list[str] = field(default_factory=list)
    changed: dict[str, MemCube | Moved] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.gone) + len(self.changed)


class Residency:
    """Resident indexes of a shard.

    Invariants: an index handed out holds exactly the heads of its place (see `Place.holds`) as of
    the newest commit seen by `apply` (commits are entered when the index is next asked for, so that
    a bulk load does not wait for it, or when too many have gathered); the sum of `memory_bytes`
    exceeds `budget_bytes` at most by the indexes that somebody waits for.

    Eviction: coldest first, by accesses that decay with a half-life of five minutes.

    Concurrency: methods run on the actor's event loop, which gets its turn between commits that
    are entered; loads run on `executor`, batch by batch.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        space: str,
        new_index: Callable[[], ResidentIndex],
        clock: ClockPort,
        executor: Executor,
        budget_bytes: int,
    ) -> None:
        keep_what_searches_free()
        self._store = store
        self._space = space
        self._new_index = new_index
        self._clock = clock
        self._executor = executor
        self._budget = budget_bytes
        self._memories = 0
        self._bytes = 0
        self._pending = 0
        self._entering: asyncio.Task[None] | None = None
        self._held: dict[Place, _Resident] = {}
        self.counters: Counter[str] = Counter()
        # Not evicted between being loaded and being handed out.
        self._wanted: Counter[Place] = Counter()
        self._loading: dict[Place, _Loading] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, place: Place) -> bool:
        return place in self._held or place in self._loading

    @property
    def memories(self) -> int:
        """Memories held, over all namespaces."""
        return self._memories

    @property
    def memory_bytes(self) -> int:
        """RAM held, over all namespaces."""
        return self._bytes

    async def index(self, place: Place, courtesy: Courtesy | None = None) -> ResidentIndex | None:
        """Returns the index of a place, loading it first; nothing when it exceeds the budget.

        Args:
            courtesy: of background work, whose load takes turns with writes until somebody else
                waits for it.

        Raises:
            StoreError: when it cannot be read.
            NotOwnerError: when the partition was given up meanwhile.
        """
        self._wanted[place] += 1
        try:
            if place not in self._held and not await self._loaded(place, courtesy):
                return None
            resident = self._held.get(place)
            if resident is not None:
                await self._enter(resident)
            if resident is None or self._held.get(place) is not resident:
                raise NotOwnerError("the partition has moved", partition=place.partition)
            self._touch(resident)
            self._evict()
            return resident.index
        finally:
            self._wanted[place] -= 1
            if not self._wanted[place]:
                del self._wanted[place]

    def outdate(self, place: Place, index: ResidentIndex) -> None:
        """Lets go of an index that shows what cannot be read; the next load sets that aside."""
        if place in self._held and self._held[place].index is index:
            self._release(place)

    def damaged(self, place: Place) -> frozenset[str]:
        """Ids of what could not be read when the index of a place was loaded."""
        return self._held[place].damaged if place in self._held else frozenset()

    def apply(self, commit: Commit) -> None:
        """Brings the resident indexes up to a commit; others learn of it when they load."""
        for place, delta in _deltas(commit).items():
            if place in self._loading:
                self._loading[place].pending.append(delta)
            if place in self._held:
                self._held[place].pending.append(delta)
                self._pending += len(delta)
            self._apply_away(replace(place, archived=True), delta)
        if self._pending > _PENDING_MAX and self._entering is None:
            self._entering = asyncio.create_task(self._enter_all())

    def _apply_away(self, place: Place, delta: _Delta) -> None:
        """Lets go of what has been put away when it changes; who searches it loads it anew.

        What was in use has its vectors in the store, and takes none along.
        """
        if place in self._loading:
            self._loading[place].pending.append(delta)
        if place in self._held:
            index = self._held[place].index
            came = any(map(place.holds, delta.changed.values()))
            if came or any(one in index for one in (*delta.gone, *delta.changed)):
                self._release(place)

    async def attach(self, place: Place, rows: Sequence[StoredVectors]) -> None:
        """Hands new vectors to the index that holds their memories."""
        self.counters["embedded"] += len(rows)
        if place in self._held:
            await self._enter(self._held[place])
        if place in self._loading:
            self._loading[place].vectors.extend(rows)
        if place in self._held:
            _attach(self._held[place].index, rows)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for place in [place for place in self._held if place.partition == partition]:
            self._release(place)
        for place in [place for place in self._loading if place.partition == partition]:
            self._loading.pop(place).done.cancel()

    async def _loaded(self, place: Place, courtesy: Courtesy | None) -> bool:
        loading = self._loading.get(place)
        if loading is None:
            loop = asyncio.get_running_loop()
            size = await loop.run_in_executor(
                self._executor, self._store.size, place.partition, place.tenant, place.namespace
            )
            # Others may have begun the same load while this one asked for the size, or be done.
            if place in self._held:
                return True
            if size.cubes * _BYTES_PER_MEMORY > self._budget:
                return False
            loading = self._loading.get(place) or self._start(place, courtesy)
        with loading.courtesy if courtesy is None else nullcontext():
            await asyncio.wait([loading.done])
        if loading.done.cancelled():
            raise NotOwnerError("the partition has moved", partition=place.partition)
        loading.done.result()
        return True

    def _start(self, place: Place, courtesy: Courtesy | None) -> _Loading:
        loading = _Loading(
            asyncio.create_task(self._load(place)), courtesy or Courtesy(lambda: False)
        )
        self._loading[place] = loading
        return loading

    async def _load(self, place: Place) -> None:
        loop = asyncio.get_running_loop()
        loading = self._loading[place]
        index = self._new_index()
        damaged: list[CubeKey] = []
        batches = self._read(place, index, damaged)
        try:
            while await loop.run_in_executor(self._executor, next, batches, None) is not None:
                await loading.courtesy.turn()
            while loading.pending:
                _apply(place, index, loading.pending.popleft())
                await asyncio.sleep(0)
            _attach(index, loading.vectors)
            resident = _Resident(place, index, 0.0, self._clock.monotonic())
            resident.damaged = frozenset(key.id for key in damaged)
            self._held[place] = resident
            self._measure(resident)
            self.counters["namespaces_loaded"] += 1
            self.counters["memories_damaged"] += len(damaged)
            if damaged:
                _log.error(
                    "%d memories of a namespace of partition %d cannot be read, and are set aside",
                    len(damaged),
                    place.partition,
                )
        finally:
            self._loading.pop(place, None)

    def _read(self, place: Place, index: ResidentIndex, damaged: list[CubeKey]) -> Iterator[int]:
        """Fills an index with what can be read; yields its size after each batch."""
        memories: list[IndexedMemory] = []
        vectors: list[StoredVectors] = []

        def flush() -> None:
            index.upsert(memories)
            _attach(index, vectors)
            memories.clear()
            vectors.clear()

        where = (place.partition, place.tenant, place.namespace, self._space)
        rows = self._store.load(*where, damaged.append)
        for cube, stored in rows:
            if not place.holds(cube):
                continue
            memories.append(IndexedMemory.of(cube))
            if stored is not None:
                vectors.append(stored)
            if len(memories) >= _LOAD_BATCH:
                flush()
                yield len(index)
        flush()

    def _touch(self, resident: _Resident) -> None:
        now = self._clock.monotonic()
        resident.heat = _decayed(resident, now) + 1.0
        resident.touched_at = now

    async def _enter(self, resident: _Resident) -> None:
        if not resident.pending:
            return
        while resident.pending:
            delta = resident.pending.popleft()
            self._pending -= len(delta)
            _apply(resident.place, resident.index, delta)
            await asyncio.sleep(0)
        if self._held.get(resident.place) is resident:
            self._measure(resident)

    async def _enter_all(self) -> None:
        try:
            for resident in list(self._held.values()):
                await self._enter(resident)
        finally:
            self._entering = None

    def _measure(self, resident: _Resident) -> None:
        memories, size = len(resident.index), resident.index.memory_bytes
        self._memories += memories - resident.memories
        self._bytes += size - resident.memory_bytes
        resident.memories, resident.memory_bytes = memories, size

    def _release(self, place: Place) -> None:
        resident = self._held.pop(place)
        self._pending -= sum(map(len, resident.pending))
        resident.pending.clear()
        self._memories -= resident.memories
        self._bytes -= resident.memory_bytes

    def _evict(self) -> None:
        if self._bytes <= self._budget:
            return
        now = self._clock.monotonic()
        for place in sorted(self._held, key=lambda p: _decayed(self._held[p], now)):
            if self._bytes <= self._budget:
                return
            if place not in self._wanted:
                self._release(place)
                self.counters["namespaces_evicted"] += 1
                _log.info("a namespace of partition %d left the memory", place.partition)


def _decayed(resident: _Resident, now: float) -> float:
    return resident.heat * float(0.5 ** ((now - resident.touched_at) / _HEAT_HALF_LIFE_S))


def _deltas(commit: Commit) -> dict[Place, _Delta]:
    deltas: dict[Place, _Delta] = {}

    def at(tenant: str, namespace: str) -> _Delta:
        return deltas.setdefault(Place(commit.partition, tenant, namespace), _Delta())

    erased = set(commit.erased)
    for event in commit.events:
        if event.cube_id is not None and CubeKey(event.tenant, event.cube_id) in erased:
            at(event.tenant, event.namespace).gone.append(event.cube_id)
    for cube in commit.cubes:
        at(cube.tenant, cube.namespace).changed[cube.id] = cube
    for one in commit.moved:
        at(one.key.tenant, one.namespace).changed[one.key.id] = one
    return deltas


def _apply(place: Place, index: ResidentIndex, delta: _Delta) -> None:
    held = {cube_id: cube for cube_id, cube in delta.changed.items() if place.holds(cube)}
    gone = [*delta.gone, *(cube_id for cube_id in delta.changed if cube_id not in held)]
    index.remove([cube_id for cube_id in gone if cube_id in index])
    cubes = (one.cube() if isinstance(one, Moved) else one for one in held.values())
    index.upsert([IndexedMemory.of(cube) for cube in cubes])


def _attach(index: ResidentIndex, rows: Iterable[StoredVectors]) -> None:
    for row in rows:
        if row.key.id not in index:
            continue
        try:
            vectors = VectorSet.from_bytes(row.body)
        except StoreCorruptError as error:
            # Without them it is embedded anew.
            _log.error("vectors of a memory cannot be read: %s", error.code)
            continue
        index.attach_vectors(row.key.id, vectors)
