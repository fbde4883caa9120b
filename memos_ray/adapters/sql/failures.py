"""Translates what the database drivers raise into the named errors of this project.

A driver's message may quote parameters, hence memories; ours carry only its error code. The
driver's error stays attached as the cause where it helps to find a defect; engines are set up to
leave parameters out of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from memos_ray.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MemosError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    UnavailableError,
)

_SQLITE: dict[int, type[MemosError]] = {
    sqlite3.SQLITE_BUSY: UnavailableError,
    sqlite3.SQLITE_LOCKED: UnavailableError,
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptError,
    sqlite3.SQLITE_NOTADB: StoreCorruptError,
    sqlite3.SQLITE_CONSTRAINT: AlreadyExistsError,
}

# By SQLSTATE or its class, the longest match first (PostgreSQL manual, appendix A).
_POSTGRES: dict[str, type[MemosError]] = {
    "23505": AlreadyExistsError,  # unique_violation
    "53100": StoreFullError,  # disk_full
    "53": UnavailableError,  # insufficient_resources
    "08": UnavailableError,  # connection_exception
    "40": UnavailableError,  # transaction_rollback
    "55P03": UnavailableError,  # lock_not_available
    "57": UnavailableError,  # operator_intervention, statement timeouts included
    "25006": UnavailableError,  # read_only_sql_transaction: a standby, until the new primary is up
    "25P03": UnavailableError,  # idle_in_transaction_session_timeout
    "XX001": StoreCorruptError,  # data_corrupted
    "XX002": StoreCorruptError,  # index_corrupted
}

_MESSAGES: dict[type[MemosError], str] = {
    AlreadyExistsError: "the store holds this already",
    StoreCorruptError: "the store is damaged",
    StoreFullError: "no space is left for the store",
    UnavailableError: "the store cannot be reached or is busy",
    StoreError: "the store failed",
}


def _kind(error: BaseException) -> tuple[type[MemosError], str]:
    if isinstance(error, PoolTimeoutError):
        return UnavailableError, "no connection became free"
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        return _SQLITE.get(code & 0xFF, StoreError), getattr(error, "sqlite_errorname", "unknown")
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _POSTGRES.get(state, _POSTGRES.get(state[:2], StoreError)), state
    # Without a state, the server said nothing: the connection failed or was lost.
    lost = type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
    return (UnavailableError if lost else StoreError), type(error).__name__


@contextmanager
def translated(store: str) -> Iterator[None]:
    """Raises what happens inside as errors of this project.

    Args:
        store: names the file or server in the error; without credentials.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) and error.orig else error
        kind, code = _kind(original)
        failure = kind(_MESSAGES[kind], store=store, reason=code)
        if kind is StoreError:
            raise failure from error
        raise failure from None
    except UnicodeEncodeError:
        raise InvalidInputError("text that UTF-8 cannot carry") from None
