"""READ-3: wherever a shard dies on the way, its successor loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.extraction.book import FEED
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.errors import StoreError
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.openai_endpoint import Endpoint, Reply
from memos_ray.testing.reading import memory, reading, turns_in
from tests.unit.service.test_extraction import (
    DIALOGUE,
    QUICK,
    endpoint,
    opened,
    server,
)

__all__ = ["endpoint", "server"]

FIRST, SECOND = "Ana moved to Lisbon.", "Ana lives in Lisbon."
PATIENCE_S = 60


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan()


class Store(FaultyRecordStore):
    """Of the cursors, only that of the extraction is struck: the others would hold all threads."""

    def __init__(self, store: SqlRecordStore, plan: FaultPlan) -> None:
        super().__init__(store, plan)
        self._sound = store

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""
        if name == FEED:
            super().advance(partition, epoch, name, lsn)
        else:
            self._sound.advance(partition, epoch, name, lsn)


@pytest.fixture
def store(tmp_path: Path, plan: FaultPlan) -> Iterator[FaultyRecordStore]:
    found = Store(SqlRecordStore.embedded(tmp_path / "records"), plan)
    yield found
    found.release()


async def struck(store: FaultyRecordStore, method: str, call: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while store.calls[method] < call:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("method", "call", "moment", "asked"),
    [
        ("save_derivation", 1, Moment.BEFORE, 2),
        ("commit", 1, Moment.BEFORE, 2),
        ("commit", 1, Moment.AFTER, 1),
        ("save_derivation", 2, Moment.BEFORE, 1),
        ("save_derivation", 2, Moment.AFTER, 1),
        ("forget_derivations", 1, Moment.BEFORE, 1),
        ("forget_derivations", 1, Moment.AFTER, 1),
    ],
    ids=[
        "before it is said that something is made",
        "before the commit",
        "in the commit",
        "committed",
        "counted",
        "counted, its row still there",
        "done",
    ],
)
async def test_READ_3_a_shard_that_dies_behind_the_answer(
    tmp_path: Path,
    server: tuple[str, Endpoint],
    endpoint: Endpoint,
    store: FaultyRecordStore,
    plan: FaultPlan,
    method: str,
    call: int,
    moment: Moment,
    asked: int,
) -> None:
    def dies(body: dict[str, Any]) -> Reply:
        number = store.calls[method] + call
        plan.faults = [Fault(method, number, StoreError("gone"), moment, hangs=True)]
        return reading(lambda _: [memory(FIRST, "t1")])(body)

    # A second answer is in other words, as models do it.
    endpoint.script = [dies, reading(lambda _: [memory(SECOND, "t1")])]
    async with opened(tmp_path, server, store=store) as bench:
        await bench.ingest(DIALOGUE[:1])
        await struck_by(store, plan)
        bench.memos.crew.cut_off("shard-0")
        expected = [FIRST] if asked == 1 else [SECOND]
        await bench.until(expected)
        status = await bench.settled()
        assert (status.queued, status.parked, status.done) == (0, 0, 1)
        assert (status.read, status.memories) == (1, 1)
        assert len(endpoint.asked) == asked
        # What hung goes on, and finds that another one owns the partition.
        store.release()
        await bench.until(expected)
        assert len(endpoint.asked) == asked


async def struck_by(store: FaultyRecordStore, plan: FaultPlan) -> None:
    """Returns when a call hangs."""
    async with asyncio.timeout(PATIENCE_S):
        while not plan.faults or store.calls[plan.faults[0].method] < plan.faults[0].call:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
async def test_READ_3_a_shard_that_dies_before_its_cursor_has_moved(
    tmp_path: Path,
    server: tuple[str, Endpoint],
    endpoint: Endpoint,
    store: FaultyRecordStore,
    plan: FaultPlan,
    moment: Moment,
) -> None:
    async with opened(tmp_path, server, store=store) as bench:
        await bench.settled()
        hanging = [
            Fault("advance", store.calls["advance"] + place, StoreError("gone"), moment, hangs=True)
            for place in range(1, 20)
        ]
        plan.faults = hanging
        await bench.ingest(DIALOGUE[:1])
        async with asyncio.timeout(PATIENCE_S):
            while not rows_of(store):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # More comes before the successor looks: the windows are not cut as before.
        await bench.ingest(DIALOGUE[:2])
        assert endpoint.asked == [], "not before the cursor is behind it"
        plan.faults = []
        bench.memos.crew.cut_off("shard-0")
        await bench.until(["I like jazz.", "I moved to Lisbon last month."])
        status = await bench.settled()
        assert (status.read, status.memories) == (2, 2)
        turns = [turn["text"] for _, _, body in endpoint.asked for turn in window(body)]
        assert sorted(turns) == ["I like jazz.", "I moved to Lisbon last month."], "once each"
        store.release()


def rows_of(store: FaultyRecordStore) -> list[Any]:
    return [row for one in range(2) for row in store.derivations(one, "extraction_job")]


def window(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn for turn in turns_in(body) if not turn.get("background")]


async def test_READ_3_a_job_that_kills_its_shard_is_parked_in_the_end(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    """Each death under way counts as an attempt, though nobody was left to say so."""
    endpoint.script = [Reply([], "hang")]
    async with opened(tmp_path, server) as bench:
        await bench.ingest(DIALOGUE[:1])
        for times in range(1, QUICK.attempts + 1):
            async with asyncio.timeout(PATIENCE_S):
                while len(endpoint.asked) < times:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            (job,) = (await bench.status()).jobs
            assert (job.state, job.attempts) == ("running", times)
            bench.memos.crew.cut_off("shard-0")
            await bench.status()
        (job,) = (await bench.settled()).jobs
        assert (job.state, job.reason) == ("parked", "internal")
        assert len(endpoint.asked) == QUICK.attempts


async def test_READ_3_all_goes_on_after_a_restart(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    async with opened(tmp_path, server) as bench:
        ann = await bench.memos.caller("user:ann")
        await bench.ingest(caller=ann)
    async with opened(tmp_path, server) as bench:
        status = await bench.settled(ann)
        assert (status.read, status.memories, status.queued) == (3, 3, 0)
        assert len(await bench.made(ann)) == 3


async def test_READ_3_nothing_is_asked_while_nothing_can_be_written_down(
    tmp_path: Path,
    server: tuple[str, Endpoint],
    endpoint: Endpoint,
    store: FaultyRecordStore,
    plan: FaultPlan,
) -> None:
    async with opened(tmp_path, server, store=store) as bench:
        await bench.settled()
        first = store.calls["save_derivation"] + 2
        plan.faults = [
            Fault("save_derivation", place, StoreError("no disk")) for place in range(first, 9999)
        ]
        await bench.ingest(DIALOGUE[:1])
        await struck(store, "save_derivation", first + 4)
        assert endpoint.asked == []
        plan.faults = []
        await bench.until(["I moved to Lisbon last month."])
        assert len(endpoint.asked) == 1
