"""The supervisor: one boot at a time, and a runner of pipelines only where one is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from memos_ray.actors.supervisor import Supervisor, load_ring
from memos_ray.config import VaultSettings
from memos_ray.core.vault.log import ControlChange
from memos_ray.errors import UnavailableError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.in_process import Crew
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.waiting import eventually

SETTINGS = VaultSettings(partitions=4, shards=2)


@dataclass
class Watched(Crew):
    """A crew that counts how often the runner of pipelines was started."""

    runner: int = 0
    absent: str = ""
    defects: int = 0
    stubborn: int = 0

    async def start_shard(self, name: str) -> None:
        if name == self.absent:
            raise UnavailableError("no node has room for it", actor=name)
        await super().start_shard(name)

    async def stop_shard(self, name: str) -> None:
        if self.stubborn:
            self.stubborn -= 1
            raise UnavailableError("it does not answer", actor=name)
        await super().stop_shard(name)

    async def has_pipelines(self) -> bool:
        return self.runner > 0

    async def start_pipelines(self) -> None:
        if self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        self.runner += 1


@asynccontextmanager
async def supervised(control: MemoryControlStore) -> AsyncIterator[tuple[Supervisor, Watched]]:
    bench = ShardBench(MemoryRecordStore(), ManualClock(), lambda: load_ring(control), SETTINGS)
    crew = Watched(bench.shard)
    supervisor = Supervisor(control, crew, SETTINGS)
    try:
        yield supervisor, crew
    finally:
        await supervisor.close()
        await asyncio.gather(*(shard.close() for shard in crew.shards.values()))


async def test_boots_that_meet_are_one() -> None:
    async with supervised(MemoryControlStore()) as (supervisor, crew):
        rings = await asyncio.gather(*(supervisor.boot() for _ in range(4)), supervisor.ring())
        assert {ring.version for ring in rings} == {rings[0].version}
        assert set(rings[0].owners) == set(crew.shards)


async def test_an_idle_cluster_has_no_runner_until_somebody_asks() -> None:
    async with supervised(MemoryControlStore()) as (supervisor, crew):
        await supervisor.boot()
        status = await supervisor.status()
        assert len(status) == 2 and crew.runner == 0
        await supervisor.start_pipelines()
        assert crew.runner == 1
        # Reconciling looks after it from now on.
        await eventually(lambda: crew.runner > 1)


async def test_runs_that_were_left_bring_the_runner_back() -> None:
    control = MemoryControlStore()
    control.commit([ControlChange("/runs", "run", "left", b"{}", 0)], [])
    async with supervised(control) as (supervisor, crew):
        await supervisor.boot()
        await eventually(lambda: crew.runner > 0)


async def test_VAULT_5_a_shard_that_does_not_come_up_keeps_nobody_from_the_others() -> None:
    control = MemoryControlStore()
    async with supervised(control) as (supervisor, _):
        ring = await supervisor.boot()
    # The whole node is gone, and there is room for one of the shards only.
    async with supervised(control) as (restarted, crew):
        crew.absent = "shard-0"
        assert await restarted.ring() == ring
        await eventually(lambda: "shard-1" in crew.shards)
        shard = crew.shards["shard-1"]
        assert set((await shard.status()).partitions) <= set(ring.owned_by("shard-1"))
        crew.absent = ""
        await eventually(lambda: "shard-0" in crew.shards)


async def test_a_defect_does_not_end_the_mending() -> None:
    async with supervised(MemoryControlStore()) as (supervisor, crew):
        await supervisor.boot()
        crew.runner, crew.defects = 1, 1
        await eventually(lambda: crew.defects == 0)
        crew.cut_off("shard-1")
        await eventually(lambda: "shard-1" in crew.shards and crew.runner > 1)


async def test_VAULT_5_shards_that_a_killed_supervisor_has_left_are_ended() -> None:
    control = MemoryControlStore()
    async with supervised(control) as (supervisor, crew):
        await supervisor.boot()
        left = crew.shards["shard-1"]

        async def dies(name: str) -> None:
            raise ProcessLookupError(name)

        crew.stop_shard = dies  # type: ignore[method-assign]
        with pytest.raises(ProcessLookupError):
            await supervisor.scale(1)
        assert set(load_ring(control).owners) == {"shard-0"}
        await supervisor.close()
        # Actors go on without their supervisor; a new one finds them, and knows of none.
        del crew.stop_shard
        restarted = Supervisor(control, crew, SETTINGS)
        await restarted.ring()
        await eventually(lambda: set(crew.shards) == {"shard-0"})
        assert set(await restarted.status()) == {"shard-0"}
        assert (await left.status()).partitions == {}
        await restarted.close()


async def test_VAULT_5_a_shard_that_cannot_be_ended_is_tried_again() -> None:
    async with supervised(MemoryControlStore()) as (supervisor, crew):
        await supervisor.boot()
        crew.stubborn = 1
        with pytest.raises(UnavailableError):
            await supervisor.scale(1)
        await eventually(lambda: set(crew.shards) == {"shard-0"})
        await supervisor.scale(2)
        assert set(crew.shards) == {"shard-0", "shard-1"}


async def test_VAULT_5_a_shard_that_was_ended_while_it_was_mended_is_ended_again() -> None:
    async with supervised(MemoryControlStore()) as (supervisor, crew):
        await supervisor.boot()
        start, mended = crew.start_shard, asyncio.Event()

        async def late(name: str) -> None:
            await start(name)
            if name == "shard-1":
                # Somebody scales while the reconciler has it mended.
                await supervisor.scale(1)
                await start(name)
                mended.set()

        crew.start_shard = late  # type: ignore[method-assign]
        crew.cut_off("shard-1")
        await eventually(mended.is_set)
        await eventually(lambda: set(crew.shards) == {"shard-0"})
