"""READ-3: an extracted memory that cannot follow its source holds up no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotFoundError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import in_process
from memos_ray.testing.openai_endpoint import Endpoint
from memos_ray.testing.waiting import eventually
from tests.unit.service.test_damaged_erasures import NEWEST, NOTHING, damage, left
from tests.unit.service.test_extraction import DIALOGUE, Bench, endpoint, parts, server

__all__ = ["endpoint", "server"]

VAULT = VaultSettings(partitions=1, usage_flush_s=0.01)
FIRST, SECOND = (str(turn["content"]) for turn in DIALOGUE[:2])


def _taken(folder: Path) -> dict[Path, bytes]:
    """Takes the files of the archive away."""
    found = {file: file.read_bytes() for file in (folder / "blobs").rglob("*") if file.is_file()}
    for file in found:
        file.unlink()
    return found


def _counts(bench: Bench) -> dict[str, int]:
    return bench.memos.crew.shards["shard-0"]._extraction.counters


async def test_READ_3_one_that_cannot_follow_its_source_is_set_aside(
    tmp_path: Path,
    server: tuple[str, Endpoint],
    endpoint: Endpoint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()

    def opened():  # type: ignore[no-untyped-def]
        return in_process(tmp_path, settings=VAULT, extraction=parts(server[0]), clock=clock)

    async with opened() as memos:
        bench = Bench(memos, endpoint)
        first, second = await bench.ingest(DIALOGUE[:2])
        assert await bench.texts() == [SECOND, FIRST]
        made = {one.text: one.id for one in await bench.made()}
        lost, follows = made[FIRST], CubeKey("default", made[SECOND])
        await memos.doorway.lifecycle.archive(bench.admin, lost, None, None, None)
        key = CubeKey("default", lost)

        def away() -> bool:
            return (
                any((tmp_path / "blobs").rglob("*")) and not memos.store.bodies(0, [key])[0].movable
            )

        await eventually(away)
    files = _taken(tmp_path)
    assert files
    # Nothing of the file is in memory any more.
    async with opened() as memos:
        bench = Bench(memos, endpoint)
        assert isinstance(memos.store.heads(0, [key])[key].payload, ArchivedRef)
        for source in (first, second):
            await memos.service.delete(bench.admin, source)
        status = await bench.settled()
        assert memos.store.heads(0, [follows])[follows].state.value == "deleted"
        (job,) = status.jobs
        assert (job.id, job.state, job.reason) == (lost, "aside", "unavailable")
        assert (job.owner, job.memory_ids, job.attempts) == ("user:admin", [lost], 1)
        assert _counts(bench)["extraction_aside"] == 1
        assert "set aside: unavailable" in caplog.text and "Lisbon" not in caplog.text
        bob = await memos.caller("user:bob")
        with pytest.raises(NotFoundError):
            await memos.doorway.extraction.retry(bob, lost)
        assert (await memos.doorway.extraction.retry(bench.admin, lost)).retried == 1
        (job,) = (await bench.settled()).jobs
        assert (job.state, job.attempts) == ("aside", 2)
    # It is known to the next owner, and tried again by itself.
    async with opened() as memos:
        bench = Bench(memos, endpoint)
        assert [one.state for one in (await bench.settled()).jobs] == ["aside"]
        for file, body in files.items():
            file.write_bytes(body)
        clock.advance(3600)
        await eventually(lambda: _counts(bench)["extraction_aside_followed"] == 1)
        assert (await bench.settled()).jobs == []
        assert memos.store.heads(0, [key])[key].state.value == "deleted"
        await memos.service.restore(bench.admin, first)
        await bench.until([FIRST])


async def test_READ_3_GOV_9_what_is_erased_is_set_aside_no_longer(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    def opened():  # type: ignore[no-untyped-def]
        return in_process(
            tmp_path, settings=VAULT, extraction=parts(server[0]), clock=ManualClock()
        )

    async with opened() as memos:
        bench = Bench(memos, endpoint)
        (source,) = await bench.ingest(DIALOGUE[:1])
        await bench.until([FIRST])
        (made,) = await bench.made()
        await memos.doorway.lifecycle.archive(bench.admin, made.id, None, None, None)
        key = CubeKey("default", made.id)
        await eventually(lambda: not memos.store.bodies(0, [key])[0].movable)
    assert _taken(tmp_path)
    async with opened() as memos:
        bench = Bench(memos, endpoint)
        await memos.service.delete(bench.admin, source)
        assert [one.id for one in (await bench.settled()).jobs] == [made.id]
        await memos.service.delete(bench.admin, made.id, hard=True)
        # The clock stands still: nothing is tried again.
        assert (await bench.settled()).jobs == []
        assert memos.store.derivations(0, "extraction_aside") == []


async def test_READ_3_GOV_9_what_is_released_unread_goes_with_its_source(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    async with in_process(
        tmp_path, settings=VAULT, extraction=parts(server[0]), clock=ManualClock()
    ) as memos:
        bench, hold = Bench(memos, endpoint), memos.doorway.lifecycle.hold
        first, second = await bench.ingest(DIALOGUE[:2])
        await bench.until([SECOND, FIRST])
        made = {one.text: one.id for one in await bench.made()}
        for id in (made[FIRST], second):
            await hold(bench.admin, id, None, None, None)
            damage(tmp_path, NEWEST, id)
        await memos.service.delete(bench.admin, first, hard=True)
        (job,) = (await bench.settled()).jobs
        assert (job.id, job.reason) == (made[FIRST], "legal_hold")
        # The clock stands still: nothing but the release has it tried again.
        await hold(bench.admin, made[FIRST], None, None, None, held=False)
        await eventually(lambda: left(tmp_path, made[FIRST]) == NOTHING)
        # What was made of one that is released follows nothing: that is as it was.
        await hold(bench.admin, second, None, None, None, held=False)
        assert (await bench.settled()).jobs == []
        await memos.service.delete(bench.admin, second, hard=True)
        await eventually(lambda: left(tmp_path, made[SECOND]) == NOTHING)


async def test_READ_3_GOV_9_what_cannot_be_read_holds_up_no_erasure(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    async with in_process(tmp_path, settings=VAULT, extraction=parts(server[0])) as memos:
        bench = Bench(memos, endpoint)
        first, second = await bench.ingest(DIALOGUE[:2])
        await bench.until([SECOND, FIRST])
        made = {one.text: one.id for one in await bench.made()}
        # One of the two is what the conversation is known by.
        for id in (first, second):
            damage(tmp_path, NEWEST, id)
        await memos.service.delete(bench.admin, first, hard=True)
        await eventually(lambda: left(tmp_path, made[FIRST]) == NOTHING)
        assert (await bench.settled()).jobs == []
        assert memos.store.derivations(0, "feed_aside") == []
