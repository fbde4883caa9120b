"""The record stores that the contract suite runs on, each with a way to look behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.vault.log import Commit, Reply
from memos_ray.ports import RecordStorePort
from memos_ray.testing.cubes import as_moved, make_commit
from memos_ray.testing.postgres_server import PostgresServer
from memos_ray.testing.record_store import MemoryRecordStore

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Backend:
    """A record store, and a way to look behind it.

    Attributes:
        place: folder of the files, or URL of the database.
        reopen: opens the same data once more; none where nothing survives.
        query: runs SQL on the database of a partition; none where there is no database.
    """

    store: RecordStorePort
    place: str = ""
    reopen: Callable[[], RecordStorePort] | None = None
    query: Callable[[int, str], Rows] | None = None

    def rows(self, partition: int, table: str) -> Rows:
        """Returns a partition's rows of one table; none where there are no tables."""
        if self.query is None:
            return []
        return self.query(partition, f"SELECT * FROM {table} WHERE partition = {partition}")


def in_memory() -> Backend:
    """Makes a store of dictionaries."""
    return Backend(MemoryRecordStore())


def on_sqlite(folder: Path) -> Backend:
    """Opens a store of SQLite files."""

    def query(partition: int, sql: str) -> Rows:
        with closing(sqlite3.connect(folder / f"p{partition:04}.sqlite")) as connection:
            return connection.execute(sql).fetchall()

    def reopen() -> RecordStorePort:
        return SqlRecordStore.embedded(folder)

    return Backend(reopen(), str(folder), reopen, query)


def on_postgres(server: PostgresServer) -> Backend:
    """Opens a store in a fresh PostgreSQL database."""
    url = server.new_database()

    def query(partition: int, sql: str) -> Rows:
        with server.connect(url) as connection:
            rows: Rows = connection.execute(sql).fetchall()
            return rows

    def reopen() -> RecordStorePort:
        return SqlRecordStore.clustered(url)

    return Backend(reopen(), url, reopen, query)


@dataclass(frozen=True, slots=True)
class Owner:
    """Writes one partition, as the shard that owns it."""

    store: RecordStorePort
    partition: int
    epoch: int = 1

    def commit(
        self,
        *cubes: MemCube,
        erased: Sequence[MemCube] = (),
        replies: Sequence[Reply] = (),
    ) -> Commit:
        """Commits behind the end of the log and returns what was committed."""
        commit = self._planned(cubes, erased, replies)
        self.store.commit(commit)
        return commit

    def commit_moves(self, *cubes: MemCube, stowed: Sequence[StoredVersion] = ()) -> Commit:
        """Commits versions that differ from those before them in their state alone, as such."""
        commit = self._planned(cubes, (), ())
        moved = tuple(map(as_moved, commit.cubes))
        commit = replace(commit, cubes=(), moved=moved, stowed=tuple(stowed))
        self.store.commit(commit)
        return commit

    def _planned(
        self, cubes: Sequence[MemCube], erased: Sequence[MemCube], replies: Sequence[Reply]
    ) -> Commit:
        return make_commit(
            cubes,
            after=self.store.last_lsn(self.partition),
            partition=self.partition,
            epoch=self.epoch,
            erased=erased,
            replies=replies,
        )
