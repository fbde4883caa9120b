"""VAULT-5, GOV-9: a damaged memory that a follower of the log owes holds nobody up, and heals."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from memos_ray.actors import feed as feeds
from memos_ray.adapters.milvus import open_vector_store
from memos_ray.adapters.milvus_settings import MilvusSettings
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.ports import VectorStorePort
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually
from tests.unit.service.test_damaged_erasures import CUT, damage
from tests.unit.service.test_pending_receipts import completed
from tests.unit.service.test_refused_texts import Refusing
from tests.unit.service.test_sources import (
    CLINIC,
    FIRST,
    NEW,
    add,
    add_source,
    edition,
    make_clinic,
)

ONE = VaultSettings(partitions=1)
SPACE = HashingEmbedder().space
BY_HAND = LifecycleSettings(enabled=False)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[VectorStorePort]:
    patient = MilvusSettings(connect_s=30.0, search_s=30.0)
    store = open_vector_store(str(tmp_path / "vectors"), patient)
    yield store
    store.close()


@asynccontextmanager
async def copied(folder: Path, copy: VectorStorePort) -> AsyncIterator[InProcess]:
    async with in_process(folder, settings=ONE, lifecycle=BY_HAND, vectors=lambda _: copy) as memos:
        yield memos


def bodies(folder: Path, id: str) -> list[tuple[bytes, int]]:
    (file,) = (folder / "records").glob("p*.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        wanted = "SELECT body, number FROM version WHERE cube_id = ?"
        return connection.execute(wanted, (id,)).fetchall()


def mend(folder: Path, id: str, kept: list[tuple[bytes, int]]) -> None:
    (file,) = (folder / "records").glob("p*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        for body, number in kept:
            change = "UPDATE version SET body = ? WHERE cube_id = ? AND number = ?"
            assert connection.execute(change, (body, id, number)).rowcount == 1


async def aside(memos: InProcess, count: int) -> None:
    """Returns when an operator is shown that so many entries are set aside."""
    async with asyncio.timeout(60):
        while True:
            (shard,) = [one for one in await memos.doorway.components() if one.name == "shard-0"]
            shown = [shard.detail[name] for name in ("partitions", "aside", "behind_s")]
            if shown == [1, count, 0]:
                assert "stalled" not in shard.detail
                return
            await asyncio.sleep(0.01)


async def filled(folder: Path) -> list[str]:
    """Returns memories that are embedded, and that no copy has yet."""
    async with in_process(folder, settings=ONE, lifecycle=BY_HAND) as memos:
        new = [NewMemory(text=f"the heron of Porto, {n}") for n in range(3)]
        report = await memos.service.add(memos.administrator, new)
        query = SearchQuery(query="heron", wait_indexed=True)
        assert len((await memos.service.search(memos.administrator, query)).hits) == 3
        return [one.id or "" for one in report.results]


async def test_what_a_copy_lacks_keeps_no_erasure_of_another_pending(
    tmp_path: Path, copy: VectorStorePort
) -> None:
    lost, other, _ = await filled(tmp_path)
    damage(tmp_path, CUT, lost)
    async with copied(tmp_path, copy) as memos:
        me = memos.administrator
        await aside(memos, 1)
        await memos.service.delete(me, other, hard=True)
        assert (await completed(memos, other)).verified()
        await aside(memos, 1)
        # Nor does its own wait until it is tried again for other reasons.
        await memos.service.delete(me, lost, hard=True)
        assert (await completed(memos, lost)).verified()
        await aside(memos, 0)


async def test_what_can_be_read_again_is_in_the_copy(tmp_path: Path, copy: VectorStorePort) -> None:
    lost, *_ = await filled(tmp_path)
    kept = bodies(tmp_path, lost)
    damage(tmp_path, CUT, lost)
    async with copied(tmp_path, copy) as memos:
        await aside(memos, 1)
        assert copy.count(SPACE, 0) == 2
    mend(tmp_path, lost, kept)
    async with copied(tmp_path, copy) as memos:
        await aside(memos, 0)
        assert copy.count(SPACE, 0) == 3


async def unembedded(folder: Path, count: int, settings: VaultSettings = ONE) -> list[str]:
    """Returns memories that the next owner is to embed."""
    async with in_process(folder, settings=settings, lifecycle=BY_HAND) as memos:
        await memos.crew.shards["shard-0"]._holdings._held[0].embed_feed.close()
        new = [NewMemory(text=f"the heron of Porto, {n}") for n in range(count)]
        report = await memos.service.add(memos.administrator, new)
        return [one.id or "" for one in report.results]


@pytest.mark.parametrize("resident_bytes", [1 << 30, 1])
async def test_what_is_mended_is_embedded_and_then_in_the_copy(
    tmp_path: Path, copy: VectorStorePort, resident_bytes: int
) -> None:
    settings = VaultSettings(partitions=1, resident_bytes=resident_bytes)
    lost, _ = await unembedded(tmp_path, 2, settings)
    kept = bodies(tmp_path, lost)
    damage(tmp_path, CUT, lost)
    async with in_process(tmp_path, settings=settings, vectors=lambda _: copy) as memos:
        await aside(memos, 2)
        await eventually(lambda: copy.count(SPACE, 0) == 1)
    mend(tmp_path, lost, kept)
    async with in_process(tmp_path, settings=settings, vectors=lambda _: copy) as memos:
        await eventually(lambda: copy.count(SPACE, 0) == 2)
        await aside(memos, 0)


async def test_what_is_mended_beside_its_owner_is_embedded(
    tmp_path: Path, copy: VectorStorePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_AGAIN_S", 0.2)
    lost, _ = await unembedded(tmp_path, 2)
    kept = bodies(tmp_path, lost)
    damage(tmp_path, CUT, lost)
    async with copied(tmp_path, copy) as memos:
        await aside(memos, 2)
        mend(tmp_path, lost, kept)
        await eventually(lambda: copy.count(SPACE, 0) == 2)
        await aside(memos, 0)


async def test_where_no_more_can_be_owed_all_others_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST", 1)
    for lost in (await unembedded(tmp_path, 3))[:2]:
        damage(tmp_path, CUT, lost)
    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND) as memos:
        await aside(memos, 1)
        query = SearchQuery(query="heron", wait_indexed=True)
        found = await memos.service.search(memos.administrator, query)
        assert (len(found.hits), found.unembedded) == (1, 0)


async def test_what_the_embedder_takes_late_is_in_the_copy(
    tmp_path: Path, copy: VectorStorePort
) -> None:
    model = Refusing()
    async with in_process(tmp_path, settings=ONE, embedder=model, vectors=lambda _: copy) as memos:
        me = memos.administrator
        await memos.service.add(me, [NewMemory(text="the walrus of Lisbon")])
        await memos.service.add(me, [NewMemory(text="the heron of Lisbon")])
        await eventually(lambda: copy.count(SPACE, 0) == 1)
    model.word = "never"
    async with in_process(tmp_path, settings=ONE, embedder=model, vectors=lambda _: copy) as memos:
        me = memos.administrator
        await memos.service.add(me, [NewMemory(text="the tern of Lisbon")])
        await eventually(lambda: copy.count(SPACE, 0) == 3)
        await aside(memos, 0)


async def test_what_can_be_read_again_is_compared_with_sources(tmp_path: Path) -> None:
    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND) as memos:
        await make_clinic(memos)
        await add_source(memos, edition(FIRST, NEW))
        shard = memos.crew.shards["shard-0"]
        # What is stored now is for the next owner.
        await shard._holdings._held[0].organise_feed.close()
        said = "The blood pressure target for adults is below {} mmHg."
        lost, read = [await add(memos, said.format(number)) for number in (150, 160)]
        # What was damaged before it was embedded would be owed by that as well.
        query = SearchQuery(query="target", namespaces=[CLINIC], wait_indexed=True)
        assert not (await memos.service.search(memos.administrator, query)).unembedded
    kept = bodies(tmp_path, lost)
    damage(tmp_path, CUT, lost)

    async def held(memos: InProcess) -> set[str]:
        listed = await memos.doorway.sources.findings(memos.administrator, CLINIC)
        return {one.held for one in listed.findings}

    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND) as memos:
        await aside(memos, 1)
        assert await held(memos) == {read}
    mend(tmp_path, lost, kept)
    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND) as memos:
        await aside(memos, 0)
        assert await held(memos) == {lost, read}
