"""Which namespaces a shard holds in memory, within a byte budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex, VectorSet
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import NotOwnerError
from memos_ray.ports import ClockPort, RecordStorePort, StoredVectors

_HEAT_HALF_LIFE_S = 300.0
_LOAD_BATCH = 512
_BYTES_PER_MEMORY = 3 << 10
_PENDING_MAX = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """One partition's share of a namespace."""

    partition: int
    tenant: str
    namespace: str


@dataclass(slots=True)
class _Resident:
    """An index in memory; `pending` is what has been committed, but not entered yet."""

    index: ResidentIndex
    heat: float
    touched_at: float
    memories: int = 0
    memory_bytes: int = 0
    pending: list[_Delta] = field(default_factory=list)
    pending_changes: int = 0


@dataclass(slots=True)
class _Loading:
    """A load under way: what is committed meanwhile is applied when it is done."""

    done: asyncio.Task[ResidentIndex]
    commits: list[Commit] = field(default_factory=list)
    vectors: list[StoredVectors] = field(default_factory=list)


@dataclass(slots=True)
class _Delta:
    """What a commit changes in one place."""

    gone: list[str] = field(default_factory=list)
    changed: dict[str, MemCube] = field(default_factory=dict)


class Residency:
    """Resident indexes of a shard.

    Invariants: an index handed out holds exactly the undeleted heads of its place as of the newest
    commit seen by `apply` (commits are entered in bulk when the index is next asked for, so that a
    bulk load does not wait for it); the sum of `memory_bytes` exceeds `budget_bytes` at most by the
    index in use.

    Eviction: coldest first, by accesses that decay with a half-life of five minutes.

    Concurrency: methods run on the actor's event loop; loads run on `executor`.
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
        self._store = store
        self._space = space
        self._new_index = new_index
        self._clock = clock
        self._executor = executor
        self._budget = budget_bytes
        self._memories = 0
        self._bytes = 0
        self._held: dict[Place, _Resident] = {}
        self._loading: dict[Place, _Loading] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def memories(self) -> int:
        """Memories held, over all namespaces."""
        return self._memories

    @property
    def memory_bytes(self) -> int:
        """RAM held, over all namespaces."""
        return self._bytes

    async def index(self, place: Place) -> ResidentIndex | None:
        """Returns the index of a place, loading it first; nothing when it exceeds the budget.

        Raises:
            StoreError: when it cannot be read.
            NotOwnerError: when the partition was given up meanwhile.
        """
        if place not in self._held:
            loading = self._loading.get(place)
            if loading is None:
                loop = asyncio.get_running_loop()
                size = await loop.run_in_executor(
                    self._executor, self._store.size, place.partition, place.tenant, place.namespace
                )
                if size.cubes * _BYTES_PER_MEMORY > self._budget:
                    return None
                # Another call may have begun the same load while this one asked for the size.
                loading = self._loading.get(place) or self._start(place)
            await asyncio.wait([loading.done])
            if loading.done.cancelled():
                raise NotOwnerError("the partition has moved", partition=place.partition)
            loading.done.result()
        resident = self._held.get(place)
        if resident is None:
            return None
        self._enter(resident)
        self._touch(resident)
        self._evict(keep=place)
        return resident.index

    def apply(self, commit: Commit) -> None:
        """Brings the resident indexes up to a commit; others learn of it when they load."""
        for place, delta in _deltas(commit).items():
            if place in self._loading:
                self._loading[place].commits.append(commit)
            if place in self._held:
                resident = self._held[place]
                resident.pending.append(delta)
                resident.pending_changes += len(delta.changed) + len(delta.gone)
                if resident.pending_changes >= _PENDING_MAX:
                    self._enter(resident)

    def attach(self, place: Place, rows: Iterable[StoredVectors]) -> None:
        """Hands new vectors to the index that holds their memories."""
        if place in self._loading:
            self._loading[place].vectors.extend(rows)
        if place in self._held:
            self._enter(self._held[place])
            _attach(self._held[place].index, rows)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for place in [place for place in self._held if place.partition == partition]:
            self._release(place)
        for place in [place for place in self._loading if place.partition == partition]:
            self._loading.pop(place).done.cancel()

    def _start(self, place: Place) -> _Loading:
        loading = _Loading(asyncio.create_task(self._load(place)))
        self._loading[place] = loading
        return loading

    async def _load(self, place: Place) -> ResidentIndex:
        loop = asyncio.get_running_loop()
        try:
            index = await loop.run_in_executor(self._executor, self._read, place)
            loading = self._loading[place]
            for commit in loading.commits:
                _apply(index, _deltas(commit)[place])
            _attach(index, loading.vectors)
            self._held[place] = _Resident(index, 0.0, self._clock.monotonic())
            self._measure(self._held[place])
            return index
        finally:
            self._loading.pop(place, None)

    def _read(self, place: Place) -> ResidentIndex:
        index = self._new_index()
        memories: list[IndexedMemory] = []
        vectors: list[StoredVectors] = []

        def flush() -> None:
            index.upsert(memories)
            _attach(index, vectors)
            memories.clear()
            vectors.clear()

        rows = self._store.load(place.partition, place.tenant, place.namespace, self._space)
        for cube, stored in rows:
            if not _indexed(cube):
                continue
            memories.append(IndexedMemory.of(cube))
            if stored is not None:
                vectors.append(stored)
            if len(memories) >= _LOAD_BATCH:
                flush()
        flush()
        return index

    def _touch(self, resident: _Resident) -> None:
        now = self._clock.monotonic()
        resident.heat = _decayed(resident, now) + 1.0
        resident.touched_at = now

    def _enter(self, resident: _Resident) -> None:
        for delta in resident.pending:
            _apply(resident.index, delta)
        resident.pending.clear()
        resident.pending_changes = 0
        self._measure(resident)

    def _measure(self, resident: _Resident) -> None:
        memories, size = len(resident.index), resident.index.memory_bytes
        self._memories += memories - resident.memories
        self._bytes += size - resident.memory_bytes
        resident.memories, resident.memory_bytes = memories, size

    def _release(self, place: Place) -> None:
        resident = self._held.pop(place)
        self._memories -= resident.memories
        self._bytes -= resident.memory_bytes

    def _evict(self, keep: Place) -> None:
        if self._bytes <= self._budget:
            return
        now = self._clock.monotonic()
        for place in sorted(self._held, key=lambda p: _decayed(self._held[p], now)):
            if self._bytes <= self._budget:
                return
            if place != keep:
                self._release(place)


def _decayed(resident: _Resident, now: float) -> float:
    return resident.heat * float(0.5 ** ((now - resident.touched_at) / _HEAT_HALF_LIFE_S))


def _indexed(cube: MemCube) -> bool:
    return cube.state is not State.DELETED


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
    return deltas


def _apply(index: ResidentIndex, delta: _Delta) -> None:
    gone = [*delta.gone, *(c.id for c in delta.changed.values() if not _indexed(c))]
    index.remove([cube_id for cube_id in gone if cube_id in index])
    index.upsert([IndexedMemory.of(c) for c in delta.changed.values() if _indexed(c)])


def _attach(index: ResidentIndex, rows: Iterable[StoredVectors]) -> None:
    for row in rows:
        if row.key.id in index:
            index.attach_vectors(row.key.id, VectorSet.from_bytes(row.body))
