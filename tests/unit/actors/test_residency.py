"""Resident indexes: loaded once, up to date, within a budget, the coldest evicted first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.vault.log import Commit
from memos_ray.errors import NotOwnerError, StoreError
from memos_ray.ports import Damaged, NamespaceSize, StoredVectors
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.cubes import as_moved, make_commit, make_cube, next_version
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

SPACE = HashingEmbedder(64).space
PLENTY = 1 << 30


class GatedStore(MemoryRecordStore):
    """Holds loads back while the gate is closed, behind what they have read; counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.reading = threading.Event()
        self.loads = 0

    def load(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        space: str,
        damaged: Damaged | None = None,
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """See `RecordStorePort.load`."""
        self.loads += 1
        rows = list(super().load(partition, tenant, namespace, space, damaged))
        self.reading.set()
        self.gate.wait()
        yield from rows


class Bench:
    """A residency on a store to which commits are made."""

    def __init__(self, budget_bytes: int = PLENTY, plan: FaultPlan | None = None) -> None:
        self.store = GatedStore()
        self.store.take(0, "shard-0", 1)
        self.clock = ManualClock()
        self.executor = ThreadPoolExecutor(4)
        self.residency = Residency(
            store=FaultyRecordStore(self.store, plan or FaultPlan()),
            space=SPACE.digest,
            new_index=lambda: ResidentIndex(SPACE.dim, RetrievalSettings()),
            clock=self.clock,
            executor=self.executor,
            budget_bytes=budget_bytes,
        )

    def commit(self, *cubes: MemCube, erased: tuple[MemCube, ...] = ()) -> Commit:
        """Commits to the store, and shows it to the residency as the writer does."""
        commit = make_commit(cubes, erased=erased, after=self.store.last_lsn(0))
        self.store.commit(commit)
        self.residency.apply(commit)
        return commit

    def move(self, *cubes: MemCube) -> None:
        """Does the same with versions that are only in another state."""
        commit = make_commit(cubes, after=self.store.last_lsn(0))
        commit = replace(commit, cubes=(), moved=tuple(map(as_moved, commit.cubes)))
        self.store.commit(commit)
        self.residency.apply(commit)


def place(namespace: str = "notes") -> Place:
    return Place(0, "acme", namespace)


async def ids(bench: Bench, where: Place | None = None) -> set[str]:
    index = await bench.residency.index(where or place())
    assert index is not None
    return {cube_id for cube_id in ("a", "b", "c", "d") if cube_id in index}


async def test_an_index_holds_the_heads_that_are_not_deleted() -> None:
    bench = Bench()
    gone = make_cube(id="c")
    bench.commit(make_cube(id="a"), make_cube(id="b"), gone)
    bench.commit(next_version(gone, state=State.DELETED))
    assert await ids(bench) == {"a", "b"}
    bench.commit(make_cube(id="d"), make_cube(id="x", namespace="elsewhere"))
    bench.commit(erased=(make_cube(id="a"),))
    assert await ids(bench) == {"b", "d"}
    assert bench.store.loads == 1
    assert bench.residency.memories == 2


async def test_LIFE_1_what_only_moves_leaves_its_index_and_comes_back() -> None:
    bench = Bench()
    kept, moved = make_cube(id="a"), make_cube("tea at four", id="b")
    bench.commit(kept, moved)
    assert await ids(bench) == {"a", "b"}
    put_away = next_version(moved, state=State.ARCHIVED)
    bench.move(put_away)
    assert await ids(bench) == {"a"}
    away = replace(place(), archived=True)
    assert await ids(bench, away) == {"b"}
    bench.move(next_version(put_away, state=State.ACTIVATED))
    assert away not in bench.residency
    assert await ids(bench) == {"a", "b"}
    assert bench.store.loads == 2


async def test_all_who_ask_at_once_wait_for_one_load() -> None:
    bench = Bench()
    bench.commit(make_cube(id="a"))
    found = await asyncio.gather(*(bench.residency.index(place()) for _ in range(5)))
    assert len(set(map(id, found))) == 1
    assert bench.store.loads == 1


async def test_who_hears_late_how_large_it_is_finds_what_others_have_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.commit(make_cube(id="a"))
    size, asked, heard = bench.store.size, threading.Event(), threading.Event()

    def slow(partition: int, tenant: str, namespace: str) -> NamespaceSize:
        if not asked.is_set():
            asked.set()
            heard.wait()
        return size(partition, tenant, namespace)

    monkeypatch.setattr(bench.store, "size", slow)
    late = asyncio.create_task(bench.residency.index(place()))
    await asyncio.to_thread(asked.wait)
    first = await bench.residency.index(place())
    assert first is not None
    heard.set()
    assert await late is first
    assert bench.store.loads == 1
    assert (bench.residency.memories, bench.residency.memory_bytes) == (1, first.memory_bytes)


async def test_what_is_committed_during_a_load_is_in_the_index() -> None:
    bench = Bench()
    changed = make_cube("old", id="a")
    bench.commit(changed, make_cube(id="b"))
    bench.store.gate.clear()
    loading = asyncio.create_task(ids(bench))
    await asyncio.to_thread(bench.store.reading.wait)
    bench.commit(make_cube(id="c"), next_version(changed, state=State.DELETED))
    bench.store.gate.set()
    assert await loading == {"b", "c"}


async def test_giving_a_partition_up_ends_its_loads_and_its_indexes() -> None:
    bench = Bench()
    bench.commit(make_cube(id="a"), make_cube(id="b", namespace="other"))
    assert await ids(bench, place("other")) == {"b"}
    bench.store.reading.clear()
    bench.store.gate.clear()
    loading = asyncio.create_task(ids(bench))
    await asyncio.to_thread(bench.store.reading.wait)
    bench.residency.drop(0)
    bench.store.gate.set()
    with pytest.raises(NotOwnerError):
        await loading
    assert (len(bench.residency), bench.residency.memory_bytes) == (0, 0)


async def test_a_failed_load_is_told_and_tried_again() -> None:
    bench = Bench(plan=FaultPlan([Fault("load", 1, StoreError("no disk"))]))
    bench.commit(make_cube(id="a"))
    with pytest.raises(StoreError):
        await ids(bench)
    assert await ids(bench) == {"a"}


async def test_a_namespace_larger_than_the_budget_is_not_loaded() -> None:
    bench = Bench(budget_bytes=10_000)
    bench.commit(*(make_cube() for _ in range(4)))
    assert await bench.residency.index(place()) is None
    assert bench.store.loads == 0


async def test_OPER_5_the_coldest_is_evicted_first() -> None:
    measure = Bench()
    measure.commit(make_cube())
    await measure.residency.index(place())
    one = measure.residency.memory_bytes
    bench = Bench(budget_bytes=2 * one + one // 2)
    for name in ("cold", "warm", "new"):
        bench.commit(make_cube(namespace=name))
    await bench.residency.index(place("cold"))
    for _ in range(3):
        await bench.residency.index(place("warm"))
    bench.clock.advance(60)
    await bench.residency.index(place("new"))
    assert len(bench.residency) == 2
    assert bench.residency.memory_bytes <= 2 * one + one // 2
    loads = bench.store.loads
    await bench.residency.index(place("warm"))
    assert bench.store.loads == loads
    await bench.residency.index(place("cold"))
    assert bench.store.loads == loads + 1


async def test_old_heat_fades() -> None:
    measure = Bench()
    measure.commit(make_cube())
    await measure.residency.index(place())
    one = measure.residency.memory_bytes
    bench = Bench(budget_bytes=2 * one + one // 2)
    for name in ("once hot", "recent", "new"):
        bench.commit(make_cube(namespace=name))
    for _ in range(8):
        await bench.residency.index(place("once hot"))
    bench.clock.advance(3600)
    await bench.residency.index(place("recent"))
    await bench.residency.index(place("new"))
    loads = bench.store.loads
    await bench.residency.index(place("recent"))
    assert bench.store.loads == loads


async def test_a_load_in_the_background_takes_turns_until_somebody_waits_for_it() -> None:
    bench = Bench()
    bench.commit(*(make_cube() for _ in range(600)), make_cube(id="a"))
    paused, hurried = asyncio.Event(), False

    def pressing() -> bool:
        assert not hurried
        paused.set()
        return True

    background = asyncio.create_task(bench.residency.index(place(), Courtesy(pressing)))
    await paused.wait()
    waiting = asyncio.create_task(ids(bench))
    await asyncio.sleep(0)
    hurried = True
    async with asyncio.timeout(60):
        assert await waiting == {"a"}
    assert await background is await bench.residency.index(place())
    assert bench.store.loads == 1


async def test_a_bulk_load_is_entered_before_too_much_of_it_waits() -> None:
    bench = Bench()
    bench.commit(make_cube(id="a"))
    await ids(bench)
    cube = make_cube(id="b")
    for _ in range(40):
        commit = make_commit([cube] + [make_cube() for _ in range(499)], after=0)
        bench.residency.apply(commit)
        await asyncio.sleep(0)
    await eventually(lambda: bench.residency.memories > 15_000)


async def test_who_asks_gets_an_index_however_many_ask_for_others() -> None:
    names = [f"n{number}" for number in range(12)]
    bench = Bench()
    for name in names:
        bench.commit(*(make_cube(id=f"{name}-{i}", namespace=name) for i in range(20)))
    one = await bench.residency.index(place(names[0]))
    assert one is not None
    tight = Bench(budget_bytes=one.memory_bytes * 3 // 2)
    for name in names:
        tight.commit(*(make_cube(id=f"{name}-{i}", namespace=name) for i in range(20)))
    found = await asyncio.gather(*(tight.residency.index(place(name)) for name in names * 3))
    assert [None if index is None else len(index) for index in found] == [20] * len(found)
