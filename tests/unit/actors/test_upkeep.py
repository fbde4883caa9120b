"""CUBE-4: what a shard does on the side goes on, whatever fails and however long it takes."""

from __future__ import annotations

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
from memos_ray.ports import Among, Derivation
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
