"""CUBE-4: opinions that are in memory are at hand, whatever else is being read."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from memos_ray.actors.evolution.opinions import Opinions, Said
from memos_ray.core.evolution import Opinion
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import Among, Derivation
from memos_ray.testing.cubes import make_commit, make_cube
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

SLOW = 1


class Slow(MemoryRecordStore):
    """A store that takes its time over one partition."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `DerivationsPort.derivations`."""
        if partition == SLOW:
            self.asked.set()
            self.answer.wait()
        return super().derivations(partition, kind, among)


async def test_CUBE_4_opinions_of_one_partition_do_not_wait_for_those_of_another() -> None:
    store = Slow()
    with ThreadPoolExecutor(2) as executor:
        opinions = Opinions(store, executor)
        for partition in (0, SLOW):
            store.take(partition, "shard-0", 1)
            opinions.open(partition, 1)
        cube = make_cube(id="m")
        store.commit(make_commit([cube]))
        key = CubeKey(cube.tenant, cube.id)
        await opinions.put(0, [Said(key, "notes", "user:ann", Opinion(1.0))])
        reading = asyncio.create_task(opinions.of(SLOW))
        try:
            await eventually(store.asked.is_set)
            known = asyncio.create_task(opinions.of(0))
            await eventually(known.done)
            assert known.result() == {key: {"user:ann": Opinion(1.0)}}
        finally:
            store.answer.set()
        assert await reading == {}
