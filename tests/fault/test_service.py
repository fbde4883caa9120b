"""Faults of the stores and of the embedder, as callers of the memory API see them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.actors.vault import searching
from memos_ray.adapters.milvus import MilvusSettings, MilvusVectorStore, open_vector_store
from memos_ray.adapters.milvus_lite import LiteBackend
from memos_ray.adapters.sql import revisions
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.engine import Database, open_file
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import VaultSettings
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import (
    DimensionMismatchError,
    FencedError,
    NotOwnerError,
    StoreCorruptError,
    StoreFullError,
    StoreVersionError,
    UnavailableError,
    VectorStoreError,
)
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.ports import EmbedderPort, Vectors
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.postgres_server import PostgresServer

pytestmark = pytest.mark.fault

NOTHING_RESIDENT = VaultSettings(partitions=2, resident_bytes=1)
"""Every search goes to the vector store."""


async def add(memos: InProcess, *texts: str) -> list[str]:
    report = await memos.service.add(memos.administrator, [NewMemory(text=text) for text in texts])
    assert not report.failed, report
    return [result.id or "" for result in report.results]


async def search(memos: InProcess, query: str, **more: object) -> list[str]:
    asked = SearchQuery.model_validate({"query": query, "limit": 50, **more})
    found = await memos.service.search(memos.administrator, asked)
    return [hit.memory.text for hit in found.hits]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await condition():  # noqa: ASYNC110 - shards announce nothing to tests
            await asyncio.sleep(0.02)


async def indexed(memos: InProcess) -> bool:
    """Tells whether everything that was written is embedded and in the vector store."""
    for shard in memos.crew.shards.values():
        status = await shard.status()
        if any(status.lag.values()) or any(status.index_lag.values()):
            return False
    return True


def open_lite(folder: Path) -> tuple[MilvusVectorStore, LiteBackend]:
    backend = LiteBackend(folder / "vectors", MilvusSettings(connect_s=2.0, search_s=30.0))
    return MilvusVectorStore(backend), backend


class TestFullDisk:
    @pytest.fixture
    async def memos(self, tmp_path: Path) -> AsyncIterator[InProcess]:
        self.opened: dict[int, Database] = {}

        def open_one(partition: int) -> Database:
            home = f"p{partition:04}"
            database = open_file(tmp_path / "records" / f"{home}.sqlite")
            self.opened[partition] = revisions.prepare(database, home)
            return self.opened[partition]

        async with in_process(tmp_path, store=SqlRecordStore(open_one)) as running:
            yield running

    def limit(self, pages: int) -> None:
        for database in self.opened.values():
            with database.writer.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    async def test_writes_are_refused_by_name_and_everything_else_goes_on(
        self, memos: InProcess
    ) -> None:
        me, service = memos.administrator, memos.service
        (first,) = await add(memos, "the harbour is closed in winter")
        self.limit(1)
        written, refused = [first], None
        while refused is None:
            item = NewMemory(text=f"ballast {len(written)} " + "x" * 3_000)
            report = await service.add(me, [item, NewMemory(text="and a small one")])
            assert len({result.ok for result in report.results}) == 1
            refused = report.results[0].error
            written += [result.id for result in report.results if result.id]
        assert refused.code == StoreFullError.code
        assert (refused.status, refused.retryable) == (507, False)
        with pytest.raises(StoreFullError):
            await service.update(me, first, MemoryChange(text="y" * 8_000))
        assert (await search(memos, "harbour in winter"))[0] == "the harbour is closed in winter"
        assert (await service.get(me, first)).version == 1
        assert len((await service.list(me, limit=200)).memories) == len(written)
        self.limit(1_000_000)
        await add(memos, "there is space again")
        await service.update(me, first, MemoryChange(text="the harbour is open"))
        assert (await search(memos, "harbour"))[0] == "the harbour is open"
        assert len((await service.list(me, limit=200)).memories) == len(written) + 1
        assert memos.store.check() == []


class TestMilvus:
    async def test_when_it_is_away_writes_go_on_and_resident_searches_too(
        self, tmp_path: Path
    ) -> None:
        away = open_vector_store("http://127.0.0.1:9", MilvusSettings(connect_s=0.1))
        async with in_process(tmp_path, vectors=lambda _: away) as memos:
            await add(memos, "the ferry leaves at nine")
            assert await search(memos, "when does the ferry leave?") == ["the ferry leaves at nine"]
            (status,) = [await shard.status() for shard in memos.crew.shards.values()]
            assert sum(status.index_lag.values()) == 1
        away.close()

    async def test_when_it_is_away_a_search_that_needs_it_says_so(self, tmp_path: Path) -> None:
        away = open_vector_store("http://127.0.0.1:9", MilvusSettings(connect_s=0.1))
        async with in_process(
            tmp_path, vectors=lambda _: away, settings=NOTHING_RESIDENT, timeout_s=0.5
        ) as memos:
            await add(memos, "the ferry leaves at nine")
            with pytest.raises(VectorStoreError) as caught:
                await search(memos, "when does the ferry leave?")
            assert caught.value.retryable
            page = await memos.service.list(memos.administrator)
            assert [memory.text for memory in page.memories] == ["the ferry leaves at nine"]
        away.close()

    async def test_a_killed_engine_costs_waiting_and_nothing_else(self, tmp_path: Path) -> None:
        store, backend = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=NOTHING_RESIDENT, timeout_s=60
        ) as memos:
            await add(memos, "the ferry leaves at nine")
            await until(lambda: indexed(memos))
            assert backend.engine_pid is not None
            os.kill(backend.engine_pid, signal.SIGKILL)
            await add(memos, "the ferry arrives at ten")
            assert "the ferry leaves at nine" in await search(memos, "ferry")
            await until(lambda: indexed(memos))
            assert len(await search(memos, "ferry")) == 2
        store.close()

    async def test_pages_of_a_search_do_not_move_one_another(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(searching, "_NEAREST", 10)
        monkeypatch.setattr(searching, "_DEEPEST", 40)
        store, _ = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=NOTHING_RESIDENT
        ) as memos:
            words = ("lighthouse", "harbour", "ferry", "storm", "winter")
            await add(memos, *(f"the {words[n % 5]} and the {words[n % 3]} {n}" for n in range(35)))
            await until(lambda: indexed(memos))

            async def pages(limit: int) -> list[tuple[str, float]]:
                query = SearchQuery(query="the harbour in a storm", limit=limit)
                found: list[tuple[str, float]] = []
                while True:
                    page = await memos.service.search(memos.administrator, query)
                    found += [(hit.memory.id, hit.score) for hit in page.hits]
                    if page.cursor is None:
                        return found
                    query = query.model_copy(update={"cursor": page.cursor})

            one, by_seven, by_four = [await pages(limit) for limit in (50, 7, 4)]
            assert len(one) == len(dict(one)) == 35
            assert by_seven == by_four == one
        store.close()

    @pytest.mark.parametrize("damage", ["garbled", "gone"])
    async def test_damaged_files_are_rebuilt_from_the_records(
        self, tmp_path: Path, damage: str
    ) -> None:
        texts = [f"note number {number} about lighthouses" for number in range(40)]
        store, _ = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=NOTHING_RESIDENT
        ) as memos:
            ids = await add(memos, *texts)
            await memos.service.delete(memos.administrator, ids[0], hard=True)
            await memos.service.update(
                memos.administrator, ids[1], MemoryChange(text="note number 1, rewritten")
            )
            await until(lambda: indexed(memos))
        store.close()
        _spoil(tmp_path / "vectors", damage)
        store, _ = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=NOTHING_RESIDENT
        ) as memos:
            await until(lambda: indexed(memos))
            expected = {*texts[2:], "note number 1, rewritten"}
            assert set(await search(memos, "note about lighthouses")) == expected
        store.close()

    async def test_files_damaged_while_it_runs_are_rebuilt_without_a_write(
        self, tmp_path: Path
    ) -> None:
        store, backend = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=NOTHING_RESIDENT, timeout_s=60
        ) as memos:
            await add(memos, *(f"note number {number}" for number in range(10)))
            await until(lambda: indexed(memos))
            _spoil(tmp_path / "vectors", "gone")
            assert backend.engine_pid is not None
            os.kill(backend.engine_pid, signal.SIGKILL)

            async def all_found() -> bool:
                try:
                    return len(await search(memos, "note number")) == 10
                except VectorStoreError:
                    # It is still being started.
                    return False

            await until(all_found)
            assert len(store.losses()) == 1
        store.close()


def _spoil(path: Path, damage: str) -> None:
    if damage == "gone":
        shutil.rmtree(path / "engine")
        return
    for file in (path / "engine").rglob("*"):
        if file.is_file():
            with file.open("r+b") as stream:
                stream.write(b"\xa5" * 64)


async def test_a_shard_that_gets_a_partition_back_catches_up(tmp_path: Path) -> None:
    """Each shard has its own copy of the vectors; the old copy lacks what came meanwhile."""
    stores = {name: open_lite(tmp_path / name)[0] for name in ("shard-0", "shard-1")}
    async with in_process(tmp_path, vectors=stores.__getitem__, settings=NOTHING_RESIDENT) as memos:
        places = [await memos.namespace(f"user:admin/{number}") for number in range(4)]
        moved = {partition_of("default", place, 0, 2) for place in places}
        assert moved == {0, 1}

        async def write(text: str) -> None:
            for place in places:
                await memos.service.add(memos.administrator, [NewMemory(text=text)], place)
            await until(lambda: indexed(memos))

        await write("a ferry at nine")
        await memos.supervisor.scale(2)
        await write("a ferry at ten")
        await memos.supervisor.scale(1)
        await until(lambda: indexed(memos))
        for place in places:
            found = await search(memos, "ferry", namespaces=[place])
            assert set(found) == {"a ferry at nine", "a ferry at ten"}
    for store in stores.values():
        store.close()


class ReplaceableEmbedder:
    """An embedder that becomes another one; shards know the space that they started with."""

    def __init__(self, model: EmbedderPort) -> None:
        self._model = model

    def replace(self, model: EmbedderPort) -> None:
        self._model = model

    @property
    def space(self) -> EmbeddingSpace:
        return self._model.space

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._model.embed(texts)

    def legible(self, text: str) -> float:
        return self._model.legible(text)


class TestEmbeddingSpaces:
    @pytest.mark.parametrize("resident", [True, False], ids=["resident", "stored"])
    async def test_another_embedder_embeds_everything_anew(
        self, tmp_path: Path, resident: bool
    ) -> None:
        settings = VaultSettings(partitions=2) if resident else NOTHING_RESIDENT
        texts = [f"note {number} about lighthouses" for number in range(20)]
        store, _ = open_lite(tmp_path)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=settings, embedder=HashingEmbedder(64)
        ) as memos:
            await add(memos, *texts)
            await until(lambda: indexed(memos))
            before = datetime.now(UTC)
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=settings, embedder=HashingEmbedder(32)
        ) as memos:
            await until(lambda: indexed(memos))
            found = await memos.service.search(
                memos.administrator, SearchQuery(query="lighthouses", limit=50, explain=True)
            )
            assert {hit.memory.text for hit in found.hits} == set(texts)
            assert found.unembedded == 0
            assert len(await search(memos, "lighthouses", as_of=before)) == 20
        async with in_process(
            tmp_path, vectors=lambda _: store, settings=settings, embedder=HashingEmbedder(64)
        ) as memos:
            await add(memos, "a new note about lighthouses")
            await until(lambda: indexed(memos))
            assert len(await search(memos, "lighthouses")) == 21
        store.close()

    async def test_a_query_of_another_embedder_is_refused(self, tmp_path: Path) -> None:
        model = ReplaceableEmbedder(HashingEmbedder(64))
        async with in_process(tmp_path, embedder=model) as memos:
            await add(memos, "the ferry leaves at nine")
            model.replace(HashingEmbedder(32))
            with pytest.raises(DimensionMismatchError):
                await search(memos, "when does the ferry leave?")


class TestPostgres:
    async def test_a_server_killed_under_writers_loses_and_doubles_nothing(
        self, tmp_path: Path, postgres: PostgresServer
    ) -> None:
        """Whoever gets an error tries again with the same key, until there is an answer."""
        url = postgres.new_database()
        records, control = SqlRecordStore.clustered(url), SqlControlStore.clustered(url)
        async with in_process(tmp_path, store=records, control=control, timeout_s=60) as memos:
            me, service = memos.administrator, memos.service
            done: list[str] = []
            some_done, some_failed = asyncio.Event(), asyncio.Event()

            async def write(text: str) -> None:
                item = NewMemory(text=text, idempotency_key=text)
                while text not in done:
                    with suppress(UnavailableError):
                        (result,) = (await service.add(me, [item])).results
                        if result.ok:
                            done.append(text)
                            continue
                        assert result.error is not None and result.error.retryable
                    some_failed.set()
                    await asyncio.sleep(0.05)
                if len(done) >= 20:
                    some_done.set()

            texts = [f"memory number {number}" for number in range(200)]
            async with asyncio.TaskGroup() as group:
                for lane in range(4):
                    group.create_task(_in_turn(write, texts[lane::4]))
                await some_done.wait()
                postgres.kill()
                await some_failed.wait()
                postgres.start()
            assert sorted(done) == sorted(texts)
            page = await service.list(me, limit=1_000)
            assert sorted(memory.text for memory in page.memories) == sorted(texts)
            assert set(await search(memos, "memory number")) <= set(texts)
            assert records.check() == []

    async def test_a_memory_lives_there_as_in_files(
        self, tmp_path: Path, postgres: PostgresServer
    ) -> None:
        url = postgres.new_database()
        records, control = SqlRecordStore.clustered(url), SqlControlStore.clustered(url)
        async with in_process(tmp_path, store=records, control=control) as memos:
            me, service = memos.administrator, memos.service
            bob = await memos.caller("user:bob")
            (memory,) = await add(memos, "lives in Rome")
            await service.update(me, memory, MemoryChange(text="lives in Milan"))
            await service.share(me, memory, Sharing(readers=["user:bob"]))
            assert (await service.get(bob, memory)).text == "lives in Milan"
            await service.rollback(me, memory, 1)
            assert await search(memos, "where?", filter="visibility = 'private'") == [
                "lives in Rome"
            ]
            history = await service.history(me, memory)
            assert [version.number for version in history.versions] == [4, 3, 2, 1]
            await service.delete(me, memory, hard=True)
            assert await search(memos, "Rome") == []
            log = await memos.doorway.logs.log(me)
            assert [entry.operation for entry in log.entries][-1] == "erase"
        again = SqlRecordStore.clustered(url)
        assert again.check() == []
        again.close()


async def _in_turn(act: Callable[[str], Awaitable[None]], texts: Sequence[str]) -> None:
    for text in texts:
        await act(text)


class TestDataFolder:
    @pytest.fixture
    async def folder(self, tmp_path: Path) -> Path:
        """A data folder with a few memories in it."""
        async with in_process(tmp_path) as memos:
            await add(memos, *(f"number {number} " + "x" * 3_000 for number in range(50)))
        return tmp_path

    @pytest.mark.parametrize("name", ["control", "p0000"])
    async def test_one_of_another_version_is_refused(self, folder: Path, name: str) -> None:
        file = folder / "records" / f"{name}.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
        with pytest.raises(StoreVersionError) as caught:
            async with in_process(folder):
                pass
        assert caught.value.details["found"] == "9999"
        assert name in str(caught.value.details["store"])

    @pytest.mark.parametrize("name", ["control", "p0000"])
    async def test_a_damaged_file_is_named_at_the_start(self, folder: Path, name: str) -> None:
        with (folder / "records" / f"{name}.sqlite").open("r+b") as stream:
            stream.write(b"\xa5" * 200)
        with pytest.raises(StoreCorruptError) as caught:
            async with in_process(folder):
                pass
        assert name in str(caught.value.details["store"])

    async def test_damage_that_shows_later_is_named_then(self, folder: Path) -> None:
        (file,) = [
            path
            for path in (folder / "records").glob("p*.sqlite")
            if b"number 7" in path.read_bytes()
        ]
        with file.open("r+b") as stream:
            for offset in range(40 * 4_096, file.stat().st_size, 4_096):
                stream.seek(offset)
                stream.write(b"\xa5" * 4_096)
        async with in_process(folder) as memos:
            for ask in (
                lambda: memos.service.list(memos.administrator, limit=50),
                lambda: search(memos, "number"),
            ):
                with pytest.raises(StoreCorruptError):
                    await ask()
            assert memos.store.check()

    async def test_of_two_clusters_at_once_one_is_fenced_and_nothing_is_lost(
        self, folder: Path
    ) -> None:
        """The lock of the folder bars this; where it does not hold, the fence does."""
        async with in_process(folder) as first:
            await first.supervisor.close()
            await add(first, "of the first cluster")
            async with in_process(folder) as second:
                await add(second, "of the second cluster")
                again = [NewMemory(text="of the first again")]
                try:
                    report = await first.service.add(first.administrator, again)
                except NotOwnerError:
                    # Whatever follows the log has met the fence before, and given the partition up.
                    pass
                else:
                    codes = [one.error.code for one in report.results if one.error]
                    assert codes == [FencedError.code]
                page = await second.service.list(second.administrator, limit=200)
                texts = {memory.text for memory in page.memories}
                assert {"of the first cluster", "of the second cluster"} <= texts
                assert "of the first again" not in texts
