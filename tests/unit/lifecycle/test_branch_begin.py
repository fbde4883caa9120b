"""LIFE-3, GOV-9: on a log of before, branches are followed from where they may begin."""

from __future__ import annotations

import pytest

from memos_ray.actors.vault import partition
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.vault.operations import Create, Delete, Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import Ring
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.cubes import make_commit, make_cube
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.waiting import eventually

ANN = CallContext(Principal("acme", "user:ann"))
PLACE = "notes"
OLD = 40


class Noting(MemoryRecordStore):
    """A store that notes the steps of the feed of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""
        super().advance(partition, epoch, name, lsn)
        if name == "branch":
            self.steps.append(lsn)


async def test_LIFE_3_a_log_of_before_is_not_walked_for_branches_that_there_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "LOG_BATCH", 16)
    store = Noting()
    store.take(0, "before", 1)
    cubes = [make_cube("tea", id=f"m{n}", tenant="acme", namespace=PLACE) for n in range(OLD)]
    store.commit(make_commit(cubes, after=0, partition=0, epoch=1))
    clock = ManualClock()
    bench = ShardBench(store, clock, lambda: Ring(1, ("one",)), VaultSettings(partitions=1))
    await bench.admit("acme", ("user:ann",), {PLACE: NamespaceMode.WRITABLE})
    shard = bench.shard("one")
    await shard.own([0])
    try:
        await eventually(lambda: store.cursor(0, "branch") == OLD)
        assert store.steps == [OLD]
        # What is erased from now on is followed.
        create = Create(Plaintext("rain"), id="a")
        (done,) = await shard.write(0, [Submission(ANN, Write(PLACE, create))])
        assert isinstance(done, Written)
        clock.advance(1)
        await shard.create_branch(0, ANN, PLACE, "trial", None, None)
        clock.advance(1)
        change = Update("a", UpdateMode.OVERWRITE, text="snow")
        await shard.branch_write(0, PLACE, "trial", [Submission(ANN, Write(PLACE, change))])
        branch = f"{PLACE}{BRANCH_MARK}trial"
        assert store.scan(0, "acme", branch, Everything(), None, 9)
        await shard.write(0, [Submission(ANN, Write(PLACE, Delete("a", hard=True)))])
        await eventually(lambda: not store.scan(0, "acme", branch, Everything(), None, 9))
    finally:
        await shard.close()
