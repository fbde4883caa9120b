"""VAULT-5: a partition that is given up and comes back is served whole."""

from __future__ import annotations

import asyncio
import threading

from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import Commit
from memos_ray.core.vault.operations import Create, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import MemosError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.waiting import eventually

CALLER = CallContext(Principal("acme", "user:ann"))


class Gate:
    """Where calls wait while it is closed."""

    def __init__(self) -> None:
        self.waits, self.opened = threading.Event(), threading.Event()
        self.opened.set()

    def close(self) -> None:
        self.waits.clear()
        self.opened.clear()

    def pass_through(self) -> None:
        self.waits.set()
        self.opened.wait()


class Gated(MemoryRecordStore):
    """A store whose commits and cursors are held back."""

    def __init__(self) -> None:
        super().__init__()
        self.commits, self.cursors = Gate(), Gate()

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        self.commits.pass_through()
        super().commit(commit)

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""
        self.cursors.pass_through()
        super().advance(partition, epoch, name, lsn)


async def test_VAULT_5_what_a_fenced_partition_leaves_behind_is_not_of_the_next_one() -> None:
    store = Gated()
    settings = VaultSettings(partitions=1)
    bench = ShardBench(store, ManualClock(), lambda: Ring(1, ("one",)), settings)
    await bench.admit("acme", ["user:ann"], {"notes": NamespaceMode.WRITABLE})
    shard = bench.shard("one")

    def write(text: str) -> asyncio.Task[list[Written | MemosError]]:
        create = Create(Plaintext(text), minted_id=text)
        submission = Submission(CALLER, Write("notes", create))
        return asyncio.create_task(shard.write(0, [submission]))

    try:
        await shard.own([0])
        store.cursors.close()
        await write("first")
        await eventually(store.cursors.waits.is_set)
        store.take(0, "two", store.fence(0).epoch + 1)
        store.commits.close()
        second = write("second")
        await eventually(store.commits.waits.is_set)
        # The feed hears of the newer owner while a write is still under way.
        store.cursors.opened.set()
        while 0 in (await shard.status()).partitions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        own = asyncio.create_task(shard.own([0]))
        await asyncio.sleep(0.1)
        store.commits.opened.set()
        await asyncio.gather(own, second)
        report = await shard.evolution(0, CALLER, "notes")
        assert report.proposals == ()
        (outcome,) = await write("third")
        assert isinstance(outcome, Written)
        assert (await shard.extraction(0, CALLER, "notes")).jobs == ()
    finally:
        store.commits.opened.set()
        store.cursors.opened.set()
        await shard.close()
