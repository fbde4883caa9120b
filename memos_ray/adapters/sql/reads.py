"""The statements that read a partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
)

from memos_ray.adapters.sql.predicates import attribute_one_of, compile_predicate, has_any
from memos_ray.adapters.sql.rows import USAGE_COLUMNS, AnyRow
from memos_ray.adapters.sql.schema import cube, label, vector, version
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX
from memos_ray.core.cube.predicate import AllOf, HasAny, OneOf, Predicate

# A condition that holds for few cubes is looked up; any other is met soon on the way.
_FEW = 2_000
_DELETED = State.DELETED.value


def _head_columns(source: FromClause) -> list[ColumnElement[Any]]:
    """What `rows.head_of` takes, of `cube` or a selection from it."""
    return [
        source.c.tenant,
        source.c.id,
        source.c.created_at,
        version.c.body,
        version.c.lsn,
        source.c.sketch,
        *(source.c[name] for name in USAGE_COLUMNS),
    ]


def _has_version(source: FromClause, number: ColumnElement[int]) -> ColumnElement[bool]:
    return and_(
        version.c.partition == source.c.partition,
        version.c.tenant == source.c.tenant,
        version.c.cube_id == source.c.id,
        version.c.number == number,
    )


_VECTOR_COLUMNS = (
    vector.c.version.label("vector_version"),
    vector.c.space.label("vector_space"),
    vector.c.body.label("vector_body"),
    vector.c.sketch.label("vector_sketch"),
)

HEADS = (
    select(*_head_columns(cube))
    .join_from(cube, version, _has_version(cube, cube.c.number))
    .where(
        cube.c.partition == bindparam("p"),
        cube.c.tenant == bindparam("t"),
        cube.c.id.in_(bindparam("ids", expanding=True)),
    )
)
"""Heads of one tenant's cubes: `p`, `t`, `ids`."""

_in_namespace = (
    cube.c.partition == bindparam("p"),
    cube.c.tenant == bindparam("t"),
    cube.c.namespace == bindparam("ns"),
)
_of_cube = (
    vector.c.partition == cube.c.partition,
    vector.c.tenant == cube.c.tenant,
    vector.c.cube_id == cube.c.id,
)


def _page_with_vectors(number: ColumnElement[int], space: ColumnElement[str]) -> Select[Any]:
    """Pages through a namespace, oldest first, with one version of each cube.

    Args:
        number: which version; its vectors are the newest up to it.
        space: embedding space of the vectors.
    """
    newest = (
        select(func.max(vector.c.version))
        .where(*_of_cube, vector.c.space == space, vector.c.version <= version.c.number)
        .correlate(cube, version)
        .scalar_subquery()
    )
    return (
        select(*_head_columns(cube), *_VECTOR_COLUMNS)
        .join_from(cube, version, _has_version(cube, number))
        .outerjoin(vector, and_(*_of_cube, vector.c.space == space, vector.c.version == newest))
        .where(
            *_in_namespace,
            tuple_(cube.c.created_at, cube.c.id) > tuple_(bindparam("at"), bindparam("id")),
        )
        .order_by(cube.c.created_at, cube.c.id)
        .limit(bindparam("limit"))
    )


LOAD = _page_with_vectors(cube.c.number, bindparam("space"))
"""Heads of a namespace: `p`, `t`, `ns`, `space`, and `at`, `id` of the last one, `limit`."""

_past = version.alias("past")
_newest_then = (
    select(func.max(_past.c.number))
    .where(
        _past.c.partition == cube.c.partition,
        _past.c.tenant == cube.c.tenant,
        _past.c.cube_id == cube.c.id,
        _past.c.created_at <= bindparam("moment"),
    )
    .correlate(cube)
    .scalar_subquery()
)
_any_space = (
    select(func.max(vector.c.space))
    .where(*_of_cube, vector.c.version <= version.c.number)
    .correlate(cube, version)
    .scalar_subquery()
)
AS_OF = _page_with_vectors(_newest_then, bindparam("space")).where(version.c.state != _DELETED)
"""Versions that were newest at `moment`; otherwise as `LOAD`."""

AS_OF_ANY_SPACE = _page_with_vectors(_newest_then, _any_space).where(version.c.state != _DELETED)
"""As `AS_OF`, with vectors of whatever space."""

