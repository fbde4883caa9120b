"""One cluster at a time on a PostgreSQL database, as the folder's lock sees to on SQLite.

The claim is an advisory lock of a session of its own (PostgreSQL manual, 13.3.5): it ends with the
connection, hence with the process that holds it, and no row has to be tidied up after a crash. A
pooler in front has to pool sessions, not transactions, for the connection to stay the same one.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from memos_ray.adapters.sql.engine import Database
from memos_ray.adapters.sql.failures import translated
from memos_ray.errors import DatabaseInUseError

# Advisory locks have numbers for names, and are apart for each database.
_NAME = 0x6D656D6F735F7261
# A node that is gone without a word is noticed in half a minute rather than in hours.
_KEEPALIVES = {"idle": 10, "interval": 5, "count": 3}


class ClusterClaim:
    """Concurrency: any thread may call."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: Connection | None = None
        self._lock = threading.Lock()

    def take(self) -> None:
        """Takes the claim, or makes sure that it is still held.

        Raises:
            DatabaseInUseError: another cluster holds it.
            UnavailableError: the server cannot be reached; the claim may be lost.
        """
        if self._database.file is not None:
            return
        with self._lock:
            if self._session is not None and not _lives(self._session):
                self._let_go()
            if self._session is None:
                self._session = self._claimed_session()

    def release(self) -> None:
        """Gives the claim up; another cluster has it for the asking when this returns."""
        with self._lock:
            if self._session is not None:
                # The server ends a closed session only some time later.
                with suppress(SQLAlchemyError):
                    self._session.execute(text("SELECT pg_advisory_unlock_all()"))
            self._let_go()

    def _claimed_session(self) -> Connection:
        with translated(self._database.name):
            session = self._database.reader.connect()
            try:
                session.detach()
                for name, value in _KEEPALIVES.items():
                    session.execute(text(f"SET tcp_keepalives_{name} = {value}"))
                taken = session.scalar(text("SELECT pg_try_advisory_lock(:name)"), {"name": _NAME})
            except BaseException:
                session.close()
                raise
        if not taken:
            session.close()
            raise DatabaseInUseError(
                "another cluster runs on this database", store=self._database.name
            )
        return session

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _lives(session: Connection) -> bool:
    try:
        session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
