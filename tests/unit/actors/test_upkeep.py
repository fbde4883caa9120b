"""CUBE-4: what a shard does on the side goes on, whatever fails and however long it takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from memos_ray.actors.vault import upkeep
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.requests import ListRequest
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import Among, Derivation, EventQuery, LogRequest
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.waiting import eventually

CALLER = CallContext(Principal("acme", "user:ann"))


class Troubled(MemoryRecordStore):
    """A store that is slow to say what evolves, and meets a defect when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.answer.set()
        self.writing, self.write = threading.Event(), threading.Event()
        self.write.set()
        self.defects = 0
        self.written = 0

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `DerivationsPort.derivations`."""
        if kind == "evolution":
            self.asked.set()
            self.answer.wait()
        return super().derivations(partition, kind, among)

    def add_accesses(self, partition: int, accesses: Sequence[Event]) -> None:
        """See `RecordStorePort.add_accesses`."""
        if self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        self.writing.set()
        self.write.wait()
        super().add_accesses(partition, accesses)
        self.written += len(accesses)


@asynccontextmanager
async def shard_on(store: Troubled) -> AsyncIterator[VaultShard]:
    settings = VaultSettings(partitions=1, usage_flush_s=0.01)
    clock = ManualClock()
    bench = ShardBench(store, clock, lambda: Ring(1, ("one",)), settings)
    await bench.admit("acme", ["user:ann"], {"notes": NamespaceMode.WRITABLE})
    shard = bench.shard("one")
    try:
        await shard.own([0])
        clock.advance(1.0)
        yield shard
    finally:
        store.answer.set()
        store.write.set()
        await shard.close()


async def read(shard: VaultShard) -> None:
    await shard.page(0, ListRequest(CALLER, "notes"))


async def test_CUBE_4_usage_is_written_while_a_look_for_evolution_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "_SWEEP_S", 0.0)
    store = Troubled()
    store.answer.clear()
    async with shard_on(store) as shard:
        await eventually(store.asked.is_set)
        await read(shard)
        await eventually(lambda: store.written == 1)


async def test_CUBE_4_usage_is_written_again_after_a_defect() -> None:
    store = Troubled()
    store.defects = 1
    async with shard_on(store) as shard:
        await read(shard)
        await eventually(lambda: store.defects == 0)
        await read(shard)
        await eventually(lambda: store.written == 1)
        assert (await shard.status()).counters["errors_usage"] == 1


async def test_API_3_what_is_just_being_written_is_in_the_log() -> None:
    store = Troubled()
    store.write.clear()
    async with shard_on(store) as shard:
        await read(shard)
        await eventually(store.writing.is_set)
        wanted = LogRequest(CALLER, EventQuery(), reads=True, after=0, limit=10)
        asked = asyncio.create_task(shard.log(0, wanted))
        # Whoever does not wait has read the log by now.
        await asyncio.wait([asked], timeout=0.2)
        store.write.set()
        piece = await asked
        assert "list" in [entry.operation for entry in piece.entries]
