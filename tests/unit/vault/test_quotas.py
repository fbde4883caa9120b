"""VAULT-1: a namespace holds no more text than its quota, whatever fails in between."""

from __future__ import annotations

import pytest

from memos_ray.actors.vault.transactions import Transactions
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.operations import (
    Age,
    Archive,
    Create,
    Delete,
    Freeze,
    Operation,
    Restore,
    Rollback,
    Update,
    UpdateMode,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError, PolicyUnavailableError, QuotaExceededError, StoreError
from memos_ray.ports import NamespaceSize
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.record_store import MemoryRecordStore

PARTITION, EPOCH, QUOTA = 2, 1, 10
ANN = CallContext(Principal("acme", "user:ann"))


class CountedStore(MemoryRecordStore):
    """Counts how often sizes are asked for."""

    measured = 0

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """See `RecordStorePort.size`."""
        self.measured += 1
        return super().size(partition, tenant, namespace)


class Bench:
    """The transactions of one writer, over one store."""

    def __init__(self, *faults: Fault) -> None:
        self.guard = OwnerGuard({"notes": QUOTA})
        self.plan = FaultPlan(faults)
        self.store = CountedStore()
        self.store.take(PARTITION, "shard-0", EPOCH)
        self.restart()

    def restart(self) -> None:
        faulty = FaultyRecordStore(self.store, self.plan)
        self.transactions = Transactions(PARTITION, EPOCH, faulty, self.guard, ManualClock())

    def write(
        self, *operations: Operation, whole: bool = False, space: str = "notes"
    ) -> list[Written | MemosError]:
        given = [Submission(ANN, Write(space, operation)) for operation in operations]
        last = self.store.last_lsn(PARTITION)
        return self.transactions.run(given, last, True, whole)[1]

    @property
    def used(self) -> int:
        return MemoryRecordStore.size(self.store, PARTITION, "acme", "notes").text_bytes


@pytest.fixture
def bench() -> Bench:
    return Bench()


def new(id: str, size: int) -> Create:
    return Create(Plaintext("x" * size), id=id)


def say(id: str, text: str, mode: UpdateMode = UpdateMode.MERGE) -> Update:
    return Update(id, mode, text=text)


def passed(outcomes: list[Written | MemosError]) -> list[bool]:
    for one in outcomes:
        assert isinstance(one, Written | QuotaExceededError), one
    return [isinstance(one, Written) for one in outcomes]


def test_VAULT_1_a_write_beyond_the_quota_is_refused_and_says_by_how_much(bench: Bench) -> None:
    assert passed(bench.write(new("a", 7))) == [True]
    (error,) = bench.write(new("b", 4))
    assert isinstance(error, QuotaExceededError)
    assert (error.http_status, error.retryable) == (409, False)
    assert error.details == {
        "namespace": "notes",
        "quota_bytes": QUOTA,
        "used_bytes": 7,
        "needed_bytes": 4,
    }
    assert passed(bench.write(new("b", 3))) == [True]
    assert bench.used == QUOTA


def test_VAULT_1_of_a_batch_what_fits_is_stored(bench: Bench) -> None:
    batch = [new("a", 6), new("b", 6), new("c", 4), new("d", 1)]
    assert passed(bench.write(*batch)) == [True, False, True, False]
    assert bench.used == QUOTA


def test_VAULT_1_a_whole_batch_that_does_not_fit_leaves_nothing(bench: Bench) -> None:
    assert passed(bench.write(new("a", 6), new("b", 6), whole=True)) == [True, False]
    assert bench.used == 0
    # Nothing of it is counted, either.
    assert passed(bench.write(new("c", QUOTA))) == [True]


def test_VAULT_1_bytes_are_counted_not_characters(bench: Bench) -> None:
    assert passed(bench.write(Create(Plaintext("é" * 6), id="a"))) == [False]
    assert passed(bench.write(Create(Plaintext("é" * 5), id="a"))) == [True]


def test_VAULT_1_at_the_limit_what_does_not_grow_passes(bench: Bench) -> None:
    bench.write(new("a", QUOTA))
    assert passed(bench.write(say("a", "y" * QUOTA))) == [True]
    assert passed(bench.write(say("a", "y" * (QUOTA + 1)))) == [False]
    assert passed(bench.write(say("a", "y", UpdateMode.APPEND))) == [False]
    steps: list[Operation] = [
        Freeze("a"),
        Freeze("a", frozen=False),
        Archive("a"),
        Restore("a"),
        say("a", "z"),
    ]
    for step in steps:
        assert passed(bench.write(step)) == [True], step
    assert passed(bench.write(new("b", QUOTA - 1))) == [True]
    # Back to the long text.
    assert passed(bench.write(Rollback("a", to=1))) == [False]


@pytest.mark.parametrize("hard", [False, True])
def test_VAULT_1_a_deletion_makes_room(bench: Bench, hard: bool) -> None:
    bench.write(new("a", QUOTA))
    assert passed(bench.write(new("b", 1))) == [False]
    assert passed(bench.write(Delete("a", hard=hard))) == [True]
    assert passed(bench.write(new("b", 1))) == [True]
    if not hard:
        assert passed(bench.write(Restore("a"))) == [False]
        bench.write(Delete("b"))
        assert passed(bench.write(Restore("a"))) == [True]
        assert bench.used == QUOTA


def test_VAULT_1_room_made_in_a_batch_is_there_for_what_follows(bench: Bench) -> None:
    bench.write(new("a", QUOTA))
    batch: list[Operation] = [new("b", 1), Delete("a"), new("c", QUOTA), new("d", 1)]
    assert passed(bench.write(*batch)) == [False, True, True, False]


def test_VAULT_1_a_quota_lowered_below_what_is_there_refuses_growth_only(bench: Bench) -> None:
    bench.write(new("a", 6), new("b", 4))
    bench.guard.quotas["notes"] = 3
    assert passed(bench.write(new("c", 1))) == [False]
    assert passed(bench.write(say("a", "yyyyy"), Archive("b"))) == [True, True]
    assert passed(bench.write(say("a", "yyyyyy"))) == [False]
    assert passed(bench.write(Delete("a"), Delete("b"), new("c", 3))) == [True, True, True]


def test_VAULT_1_a_quota_that_comes_later_counts_what_is_there(bench: Bench) -> None:
    del bench.guard.quotas["notes"]
    bench.write(new("a", QUOTA))
    bench.guard.quotas["notes"] = QUOTA
    assert passed(bench.write(new("b", 1))) == [False]
    # What is written while nobody counts is not forgotten.
    del bench.guard.quotas["notes"]
    assert passed(bench.write(new("c", 5), Delete("a"))) == [True, True]
    bench.guard.quotas["notes"] = QUOTA
    assert passed(bench.write(new("d", 6))) == [False]
    assert passed(bench.write(new("d", 5))) == [True]


def test_VAULT_1_it_survives_a_restart(bench: Bench) -> None:
    bench.write(new("a", 8))
    bench.restart()
    assert passed(bench.write(new("b", 3))) == [False]
    assert passed(bench.write(new("b", 2))) == [True]


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
def test_VAULT_1_after_a_failed_commit_it_counts_what_is_at_rest(moment: Moment) -> None:
    bench = Bench(Fault("commit", 2, StoreError("the disk is away"), moment))
    bench.write(new("a", 4))
    with pytest.raises(StoreError):
        bench.write(new("b", 4))
    left = QUOTA - bench.used
    assert left == (2 if moment is Moment.AFTER else 6)
    assert passed(bench.write(new("c", left + 1))) == [False]
    assert passed(bench.write(new("c", left))) == [True]


def test_VAULT_1_a_namespace_is_measured_once_and_one_without_a_quota_never(bench: Bench) -> None:
    for number in range(5):
        bench.write(new(f"a{number}", 1))
        bench.write(new(f"b{number}", 1), space="free")
    bench.write(Delete("a0"))
    bench.write(new("a0x", 1))
    assert bench.store.measured == 1


def test_VAULT_1_a_replayed_write_is_answered_when_there_is_no_room(bench: Bench) -> None:
    given = Submission(ANN, Write("notes", new("a", QUOTA), "key-1"))
    for replayed in (False, True):
        last = bench.store.last_lsn(PARTITION)
        (outcome,) = bench.transactions.run([given], last, True)[1]
        assert isinstance(outcome, Written) and outcome.replayed is replayed


def test_VAULT_1_LIFE_2_memories_age_while_there_is_no_policy_and_make_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(new("a", 6), new("b", 4), Delete("a"))
    passed(bench.write(new("c", 1), Delete("c")))

    def away(tenant: str, namespace: str) -> int | None:
        raise PolicyUnavailableError("the policy is out of lease")

    with monkeypatch.context() as patched:
        patched.setattr(bench.guard, "quota_bytes", away)
        (error,) = bench.write(new("d", 1))
        assert isinstance(error, PolicyUnavailableError)
        aged = [
            Age("a", Move.COLLECT, Cause.RETENTION, 2),
            Age("b", Move.ERASE, Cause.RETENTION, 1),
        ]
        assert passed(bench.write(*aged)) == [True, True]
    assert passed(bench.write(new("d", QUOTA + 1))) == [False]
    assert passed(bench.write(new("d", QUOTA))) == [True]
    assert bench.used == QUOTA
