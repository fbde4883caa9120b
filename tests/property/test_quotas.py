"""VAULT-1: whatever is written, and whatever fails, no transaction grows past a quota."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.actors.vault.transactions import Transactions
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import Commit
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Operation,
    Restore,
    Rollback,
    Update,
    UpdateMode,
    Write,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import QuotaExceededError, StoreError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Moment
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.record_store import MemoryRecordStore

PARTITION, EPOCH = 2, 1
ANN = CallContext(Principal("acme", "user:ann"))

ids = st.sampled_from("abcd")
texts = st.text("xé", min_size=1, max_size=9)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(lambda id, text: Create(Plaintext(text), id=id), ids, texts),
    st.builds(
        lambda id, mode, text: Update(id, mode, text=text), ids, st.sampled_from(UpdateMode), texts
    ),
    st.builds(Delete, ids, st.booleans()),
    st.builds(Restore, ids),
    st.builds(Archive, ids),
    st.builds(Rollback, ids, st.integers(1, 3)),
)
faults = st.sampled_from((None, None, None, Moment.BEFORE, Moment.AFTER))
steps = st.tuples(
    st.lists(operations, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from((None, 0, 8, 12, 20, 20, 20)),
    faults,
)


class OneFault(MemoryRecordStore):
    """Fails in its next commit, before or after the effect, if it is told to."""

    fault: Moment | None = None

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        fault, self.fault = self.fault, None
        if fault is not Moment.BEFORE:
            super().commit(commit)
        if fault is not None:
            raise StoreError("the disk is away")


def used(store: MemoryRecordStore) -> int:
    return store.size(PARTITION, "acme", "notes").text_bytes


@settings(max_examples=80)
@given(st.lists(steps, min_size=1, max_size=8))
def test_VAULT_1_no_transaction_grows_past_the_quota(
    drawn: list[tuple[list[Operation], bool, int | None, Moment | None]],
) -> None:
    guard, store = OwnerGuard(), OneFault()
    store.take(PARTITION, "shard-0", EPOCH)
    running = Transactions(PARTITION, EPOCH, store, guard, ManualClock())
    for batch, whole, quota, store.fault in drawn:
        guard.quotas = {} if quota is None else {"notes": quota}
        before, last = used(store), store.last_lsn(PARTITION)
        given = [Submission(ANN, Write("notes", operation)) for operation in batch]
        try:
            _, outcomes = running.run(given, last, True, whole)
        except StoreError:
            outcomes = []
        after = used(store)
        assert quota is None or after <= max(quota, before)
        first = outcomes[0] if outcomes else None
        if isinstance(first, QuotaExceededError):
            # Nobody is refused who would fit, either.
            assert first.details["used_bytes"] == before
            assert before + int(str(first.details["needed_bytes"])) > int(str(quota))
