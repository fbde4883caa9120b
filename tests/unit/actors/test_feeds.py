"""What follows the log sees each entry once what it speaks of can be seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.vault.log import Commit, CubeKey, Event
from memos_ray.core.vault.operations import Create, Operation, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import EventQuery
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.waiting import eventually

CALLER = CallContext(Principal("acme", "user:ann"))


class SlowAnswers(MemoryRecordStore):
    """A store whose commits are in force before they return, as those of every database.

    `before_events` happens just before the next look at a log that goes on behind `last`. `held` is
    the memory whose commit does not return before `answer`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before_events: Callable[[], None] | None = None
        self.last = 0
        self.held: str | None = None
        self.in_force = threading.Event()
        self.answer = threading.Event()

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        super().commit(commit)
        if self.held in {cube.id for cube in commit.cubes}:
            self.in_force.set()
            self.answer.wait()

    def events(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.events`."""
        if self.before_events is not None and self.last_lsn(partition) > self.last:
            happens, self.before_events = self.before_events, None
            happens()
        return super().events(partition, after, limit, query)


@pytest.fixture
def store() -> SlowAnswers:
    return SlowAnswers()


@pytest.fixture
async def shard(store: SlowAnswers) -> AsyncIterator[VaultShard]:
    ring = Ring(1, ("shard-0",))
    bench = ShardBench(store, ManualClock(), lambda: ring, VaultSettings(partitions=1))
    await bench.admit("acme", ("user:ann",), {"notes": NamespaceMode.WRITABLE})
    shard = bench.shard("shard-0")
    yield shard
    store.answer.set()
    await shard.close()


async def write(shard: VaultShard, operation: Operation) -> int:
    (done,) = await shard.write(0, [Submission(CALLER, Write("notes", operation))])
    assert isinstance(done, Written)
    return done.lsn


async def search(shard: VaultShard, after_lsn: int) -> SearchReply:
    """Searches once everything up to an LSN is embedded, as far as the shard knows."""
    request = SearchRequest(CALLER, "notes", "", k=10, after_lsn=after_lsn, indexed=True)
    return await shard.search(0, request)


def embedded(store: SlowAnswers, id: str) -> bool:
    return bool(store.vectors(0, [CubeKey("acme", id)], HashingEmbedder().space.digest))


async def test_an_entry_is_not_passed_before_its_commit_has_been_seen(
    shard: VaultShard, store: SlowAnswers
) -> None:
    """The log shows a commit before its writer hears that it is in force."""
    loop = asyncio.get_running_loop()
    store.last = await write(shard, Create(Plaintext("the feed is at rest"), id="a"))
    await search(shard, store.last)
    late: list[asyncio.Task[int]] = []

    def commit_meanwhile() -> None:
        store.held = "c"
        work = write(shard, Create(Plaintext("in force, and not seen"), id="c"))
        loop.call_soon_threadsafe(lambda: late.append(loop.create_task(work)))
        store.in_force.wait()

    store.before_events = commit_meanwhile
    await write(shard, Create(Plaintext("wakes the feed"), id="b"))
    await eventually(lambda: embedded(store, "b"))
    store.answer.set()
    reply = await search(shard, await late[0])
    assert {hit.cube.id for hit in reply.hits} == {"a", "b", "c"}
    assert reply.unembedded == 0
    assert embedded(store, "c")
