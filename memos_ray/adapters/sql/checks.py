"""Looks for damage: in a file's structure, and between rows that must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, LargeBinary, Select, exists, func, literal, select, tuple_

from memos_ray.adapters.sql.engine import Database
from memos_ray.adapters.sql.schema import (
    cube,
    derivation,
    event,
    fence,
    label,
    vector,
    version,
)
from memos_ray.core.cube.decoding import decode
from memos_ray.core.lifecycle.archive import KIND, Standing
from memos_ray.errors import StoreCorruptError

_AT_MOST = 20
_AT_ONCE, _NAMED = 256, 5
_VERSION_KEY = (version.c.partition, version.c.tenant, version.c.cube_id, version.c.number)


def findings(database: Database) -> list[str]:
    """Returns a sentence for each kind of damage found.

    Raises:
        StoreError: the damage is such that nothing can be read.
    """
    with database.read() as connection:
        found = _structure(connection)
        for sentence, statement in _RULES.items():
            count = connection.execute(statement).scalar_one()
            if count:
                found.append(f"{count} {sentence}")
        ids = unreadable(connection)
        if ids:
            found.append(f"{len(ids)} memories have versions that cannot be read: {named(ids)}")
    return [f"{database.name}: {sentence}" for sentence in found]


def named(ids: Sequence[str]) -> str:
    """Returns the first few ids, for a message."""
    return ", ".join([*ids[:_NAMED], *(["..."] if len(ids) > _NAMED else [])])


def unreadable(connection: Connection) -> list[str]:
    """Tries to read every version, a few at a time; returns the ids of those that cannot be."""
    page = select(*_VERSION_KEY, version.c.body).order_by(*_VERSION_KEY).limit(_AT_ONCE)
    ids: dict[str, None] = {}
    # By key: a server gives a cursor only within a transaction, which would hold back its vacuum.
    rows = connection.execute(page).all()
    while rows:
        for row in rows:
            try:
                decode(row.body)
            except StoreCorruptError:
                ids[row.cube_id] = None
        last = tuple_(*(literal(value) for value in rows[-1][: len(_VERSION_KEY)]))
        rows = connection.execute(page.where(tuple_(*_VERSION_KEY) > last)).all()
    return list(ids)


def _structure(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    lines = connection.exec_driver_sql(f"PRAGMA integrity_check({_AT_MOST})").scalars()
    return [line for line in lines if line != "ok"]


def _without_head(table: Any) -> Select[int]:
    head = exists().where(
        cube.c.partition == table.c.partition,
        cube.c.tenant == table.c.tenant,
        cube.c.id == table.c.cube_id,
    )
    return select(func.count()).select_from(table).where(~head)


_newest = (
    select(func.max(version.c.number))
    .where(
        version.c.partition == cube.c.partition,
        version.c.tenant == cube.c.tenant,
        version.c.cube_id == cube.c.id,
    )
    .scalar_subquery()
)
_log = (
    select(
        event.c.partition,
        func.count().label("entries"),
        func.max(event.c.lsn).label("last"),
    )
    .group_by(event.c.partition)
    .subquery()
)
_aside = func.substr(derivation.c.body, 1, 1) == literal(
    Standing.DAMAGED.value.encode(), LargeBinary()
)
FILES_ASIDE = select(func.count()).select_from(derivation).where(derivation.c.kind == KIND, _aside)
"""Counts files of the archive that are set aside, in all partitions."""

_RULES: dict[str, Select[int]] = {
    "archive files are damaged or lost": FILES_ASIDE,
    "heads are not the newest version of their cube": select(func.count())
    .select_from(cube)
    .where(func.coalesce(_newest, 0) != cube.c.number),
    "versions belong to no cube": _without_head(version),
    "labels belong to no cube": _without_head(label),
    "vectors belong to no cube": _without_head(vector),
    "logs have gaps or end elsewhere than their fence says": select(func.count())
    .select_from(fence)
    .outerjoin(_log, _log.c.partition == fence.c.partition)
    .where(
        (func.coalesce(_log.c.last, 0) != fence.c.lsn)
        | (func.coalesce(_log.c.entries, 0) != fence.c.lsn)
    ),
}
