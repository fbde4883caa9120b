"""VAULT-1: a row that cannot be read is set aside, told of, and keeps no other from its readers."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.lifecycle.sweeping import Sieve, SweepRules
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import StoreCorruptError, UnavailableError
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.ports import Vectors
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

VAULT = VaultSettings(partitions=1)
BY_HAND = LifecycleSettings(enabled=False)
WORD = "walrus"


async def filled(memos: InProcess) -> list[str]:
    texts = [f"the {WORD} of Lisbon", *(f"the heron of Porto, {n}" for n in range(5))]
    new = [NewMemory(text=text) for text in texts]
    report = await memos.service.add(memos.administrator, new)
    query = SearchQuery(query="heron", wait_indexed=True, limit=100)
    assert len((await memos.service.search(memos.administrator, query)).hits) == 6
    return [result.id or "" for result in report.results]


CUT = "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?"


def damage(folder: Path, statement: str, id: str) -> None:
    (file,) = (folder / "records").glob("p*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(statement, (id,)).rowcount == 1


async def test_VAULT_1_a_damaged_memory_keeps_no_other_out_of_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(tmp_path, settings=VAULT) as memos:
        ids = await filled(memos)
    damage(tmp_path, "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?", ids[0])
    async with in_process(tmp_path, settings=VAULT) as memos:
        admin = memos.administrator
        query = SearchQuery(query="heron", wait_indexed=True, limit=100)
        found = await memos.service.search(admin, query)
        assert {hit.memory.id for hit in found.hits} == set(ids[1:])
        status = await memos.crew.shard("shard-0").status()
        assert status.counters["memories_damaged"] == 1
        # A page is as long as it is asked for, wherever the damaged one lies.
        page = await memos.service.list(admin, limit=5)
        assert {one.id for one in page.memories} == set(ids[1:])
        with pytest.raises(StoreCorruptError):
            await memos.service.get(admin, ids[0])
        (finding,) = memos.store.check()
        assert "cannot be read" in finding and ids[0] in finding
        assert {record.levelno for record in caplog.records if "cannot be read" in record.message}
    assert WORD not in caplog.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_VAULT_1_a_memory_that_is_damaged_later_keeps_no_other_from_being_found(
    tmp_path: Path,
) -> None:
    vault = VaultSettings(partitions=1, body_cache_bytes=1)
    async with in_process(tmp_path, settings=vault) as memos:
        ids = await filled(memos)
        query = SearchQuery(query="heron", wait_indexed=True, limit=100)
        for gone, id in enumerate(ids[:2], start=1):
            damage(tmp_path, "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?", id)
            found = await memos.service.search(memos.administrator, query)
            assert {hit.memory.id for hit in found.hits} == set(ids[gone:])
        more = NewMemory(text="a heron of Faro")
        assert not (await memos.service.add(memos.administrator, [more])).failed
        found = await memos.service.search(memos.administrator, query)
        assert (len(found.hits), found.unembedded) == (5, 0)


class Waiting(HashingEmbedder):
    """Embeds when it is let, so that things can happen before the next texts are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `EmbedderPort`."""
        self.asked.set()
        assert self.go.wait(60)
        return super().embed(texts)


@pytest.mark.parametrize("resident_bytes", [1 << 30, 1])
async def test_VAULT_1_a_damaged_memory_keeps_no_other_from_being_embedded(
    tmp_path: Path, resident_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    vault = VaultSettings(partitions=1, resident_bytes=resident_bytes)
    embedder = Waiting()
    async with in_process(tmp_path, settings=vault, embedder=embedder) as memos:
        admin, service = memos.administrator, memos.service
        new = [NewMemory(text=f"the {WORD} of Porto, {n}") for n in range(4)]
        ids = [one.id or "" for one in (await service.add(admin, new)).results]
        await _embedded(memos, dict.fromkeys(ids, 1))
        embedder.asked.clear()
        embedder.go.clear()
        change = MemoryChange(text="the heron of Faro", mode="overwrite")
        await service.update(admin, ids[3], change)
        await eventually(embedder.asked.is_set)
        # These wait behind it, together.
        for id in ids[:3]:
            await service.update(admin, id, change)
        newest = " AND number = 2"
        damage(tmp_path, CUT + newest, ids[1])
        embedder.go.set()
        await _embedded(memos, {ids[0]: 2, ids[1]: 1, ids[2]: 2, ids[3]: 2})
        # Nor does it later.
        (more,) = (await service.add(admin, [NewMemory(text="the tern of Faro")])).results
        await _embedded(memos, {more.id or "": 1})

        def owed() -> int:
            rows = memos.store.derivations(0, "feed_aside")
            return sum(row.name.startswith("embed") for row in rows)

        # It is tried again, once it may be mended.
        await eventually(lambda: owed() == 1)
        counters = (await memos.crew.shard("shard-0").status()).counters
        assert counters["memories_damaged"] == 1
    assert "cannot be read, and are not embedded" in caplog.text and WORD not in caplog.text


async def test_VAULT_1_OPER_4_a_damaged_memory_keeps_no_other_from_being_compared(
    tmp_path: Path,
) -> None:
    async with in_process(tmp_path, settings=VAULT) as memos:
        admin, service = memos.administrator, memos.service

        async def add() -> str:
            new = NewMemory(text=f"The {WORD} of Lisbon is called Tom.")
            return (await service.add(admin, [new])).results[0].id or ""

        async def proposed() -> list[set[str]]:
            async with asyncio.timeout(60):
                while (found := await memos.doorway.organising.proposals(admin)).lag:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            return [{one.older, one.newer} for one in found.proposals]

        ids = [await add(), await add()]
        assert await proposed() == [set(ids)]
        damage(tmp_path, CUT, ids[0])
        third = await add()
        assert {ids[1], third} in await proposed()
        assert memos.store.derivations(0, "feed_aside") == []


async def _embedded(memos: InProcess, versions: dict[str, int]) -> None:
    """Returns when memories have vectors of these versions."""
    keys = [CubeKey("default", id) for id in versions]
    space = HashingEmbedder().space.digest

    def done() -> bool:
        found = memos.store.vectors(0, keys, space)
        return {key.id: row.version for key, row in found.items()} == versions

    await eventually(done)


async def test_VAULT_1_LIFE_2_a_damaged_memory_keeps_no_other_from_its_move(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    over = clock.now() + timedelta(days=1)
    new = [NewMemory(text=f"the {WORD} of Lisbon, {n}", expires_at=over) for n in range(3)]
    async with in_process(tmp_path, settings=VAULT, clock=clock) as memos:
        report = await memos.service.add(memos.administrator, new)
        ids = sorted(result.id or "" for result in report.results)
    damage(tmp_path, "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?", ids[0])
    clock.advance(2 * 86_400.0)
    async with in_process(tmp_path, settings=VAULT, clock=clock, lifecycle=BY_HAND) as memos:
        swept = await memos.doorway.lifecycle.sweep(memos.administrator)
        assert (swept.moves, swept.error) == ({"expire/lifespan": 2, "failed": 1}, None)
        # A page that is cut behind a damaged one is not the last.
        sieve = Sieve.of(SweepRules(expired_s=0.0), clock.now())
        page = memos.store.sift(0, None, 100, 2, sieve)
        assert (len(page.cubes), page.damaged, page.seen < 100) == (1, 1, True)
    assert WORD not in caplog.text
    assert any("cannot be read" in record.message for record in caplog.records)


async def test_VAULT_1_a_damaged_memory_fails_its_own_writes_and_no_others(tmp_path: Path) -> None:
    async with in_process(tmp_path, settings=VAULT) as memos:
        ids = await filled(memos)
    damage(tmp_path, "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?", ids[0])
    async with in_process(tmp_path, settings=VAULT) as memos:
        context = CallContext(Principal("default", "user:admin"))
        operations = [Update(id, UpdateMode.APPEND, text="so it is said") for id in reversed(ids)]
        writes = [Submission(context, Write("", operation)) for operation in operations]
        *others, own = await memos.crew.shard("shard-0").write(0, writes)
        assert isinstance(own, StoreCorruptError)
        assert [one.version for one in others if isinstance(one, Written)] == [2] * 5
        lsns = [one.lsn for one in others if isinstance(one, Written)]
        assert lsns == list(range(lsns[0], lsns[0] + 5))
        report = await memos.service.add(memos.administrator, [NewMemory(text="the tern")])
        assert not report.failed


async def test_VAULT_1_a_memory_whose_vectors_are_damaged_is_embedded_anew(tmp_path: Path) -> None:
    async with in_process(tmp_path, settings=VAULT) as memos:
        ids = await filled(memos)
    damage(tmp_path, "UPDATE vector SET body = substr(body, 1, 9) WHERE cube_id = ?", ids[0])
    async with in_process(tmp_path, settings=VAULT) as memos:
        admin = memos.administrator
        await memos.service.add(admin, [NewMemory(text="the tern of Faro")])
        query = SearchQuery(query=WORD, wait_indexed=True, limit=100)
        found = await memos.service.search(admin, query)
        assert (len(found.hits), found.unembedded) == (7, 0)


class DamagedBehind(FaultyRecordStore):
    """Damages a memory as soon as the answer to a change of it is lost."""

    def __init__(self, folder: Path, plan: FaultPlan) -> None:
        super().__init__(SqlRecordStore.embedded(folder / "records"), plan)
        self._folder = folder
        self.damaged: list[str] = []

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        try:
            super().commit(commit)
        except UnavailableError:
            (cube,) = commit.cubes
            damage(self._folder, f"{CUT} AND number = {cube.version.number}", cube.id)
            self.damaged.append(cube.id)
            raise


async def test_VAULT_1_what_is_damaged_behind_a_lost_answer_holds_no_write_up(
    tmp_path: Path,
) -> None:
    lost = Fault("commit", 2, UnavailableError("the answer is lost"), Moment.AFTER)
    store = DamagedBehind(tmp_path, FaultPlan((lost,)))
    async with in_process(tmp_path, settings=VAULT, lifecycle=BY_HAND, store=store) as memos:
        admin, ids = memos.administrator, await filled(memos)
        context = CallContext(Principal("default", memos.administrator_id))
        change = Update(ids[1], UpdateMode.OVERWRITE, f"the {WORD} again")
        (outcome,) = await memos.crew.shard("shard-0").write(
            0, [Submission(context, Write("", change))]
        )
        assert (outcome, store.damaged) == (lost.error, [ids[1]])
        await memos.service.update(admin, ids[2], MemoryChange(text="the heron of Faro"))
        with pytest.raises(StoreCorruptError):
            await memos.service.get(admin, ids[1])
        query = SearchQuery(query="heron", wait_indexed=True, limit=100)
        found = await memos.service.search(admin, query)
        assert {hit.memory.id for hit in found.hits} == {ids[0], *ids[2:]}
