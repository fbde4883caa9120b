"""Group commit: who shares a transaction, who waits, and what is known when a store fails."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from memos_ray.actors.vault.writer import PartitionWriter
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Create, Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FencedError,
    InternalError,
    MemosError,
    NotOwnerError,
    OverloadedError,
    QuotaExceededError,
    StoreError,
    UnavailableError,
)
from memos_ray.ports import RecordStorePort
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

CALLER = CallContext(Principal("acme", "user:ann"))
PARTITION, EPOCH, BATCH, QUEUE, QUOTA = 3, 1, 4, 50, 10
AWAY = UnavailableError("the store is away")


class GatedStore(MemoryRecordStore):
    """Holds each commit back while the gate is closed; counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        self.entered.set()
        self.gate.wait()
        super().commit(commit)
        self.sizes.append(len(commit.events))


class Bench:
    """A writer, and what it has shown to the caches."""

    def __init__(self, store: RecordStorePort) -> None:
        self.seen: list[Commit] = []
        self.fenced: list[int] = []
        self.executor = ThreadPoolExecutor(2)
        self.counters: Counter[str] = Counter()
        self.writer = PartitionWriter(
            PARTITION,
            EPOCH,
            store=store,
            guard=OwnerGuard({"small": QUOTA}),
            clock=ManualClock(),
            executor=self.executor,
            batch=BATCH,
            queue_max=QUEUE,
            on_commit=self.seen.append,
            on_fenced=self.fenced.append,
            counters=self.counters,
        )

    def shown(self) -> list[str]:
        return [cube.text for commit in self.seen for cube in commit.cubes]


@pytest.fixture
def store() -> GatedStore:
    store = GatedStore()
    store.take(PARTITION, "shard-0", EPOCH)
    return store


