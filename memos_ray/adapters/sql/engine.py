"""Connections: one `Database` is a SQLite file or a PostgreSQL server.

Concurrency: SQLite has one writing connection, whose pool is the queue for it, and several reading
ones; in WAL mode neither side waits for the other. PostgreSQL has one pool for both.
"""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from memos_ray.adapters.sql.failures import translated
from memos_ray.errors import ConfigurationError, StoreError, StoreFullError, UnavailableError

T = TypeVar("T")

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_READERS = 8
_BUSY_TIMEOUT_MS = 5_000
_SCRUB_TIMEOUT_MS = 100
_CACHE_KIB = 4_096
# A checkpoint copies the log into the file with two flushes; fewer, larger ones cost less per row.
_CHECKPOINT_PAGES = 4_000
_LOG_LIMIT_BYTES = 64 << 20

_POOL = 8
_POOL_OVERFLOW = 24
_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_MS = 60_000
_LOCK_TIMEOUT_MS = 5_000
# A writer that is cut off in mid-transaction holds its fence; the server frees it after this.
_IDLE_TRANSACTION_MS = 15_000
# Serialisation failure and deadlock: the database has rolled back, and the same may pass next time.
_ROLLED_BACK = ("40001", "40P01")
_ATTEMPTS = 6
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Database:
    """Where statements run.

    Attributes:
        name: file or server, for messages; holds no credentials.
        file: the SQLite file; absent for a server.
    """

    name: str
    writer: Engine
    reader: Engine
    file: Path | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Gives a connection on which each statement sees all commits before it.

        Raises:
            UnavailableError: no connection, or it was lost; the next call connects anew.
            StoreError: anything else that the database reports.
        """
        with translated(self.name), self.reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Gives a connection in a transaction; leaving it commits, an error rolls back.

        Raises:
            StoreFullError: no space left; nothing was written.
            UnavailableError: another writer did not finish in time, or the connection was lost; in
                the latter case only reading tells whether a commit under way took effect.
            AlreadyExistsError: a row with this key is there.
            StoreError: anything else that the database reports.
        """
        with translated(self.name), self.writer.begin() as connection:
            yield connection

    def transact(self, act: Callable[[Connection], T]) -> T:
        """Runs `act` in a transaction, and again when the database sacrifices it to another one.

        Raises:
            MemosError: as `write`.
        """
        pause_s = _PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            try:
                with self.write() as connection:
                    return act(connection)
            except UnavailableError as error:
                if error.details.get("reason") not in _ROLLED_BACK:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s *= 2
        with self.write() as connection:
            return act(connection)

    def scrub(self) -> bool:
        """Empties the write-ahead log, which may hold what was erased.

        Returns:
            False while a reader or the lack of space bars it. PostgreSQL reclaims erased rows by
            its own autovacuum.
        """
        if self.file is None:
            return True
        try:
            with self.writer.connect().execution_options(memos_plain=True) as connection:
                # Other writes wait behind this one, so it gives up early and is tried again.
                connection.exec_driver_sql(f"PRAGMA busy_timeout={_SCRUB_TIMEOUT_MS}")
                try:
                    row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                finally:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        except SQLAlchemyError:
            return False
        return bool(row[0] == 0)

    def close(self) -> None:
        """Closes all connections."""
        self.reader.dispose()
        self.writer.dispose()


def _secure(file: Path) -> None:
    """Creates the folder and the file for their owner only; SQLite would follow the umask."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))


def _pragmas(*, writing: bool) -> str:
    common = (
        f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}; PRAGMA cache_size=-{_CACHE_KIB};"
        "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
    )
    if not writing:
        return common + "PRAGMA query_only=ON;"
    return common + (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
        f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES};"
        f"PRAGMA journal_size_limit={_LOG_LIMIT_BYTES};"
    )


def _sqlite_engine(file: Path, *, writing: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(file)),
        # `isolation_level=None` hands transactions to us: the driver's own start too late.
        connect_args={"isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1 if writing else _READERS,
        max_overflow=0,
        pool_timeout=2 * _BUSY_TIMEOUT_MS / 1000,
        # Each connection keeps pages of its own; the one that was used last has the right ones.
        pool_use_lifo=True,
        pool_reset_on_return="rollback" if writing else None,
        hide_parameters=True,
    )
    pragmas = _pragmas(writing=writing)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.executescript(pragmas)

    if writing:

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if not connection.get_execution_options().get("memos_plain"):
                # Takes the write lock at once: a lock taken midway could only fail.
                connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def open_file(file: Path) -> Database:
    """Opens a SQLite file, creating an empty one when absent.

    Raises:
        StoreFullError: no space for the file.
        StoreError: the file cannot be created or opened.
    """
    try:
        _secure(file)
    except OSError as error:
        kind = StoreFullError if error.errno in _NO_SPACE else StoreError
        raise kind("the store's file cannot be created", store=str(file)) from error
    return Database(
        str(file),
        _sqlite_engine(file, writing=True),
        _sqlite_engine(file, writing=False),
        file,
    )


def open_server(url: str) -> Database:
    """Prepares connections to a PostgreSQL database; the first use connects.

    Raises:
        ConfigurationError: the URL is none, or of another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("the record store's URL cannot be read") from None
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError("the record store's URL is not of PostgreSQL")
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={
            "application_name": "memos-ray",
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}"
            f" -c lock_timeout={_LOCK_TIMEOUT_MS}"
            f" -c idle_in_transaction_session_timeout={_IDLE_TRANSACTION_MS}",
        },
        pool_size=_POOL,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=_CONNECT_TIMEOUT_S,
        pool_recycle=1800,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        try:
            # A server set to forget commits on a crash must not do so with ours.
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('synchronous_commit', 'on', false)"
                    " WHERE current_setting('synchronous_commit') = 'off'"
                )
            connection.commit()
        except BaseException:
            # The pool does not know it yet.
            connection.close()
            raise

    return Database(
        parsed.render_as_string(hide_password=True),
        engine,
        engine.execution_options(isolation_level="AUTOCOMMIT"),
    )
