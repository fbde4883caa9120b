"""The databases of a record store: one a partition, or one for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from memos_ray.adapters.sql.engine import Database
from memos_ray.adapters.sql.rows import AnyRow
from memos_ray.errors import StoreError

T = TypeVar("T")

_PAGE = 128


class Databases:
    """Opens each database at its first use, and runs statements in it; for `SqlRecordStore`.

    Concurrency: every method may be called from several threads at once.

    Args:
        opened: opens, or returns, the database of a partition.
    """

    def __init__(self, opened: Callable[[int], Database]) -> None:
        self._open = opened
        self._databases: dict[int, Database] = {}
        self._lock = threading.Lock()
        self._unscrubbed: set[int] = set()
        self._closed = False

    def close(self) -> None:
        """See `RecordStorePort.close`."""
        with self._lock:
            self._closed = True
            databases = {id(one): one for one in self._databases.values()}
            for partition in self._unscrubbed:
                self._databases[partition].scrub()
            self._databases.clear()
        for database in databases.values():
            database.close()

    def _database(self, partition: int) -> Database:
        database = self._databases.get(partition)
        if database is not None:
            return database
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            if partition not in self._databases:
                self._databases[partition] = self._open(partition)
            return self._databases[partition]

    def _transact(self, partition: int, act: Callable[[Connection], T]) -> T:
        return self._database(partition).transact(act)

    def _scrub(self, partition: int, *, erased: bool) -> None:
        """Overwrites what has been erased now, or could not be overwritten before."""
        if not erased and partition not in self._unscrubbed:
            return
        if self._database(partition).scrub():
            self._unscrubbed.discard(partition)
        else:
            self._unscrubbed.add(partition)

    def _rows(self, partition: int, statement: Any, values: dict[str, Any]) -> Sequence[AnyRow]:
        with self._database(partition).read() as connection:
            return connection.execute(statement, values).all()

    def _row(self, partition: int, statement: Any, values: dict[str, Any]) -> AnyRow | None:
        with self._database(partition).read() as connection:
            return connection.execute(statement, values).first()

    def _pages(self, partition: int, statement: Any, values: dict[str, Any]) -> Iterator[AnyRow]:
        """Reads page by page, so that a slow caller holds neither a connection nor a snapshot."""
        last: tuple[int, str] = (-(2**63), "")
        while True:
            values |= {"p": partition, "at": last[0], "id": last[1], "limit": _PAGE}
            page = self._rows(partition, statement, values)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].created_at, page[-1].id
