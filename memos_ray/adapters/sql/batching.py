"""Statements for many rows or keys at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

from memos_ray.core.vault.log import CubeKey

_KEYS_AT_ONCE = 400
_compiled: dict[tuple[str, Executable], tuple[str, Callable[[Any], Any] | None]] = {}


def in_chunks(keys: Iterable[CubeKey]) -> Iterator[tuple[str, list[str]]]:
    """Groups keys by tenant, few enough at a time for one statement."""
    by_tenant: dict[str, list[str]] = {}
    for key in keys:
        by_tenant.setdefault(key.tenant, []).append(key.id)
    for tenant, ids in by_tenant.items():
        for start in range(0, len(ids), _KEYS_AT_ONCE):
            yield tenant, ids[start : start + _KEYS_AT_ONCE]


@cache
def upsert(dialect: str, table: Table, *keep: str) -> Any:
    """Builds "insert or replace" for a table.

    Args:
        keep: columns that a replaced row keeps.
    """
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table)
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: statement.excluded[column.name]
            for column in table.c
            if column.name not in keys and column.name not in keep
        },
    )


def bulk(connection: Connection, statement: Any, values: Sequence[dict[str, Any]]) -> None:
    """Runs a constant statement for many rows, handing them to the driver as they are.

    The values need no conversion for either driver, and SQLAlchemy's own handling of each row costs
    nearly as much as SQLite's insertion of it.
    """
    if not values:
        return
    key = connection.dialect.name, statement
    if key not in _compiled:
        compiled = statement.compile(dialect=connection.dialect)
        order = getattr(compiled, "positiontup", None)
        _compiled[key] = str(compiled), itemgetter(*order) if order else None
    sql, ordered = _compiled[key]
    connection.exec_driver_sql(sql, list(map(ordered, values)) if ordered else list(values))