@pytest.fixture
async def bench(store: GatedStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    store.gate.set()
    await bench.writer.close()
    bench.executor.shutdown()


def creation(id: str, key: str | None = None) -> Submission:
    return Submission(CALLER, Write("notes", Create(Plaintext(f"text of {id}"), id=id), key))


def creations(prefix: str, count: int) -> list[Submission]:
    return [creation(f"{prefix}{number}") for number in range(count)]


def lsns(outcomes: Sequence[Written | MemosError]) -> list[int]:
    return [outcome.lsn for outcome in outcomes if isinstance(outcome, Written)]


async def begun(writer: PartitionWriter, *calls: Sequence[Submission]) -> list[asyncio.Task]:
    """Starts calls, in this order, and returns when all of them are in the queue."""
    tasks = [asyncio.create_task(writer.submit(call)) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def test_writes_that_arrive_during_a_commit_share_the_next(
    bench: Bench, store: GatedStore
) -> None:
    store.gate.clear()
    (first,) = await begun(bench.writer, [creation("a")])
    await eventually(store.entered.is_set)
    rest = await begun(bench.writer, *([one] for one in creations("b", BATCH)))
    store.gate.set()
    await asyncio.gather(first, *rest)
    assert store.sizes == [1, BATCH]


async def test_VAULT_1_whoever_writes_what_a_quota_refuses_is_counted(bench: Bench) -> None:
    """A caller, a sweep, and what follows the log all write by the one writer."""
    large = Write("small", Create(Plaintext("x" * (QUOTA + 1)), id="a"))
    for context in (CALLER, CALLER.aside()):
        (outcome,) = await bench.writer.submit([Submission(context, large)])
        assert isinstance(outcome, QuotaExceededError)
    outcomes = await bench.writer.submit([Submission(CALLER, large)] * 2, whole=True)
    assert [type(one) for one in outcomes] == [QuotaExceededError] * 2
    assert bench.counters["quota_refused"] == 4


async def test_SCHED_5_background_writes_come_behind_those_that_somebody_waits_for(
    bench: Bench, store: GatedStore
) -> None:
    store.gate.clear()
    (first,) = await begun(bench.writer, [creation("a")])
    await eventually(store.entered.is_set)
    sweep = [replace(one, context=CALLER.aside()) for one in creations("sweep", BATCH)]
    calls = await begun(bench.writer, *([one] for one in [*sweep, *creations("lone", BATCH)]))
    store.gate.set()
    outcomes = [lsns(await call)[0] for call in calls]
    await first
    assert max(outcomes[BATCH:]) < min(outcomes[:BATCH])


async def test_a_bulk_load_does_not_hold_up_a_lone_write(bench: Bench, store: GatedStore) -> None:
    store.gate.clear()
    bulk, lone = await begun(bench.writer, creations("bulk", 40), [creation("lone")])
    store.gate.set()
    assert lsns(await lone)[0] <= 2 * BATCH
    assert lsns(await bulk) == sorted(lsns(await bulk))
    assert len(await bulk) == 40
    assert max(store.sizes) == BATCH


async def test_background_writes_wait_for_others_and_share_no_transaction_with_them(
    bench: Bench, store: GatedStore
) -> None:
    store.gate.clear()
    writer = bench.writer
    first = await begun(writer, creations("a", 1))
    await eventually(store.entered.is_set)
    aside = [replace(one, context=one.context.aside()) for one in creations("s", 6)]
    sweep = asyncio.create_task(writer.submit(aside))
    await eventually(lambda: writer.queued == 7)
    late = await begun(writer, creations("b", 1), creations("c", 1))
    store.gate.set()
    await asyncio.gather(*first, sweep, *late)
    assert bench.shown()[:3] == ["text of a0", "text of b0", "text of c0"]
    assert store.sizes == [1, 2, 4, 2]


async def test_the_writes_of_one_call_keep_their_order(bench: Bench, store: GatedStore) -> None:
    changes = [
        Submission(CALLER, Write("notes", Update("a", UpdateMode.APPEND, text=str(number))))
        for number in range(10)
    ]
    outcomes = await bench.writer.submit([creation("a"), *changes])
    assert [one.version for one in outcomes if isinstance(one, Written)] == list(range(1, 12))
    key = CubeKey("acme", "a")
    assert store.heads(PARTITION, [key])[key].text.split("\n")[1:] == [str(n) for n in range(10)]


async def test_a_full_queue_takes_nothing_more_and_loses_nothing(
    bench: Bench, store: GatedStore
) -> None:
    store.gate.clear()
    (accepted,) = await begun(bench.writer, creations("a", QUEUE))
    with pytest.raises(OverloadedError):
        await bench.writer.submit([creation("b")])
    store.gate.set()
    assert len(lsns(await accepted)) == QUEUE
    assert bench.writer.queued == 0


async def test_nobody_has_to_wait_for_a_write_to_happen(bench: Bench, store: GatedStore) -> None:
    store.gate.clear()
    (call,) = await begun(bench.writer, [creation("a")])
    call.cancel()
    store.gate.set()
    await bench.writer.close()
    assert bench.shown() == ["text of a"]
    with pytest.raises(NotOwnerError):
        await bench.writer.submit([creation("b")])


async def test_a_newer_owner_ends_it_at_once_and_for_good(bench: Bench, store: GatedStore) -> None:
    await bench.writer.submit([creation("a")])
    store.take(PARTITION, "shard-1", EPOCH + 1)
    outcomes = await bench.writer.submit(creations("b", 2 * BATCH))
    assert [type(one) for one in outcomes] == [FencedError] * 2 * BATCH
    assert bench.fenced == [PARTITION]
    with pytest.raises(NotOwnerError):
        await bench.writer.submit([creation("c")])
    assert store.last_lsn(PARTITION) == 1


def faulty(store: GatedStore, moment: Moment, error: MemosError = AWAY) -> FaultyRecordStore:
    return FaultyRecordStore(store, FaultPlan([Fault("commit", 2, error, moment)]))


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
async def test_after_a_failure_the_store_is_asked_what_holds(
    store: GatedStore, moment: Moment
) -> None:
    bench = Bench(faulty(store, moment))
    await bench.writer.submit([creation("a")])
    (failed,) = await bench.writer.submit([creation("b", "key")])
    assert failed is AWAY
    (again,) = await bench.writer.submit([creation("b", "key")])
    assert isinstance(again, Written)
    assert (again.lsn, again.replayed) == (2, moment is Moment.AFTER)
    await bench.writer.close()
    assert bench.shown() == ["text of a", "text of b"], "the caches have seen each commit once"


async def test_caches_hear_of_a_lost_answer_without_another_write(store: GatedStore) -> None:
    bench = Bench(faulty(store, Moment.AFTER))
    await bench.writer.submit([creation("a")])
    await bench.writer.submit([creation("b")])
    await bench.writer.close()
    assert bench.shown() == ["text of a", "text of b"]
    assert bench.writer.last_lsn == 2


async def test_a_commit_that_comes_through_late_is_not_made_twice(store: GatedStore) -> None:
    """The client has gone, but its server carries on: the write lands between look and plan."""
    slow = faulty(store, Moment.EARLY)
    bench = Bench(slow)
    await bench.writer.submit([creation("a")])
    await bench.writer.submit([creation("b", "key")])
    assert store.last_lsn(PARTITION) == 1
    await bench.writer.close()
    again = Bench(slow)
    # It knows where the log stood, and then the old commit lands.
    await again.writer.submit([])
    first = await again.writer.submit([creation("c")])
    assert lsns(first) == [2]
    with pytest.raises(MemosError):
        slow.land()
    (kept,) = await again.writer.submit([creation("b", "key")])
    assert isinstance(kept, Written) and not kept.replayed
    await again.writer.close()


async def test_a_late_commit_makes_the_plan_be_made_again(store: GatedStore) -> None:
    slow = faulty(store, Moment.EARLY)
    bench = Bench(slow)
    await bench.writer.submit([creation("a")])
    (lost,) = await bench.writer.submit([creation("b", "key")])
    assert lost is AWAY
    await eventually(lambda: bench.writer.last_lsn is not None)
    slow.land()
    (kept,) = await bench.writer.submit([creation("b", "key")])
    assert isinstance(kept, Written)
    assert (kept.lsn, kept.replayed) == (2, True)
    await bench.writer.close()
    assert bench.shown() == ["text of a", "text of b"]


async def test_what_nobody_has_thought_of_is_an_internal_error_and_the_writer_goes_on(
    store: GatedStore,
) -> None:
    class Odd(MemoryRecordStore):
        fails = True

        def heads(self, *arguments: object) -> dict:  # type: ignore[override]
            if self.fails:
                raise RuntimeError("odd")
            return {}

    odd = Odd()
    odd.take(PARTITION, "shard-0", EPOCH)
    bench = Bench(odd)
    outcomes = await bench.writer.submit(creations("a", 2))
    assert [type(one) for one in outcomes] == [InternalError] * 2
    odd.fails = False
    assert lsns(await bench.writer.submit(creations("a", 2))) == [1, 2]
    await bench.writer.close()


@pytest.mark.parametrize("error", [StoreError("no disk"), AWAY])
async def test_one_failure_is_told_to_all_who_shared_it_and_to_nobody_else(
    store: GatedStore, error: MemosError
) -> None:
    bench = Bench(faulty(store, Moment.BEFORE, error))
    store.gate.clear()
    (first,) = await begun(bench.writer, [creation("a")])
    await eventually(store.entered.is_set)
    calls = await begun(bench.writer, *([one] for one in creations("b", BATCH + 1)))
    store.gate.set()
    answers: list[list[Written | MemosError]] = await asyncio.gather(first, *calls)
    failed = [answer for answer in answers if answer == [error]]
    assert len(failed) == BATCH
    assert lsns([one for answer in answers for one in answer]) == [1, 2]
    await bench.writer.close()