VERSIONS = (
    select(
        *(
            version.c[name]
            for name in (
                "number",
                "lsn",
                "created_at",
                "change",
                "author",
                "digest",
                "parents",
                "reason",
            )
        )
    )
    .where(
        version.c.partition == bindparam("p"),
        version.c.tenant == bindparam("t"),
        version.c.cube_id == bindparam("i"),
        version.c.number < bindparam("before"),
    )
    .order_by(version.c.number.desc())
    .limit(bindparam("limit"))
)
"""Version records of a cube, newest first: `p`, `t`, `i`, `before`, `limit`."""

VERSION = select(version.c.lsn, version.c.body).where(
    version.c.partition == bindparam("p"),
    version.c.tenant == bindparam("t"),
    version.c.cube_id == bindparam("i"),
    version.c.number == bindparam("n"),
)
"""One version: `p`, `t`, `i`, `n`."""

_newer = vector.alias("newer")
VECTORS = select(vector.c.cube_id, *_VECTOR_COLUMNS).where(
    vector.c.partition == bindparam("p"),
    vector.c.tenant == bindparam("t"),
    vector.c.cube_id.in_(bindparam("ids", expanding=True)),
    vector.c.space == bindparam("space"),
    vector.c.version
    == select(func.max(_newer.c.version))
    .where(
        _newer.c.partition == vector.c.partition,
        _newer.c.tenant == vector.c.tenant,
        _newer.c.cube_id == vector.c.cube_id,
        _newer.c.space == vector.c.space,
    )
    .correlate(vector)
    .scalar_subquery(),
)
"""Newest vectors of one tenant's cubes: `p`, `t`, `ids`, `space`."""

_alive = case((cube.c.state != _DELETED, 1), else_=0)
_alive_bytes = case((cube.c.state != _DELETED, cube.c.text_bytes), else_=0)
NAMESPACES = (
    select(
        cube.c.tenant,
        cube.c.namespace,
        func.sum(_alive).label("cubes"),
        func.sum(_alive_bytes).label("text_bytes"),
    )
    .where(cube.c.partition == bindparam("p"))
    .group_by(cube.c.tenant, cube.c.namespace)
    .order_by(cube.c.tenant, cube.c.namespace)
)
"""Sizes of all namespaces: `p`."""

SIZE = select(
    func.count().label("cubes"), func.coalesce(func.sum(cube.c.text_bytes), 0).label("text_bytes")
).where(*_in_namespace, cube.c.state != _DELETED)
"""Size of one namespace: `p`, `t`, `ns`."""


def scan(
    connection: Connection,
    partition: int,
    tenant: str,
    namespace: str,
    predicate: Predicate,
    after: tuple[int, str] | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Reads a page of heads, newest first; see `RecordStorePort.scan`."""
    place = {"p": partition, "t": tenant, "ns": namespace}
    wanted = select(cube).where(*_in_namespace, compile_predicate(predicate))
    if after is not None:
        last = tuple_(literal(after[0]), literal(after[1]))
        wanted = wanted.where(tuple_(cube.c.created_at, cube.c.id) < last)
    for candidates in _lookups(predicate):
        probe = select(func.count()).select_from(candidates.limit(_FEW).subquery())
        if connection.execute(probe, place).scalar_one() < _FEW:
            wanted = wanted.where(cube.c.id.in_(candidates))
            break
    # Bodies are fetched for the page alone, not for all that is sorted to find it.
    page = wanted.order_by(cube.c.created_at.desc(), cube.c.id.desc()).limit(limit).subquery()
    statement = (
        select(*_head_columns(page))
        .join_from(page, version, _has_version(page, page.c.number))
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )
    return connection.execute(statement, place).all()


def _lookups(predicate: Predicate) -> Iterator[Select[Any]]:
    """Yields queries for ids, each covering all cubes that a predicate can hold for."""
    for part in predicate.of if isinstance(predicate, AllOf) else (predicate,):
        match part:
            case HasAny(name, values):
                held = has_any(name, values)
            case OneOf(name, values) if name.startswith(ATTRIBUTE_PREFIX):
                held = attribute_one_of(name, values)
            case OneOf("conversation", values):
                named = cube.alias("named")
                yield select(named.c.id).where(
                    named.c.partition == bindparam("p"),
                    named.c.tenant == bindparam("t"),
                    named.c.namespace == bindparam("ns"),
                    named.c.conversation.in_([v for v in values if isinstance(v, str)]),
                )
                continue
            case _:
                continue
        if held is not None:
            yield select(label.c.cube_id).where(
                label.c.partition == bindparam("p"), label.c.tenant == bindparam("t"), held
            )
