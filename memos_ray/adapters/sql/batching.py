"""Statements for many rows or keys at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
)
from sqlalchemy.dialects import postgresql, sqlite

from memos_ray.core.vault.log import CubeKey

_KEYS_AT_ONCE = 400
_LENGTHS = (1, 4, 16, 64, _KEYS_AT_ONCE)
_ALIKE = 64
_Compiled = tuple[str, tuple[str, ...] | None, Callable[[Any], Any] | None]
_compiled: dict[tuple[str, Executable, int], _Compiled] = {}


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
    sql, _, ordered = _constant(connection, statement)
    connection.exec_driver_sql(sql, list(map(ordered, values)) if ordered else list(values))


def bulk_rows(
    connection: Connection, statement: Any, names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    """Does the same with values that come in the order of `names`, which costs a third less."""
    if not rows:
        return
    sql, order, _ = _constant(connection, statement)
    values: list[Any] = rows
    if order is None:
        values = [dict(zip(names, row, strict=True)) for row in rows]
    elif order != names:
        values = list(map(itemgetter(*map(names.index, order)), rows))
    connection.exec_driver_sql(sql, values)


def add_alike(connection: Connection, statement: Insert, rows: list[tuple[Any, ...]]) -> None:
    """Inserts whole rows of a table that have most of their values in common.

    Most of what a row costs is to hand its values to SQLite's driver: what all have in common is
    handed over once for `_ALIKE` rows.
    """
    driver, whole = connection.connection.driver_connection, 0
    if isinstance(driver, sqlite3.Connection) and len(rows) >= _ALIKE:
        whole = len(rows) - len(rows) % _ALIKE
        columns = list(zip(*rows, strict=True))
        told = {n: held for n, held in enumerate(columns) if held.count(held[0]) < len(rows)}
        sql = _alike(statement.table, tuple(told))
        shared = [held[0] for n, held in enumerate(columns) if n not in told]
        for start in range(0, whole, _ALIKE):
            some = (held[start : start + _ALIKE] for held in told.values())
            driver.execute(sql, [*shared, *chain.from_iterable(zip(*some, strict=True))])
    bulk_rows(connection, statement, tuple(statement.table.c.keys()), rows[whole:])


@cache
def _alike(table: Table, own: tuple[int, ...]) -> str:
    """Writes the insertion of `_ALIKE` rows, which differ in the columns at `own`."""
    told = {n: f"told.column{place}" for place, n in enumerate(own, start=1)}
    chosen = ", ".join(told.get(n, "?") for n in range(len(table.c)))
    row = f"({', '.join('?' * len(own))})"
    values = ", ".join([row] * _ALIKE)
    return f"INSERT INTO {table.name} SELECT {chosen} FROM (VALUES {values}) AS told"


def _constant(connection: Connection, statement: Any) -> _Compiled:
    key = connection.dialect.name, statement, 0
    if key not in _compiled:
        _compiled[key] = _written(statement, connection)
    return _compiled[key]


def look_up(
    connection: Connection, statement: Select[Any], values: dict[str, Any], ids: Sequence[str]
) -> Sequence[Sequence[Any]]:
    """Runs a constant query with a list `ids`, which is not empty, of at most 400.

    SQLAlchemy would write out such a list anew in each call, and wrap each row of the answer, which
    costs more than the query. Here the last id is repeated up to one of few lengths, each of which
    is written once, and SQLite's driver is asked directly.
    """
    length = next(one for one in _LENGTHS if one >= len(ids))
    padded = [*ids, *[ids[-1]] * (length - len(ids))]
    key = connection.dialect.name, statement, length
    if key not in _compiled:
        # Only the names of the values are used, and how long the list is.
        _compiled[key] = _written(
            statement.params(values | {"ids": padded}), connection, render_postcompile=True
        )
    sql, _, ordered = _compiled[key]
    given = values | dict(zip(_names(length), padded, strict=True))
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection) and ordered is not None:
        found: list[tuple[Any, ...]] = driver.execute(sql, ordered(given)).fetchall()
        return found
    return connection.exec_driver_sql(sql, ordered(given) if ordered else given).all()


def change(
    connection: Connection,
    statement: Update,
    named: ColumnElement[str],
    values: dict[str, Any],
    ids: Sequence[str],
) -> None:
    """Runs a constant change of the rows that a list names, by the column `named`."""
    for start in range(0, len(ids), _KEYS_AT_ONCE):
        some = ids[start : start + _KEYS_AT_ONCE]
        length = next(one for one in _LENGTHS if one >= len(some))
        padded = [*some, *[some[-1]] * (length - len(some))]
        key = connection.dialect.name, statement, length
        if key not in _compiled:
            listed = named.in_([bindparam(name) for name in _names(length)])
            _compiled[key] = _written(statement.where(listed), connection)
        sql, _, ordered = _compiled[key]
        given = values | dict(zip(_names(length), padded, strict=True))
        connection.exec_driver_sql(sql, ordered(given) if ordered else given)


@cache
def _names(length: int) -> tuple[str, ...]:
    return tuple(f"ids_{place}" for place in range(1, length + 1))


def _written(statement: Any, connection: Connection, **how: bool) -> _Compiled:
    """Writes a statement for the driver, with what puts values in order where it wants them so."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs=how)
    order = getattr(compiled, "positiontup", None)
    if not order:
        return str(compiled), None, None
    return str(compiled), tuple(order), itemgetter(*order)
