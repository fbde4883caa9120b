"""Looks at SQLite from outside, for who operates it: which version wrote a file, how fast it is."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from sqlalchemy import inspect

from memos_ray.adapters.sql.checks import FILES_ASIDE, unreadable
from memos_ray.adapters.sql.engine import Database, open_file, open_server
from memos_ray.adapters.sql.failures import translated
from memos_ray.adapters.sql.revisions import look
from memos_ray.adapters.sql.schema import derivation, version

_COMMITS = 20


def version_of(file: Path) -> str | None:
    """Returns the schema revision of a store's file, or nothing if it has no tables of ours yet.

    Raises:
        StoreError: the file is damaged or cannot be read.
    """
    database = open_file(file)
    try:
        with translated(database.name), database.reader.connect() as connection:
            return look(connection)[0]
    finally:
        database.close()


def archive_files_aside(file: Path) -> int:
    """Counts files of the archive that a store's file says are damaged or lost.

    Raises:
        StoreError: the file is damaged or cannot be read.
    """
    database = open_file(file)
    try:
        with database.read() as connection:
            there = inspect(connection).has_table(derivation.name)
            return connection.execute(FILES_ASIDE).scalar_one() if there else 0
    finally:
        database.close()


def memories_damaged(place: Path | str) -> list[str]:
    """Returns the ids of memories that cannot be read; every version is read for that.

    Args:
        place: a store's file, or the URL of its database.

    Raises:
        StoreError: it is damaged or cannot be read.
        UnavailableError: the server cannot be reached.
    """
    database = open_file(place) if isinstance(place, Path) else open_server(place)
    try:
        with database.read() as connection:
            there = inspect(connection).has_table(version.name)
            return unreadable(connection) if there else []
    finally:
        database.close()


def commits_per_second(folder: Path) -> float:
    """Measures single commits, each flushed to the disk, in a file that is removed again.

    Raises:
        StoreError: nothing can be written there.
    """
    with tempfile.TemporaryDirectory(prefix=".memos-probe-", dir=folder) as place:
        database = open_file(Path(place) / "probe.sqlite")
        try:
            _commit(database, "CREATE TABLE probe (number INTEGER)")
            started = time.perf_counter()
            for _ in range(_COMMITS):
                _commit(database, "INSERT INTO probe VALUES (1)")
            return _COMMITS / (time.perf_counter() - started)
        finally:
            database.close()


def _commit(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)
