"""A partition that goes away and comes back brings nothing old with it."""

from __future__ import annotations

import asyncio
import threading

from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.core.vault.operations import Create, Delete, Operation, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import NamespaceSize
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench

CALLER = CallContext(Principal("acme", "user:ann"))


class SlowSize(MemoryRecordStore):
    """Holds the first look at the size of a namespace back, with which each load begins."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.asked = threading.Event()
        self.answer = threading.Event()

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """See `RecordStorePort.size`."""
        if self.hold:
            self.hold = False
            self.asked.set()
            self.answer.wait()
        return super().size(partition, tenant, namespace)


async def write(shard: VaultShard, operation: Operation) -> None:
    (done,) = await shard.write(0, [Submission(CALLER, Write("notes", operation))])
    assert isinstance(done, Written)


async def found(shard: VaultShard) -> set[str]:
    reply = await shard.search(0, SearchRequest(CALLER, "notes", "", k=10))
    return {hit.cube.id for hit in reply.hits}


async def test_a_search_that_was_under_way_leaves_nothing_behind() -> None:
    store = SlowSize()
    ring = Ring(1, ("here",))
    bench = ShardBench(store, ManualClock(), lambda: ring, VaultSettings(partitions=1))
    await bench.admit("acme", ("user:ann",), {"notes": NamespaceMode.WRITABLE})
    here, there = bench.shard("here"), bench.shard("there")
    await write(here, Create(Plaintext("soon deleted"), id="a"))
    await here.disown([0])
    await here.own([0])
    store.hold = True
    late = asyncio.create_task(found(here))
    await asyncio.to_thread(store.asked.wait)
    await here.disown([0])
    store.answer.set()
    await asyncio.gather(late, return_exceptions=True)
    await there.own([0])
    await write(there, Delete("a"))
    await write(there, Create(Plaintext("written elsewhere"), id="b"))
    await there.disown([0])
    await here.own([0])
    assert await found(here) == {"b"}
    for shard in (here, there):
        await shard.close()
