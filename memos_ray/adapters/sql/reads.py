"""The statements that read a partition.

What belongs to a cube is fetched by its whole key in scalar subqueries, never by joins: partition,
tenant and namespace depend on one another, which planners do not know. They take a namespace for
tiny, and on a server without fresh statistics a join then meets everything with everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
)

from memos_ray.adapters.sql.batching import in_chunks, look_up
from memos_ray.adapters.sql.predicates import attribute_one_of, compile_predicate, has_any
from memos_ray.adapters.sql.rows import USAGE_COLUMNS, AnyRow
from memos_ray.adapters.sql.schema import (
    cube,
    cursor,
    derivation,
    fence,
    label,
    reply,
    vector,
    version,
)
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX
from memos_ray.core.cube.predicate import AllOf, HasAny, OneOf, Predicate
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import Among

# A condition that holds for few cubes is looked up; any other is met soon on the way.
_FEW = 2_000
_DELETED = State.DELETED.value


def _of_cube(table: FromClause, source: FromClause) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.partition == source.c.partition,
        table.c.tenant == source.c.tenant,
        table.c.cube_id == source.c.id,
    )


def _head_columns(source: FromClause, number: ColumnElement[int]) -> list[ColumnElement[Any]]:
    """What `rows.head_of` takes, of `cube` or a selection from it, with one of its versions."""

    def of_version(name: str) -> ColumnElement[Any]:
        held = select(version.c[name]).where(*_of_cube(version, source), version.c.number == number)
        return held.correlate(source).scalar_subquery().label(name)

    return [
        source.c.tenant,
        source.c.id,
        source.c.created_at,
        of_version("body"),
        of_version("lsn"),
        source.c.sketch,
        *(source.c[name] for name in USAGE_COLUMNS),
    ]


HEADS = select(*_head_columns(cube, cube.c.number)).where(
    cube.c.partition == bindparam("p"),
    cube.c.tenant == bindparam("t"),
    cube.c.id.in_(bindparam("ids", expanding=True)),
)
"""Heads of one tenant's cubes: `p`, `t`, `ids`."""

RESTING = select(
    cube.c.id,
    cube.c.namespace,
    cube.c.number,
    cube.c.state,
    cube.c.frozen,
    cube.c.sketch,
    select(version.c.body)
    .where(*_of_cube(version, cube), version.c.number == cube.c.number)
    .correlate(cube)
    .scalar_subquery()
    .label("body"),
).where(
    cube.c.partition == bindparam("p"),
    cube.c.tenant == bindparam("t"),
    cube.c.id.in_(bindparam("ids", expanding=True)),
)
"""Heads of one tenant's cubes, what `Resting` takes: `p`, `t`, `ids`."""

_in_namespace = (
    cube.c.partition == bindparam("p"),
    cube.c.tenant == bindparam("t"),
    cube.c.namespace == bindparam("ns"),
)


def _page_with_vectors(number: ColumnElement[int], *where: ColumnElement[bool]) -> Select[Any]:
    """Pages through a namespace, oldest first, with one version of each cube.

    Args:
        number: which version; its vectors are the newest up to it.
        where: conditions on the cube.
    """
    page = (
        select(cube, number.label("chosen"))
        .where(
            *_in_namespace,
            tuple_(cube.c.created_at, cube.c.id) > tuple_(bindparam("at"), bindparam("id")),
            *where,
        )
        .order_by(cube.c.created_at, cube.c.id)
        .limit(bindparam("limit"))
        .subquery()
    )

    def of_vector(name: str) -> ColumnElement[Any]:
        newest = (
            select(vector.c[name])
            .where(
                *_of_cube(vector, page),
                vector.c.space == bindparam("space"),
                vector.c.version <= page.c.chosen,
            )
            .order_by(vector.c.version.desc())
            .limit(1)
        )
        return newest.correlate(page).scalar_subquery().label(f"vector_{name}")

    return select(
        *_head_columns(page, page.c.chosen),
        *(of_vector(name) for name in ("version", "space", "body", "sketch")),
    ).order_by(page.c.created_at, page.c.id)


def _then(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of the version that was the newest at `moment`."""
    newest = (
        select(column)
        .where(*_of_cube(version, cube), version.c.created_at <= bindparam("moment"))
        .order_by(version.c.number.desc())
        .limit(1)
    )
    return newest.correlate(cube).scalar_subquery()


LOAD = _page_with_vectors(cube.c.number)
"""Heads of a namespace: `p`, `t`, `ns`, `space`, and `at`, `id` of the last one, `limit`."""

AS_OF = _page_with_vectors(_then(version.c.number), _then(version.c.state) != _DELETED)
"""Versions that were newest at `moment`; otherwise as `LOAD`."""

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

HISTORIES = (
    select(version.c.cube_id, version.c.lsn, version.c.body)
    .where(
        version.c.partition == bindparam("p"),
        version.c.tenant == bindparam("t"),
        version.c.cube_id.in_(bindparam("ids", expanding=True)),
    )
    .order_by(version.c.cube_id, version.c.number)
)
"""Every version of one tenant's cubes, oldest first: `p`, `t`, `ids`."""

VERSION = select(version.c.lsn, version.c.body).where(
    version.c.partition == bindparam("p"),
    version.c.tenant == bindparam("t"),
    version.c.cube_id == bindparam("i"),
    version.c.number == bindparam("n"),
)
"""One version: `p`, `t`, `i`, `n`."""

DERIVED = (
    select(label.c.cube_id)
    .where(
        label.c.partition == bindparam("p"),
        label.c.tenant == bindparam("t"),
        label.c.name == bindparam("n"),
        label.c.hash == bindparam("h"),
        label.c.text == bindparam("s"),
        label.c.cube_id > bindparam("after"),
    )
    .order_by(label.c.cube_id)
    .limit(bindparam("limit"))
)
"""Cubes that were made of another one: `p`, `t`, `n`, `h`, `s`, `after`, `limit`."""

_newer = vector.alias("newer")
VECTORS = select(
    vector.c.cube_id,
    *(vector.c[name].label(f"vector_{name}") for name in ("version", "space", "body", "sketch")),
).where(
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


FENCE = select(fence).where(fence.c.partition == bindparam("p"))
"""Who writes a partition: `p`."""

CURSOR = select(cursor.c.lsn).where(
    cursor.c.partition == bindparam("p"), cursor.c.name == bindparam("n")
)
"""How far a consumer has come: `p`, `n`."""


def derivations_of(partition: int, kind: str, among: Among | None) -> Iterator[Select[Any]]:
    """Selects what was made of memories, of one kind, few names at a time, in their order."""
    wanted = select(derivation).where(
        derivation.c.partition == partition, derivation.c.kind == kind
    )
    wanted = wanted.order_by(derivation.c.tenant, derivation.c.name)
    if among is not None:
        wanted = wanted.where(derivation.c.tenant == among.tenant)
    if among is not None and among.namespace is not None:
        wanted = wanted.where(derivation.c.namespace == among.namespace)
    if among is None or among.names is None:
        yield wanted
        return
    for _, names in in_chunks(CubeKey(among.tenant, name) for name in sorted(set(among.names))):
        yield wanted.where(derivation.c.name.in_(names))


REPLIES = select(reply).where(
    reply.c.partition == bindparam("p"),
    reply.c.tenant == bindparam("t"),
    reply.c.scope == bindparam("s"),
    reply.c.key.in_(bindparam("keys", expanding=True)),
)
"""Stored replies of one caller: `p`, `t`, `s`, `keys`."""


_PLACES = select(cube.c.id, cube.c.namespace, cube.c.state).where(
    cube.c.partition == bindparam("p"),
    cube.c.tenant == bindparam("t"),
    cube.c.id.in_(bindparam("ids", expanding=True)),
)
_BODIES = (
    select(version.c.cube_id, version.c.number, version.c.digest, version.c.body)
    .where(
        version.c.partition == bindparam("p"),
        version.c.tenant == bindparam("t"),
        version.c.cube_id.in_(bindparam("ids", expanding=True)),
    )
    .order_by(version.c.cube_id, version.c.number)
)


def bodies(
    connection: Connection, partition: int, keys: Sequence[CubeKey], state: State | None
) -> Iterator[StoredVersion]:
    """Reads versions as they rest; see `RecordStorePort.bodies`."""
    for tenant, ids in in_chunks(keys):
        values: dict[str, Any] = {"p": partition, "t": tenant}
        spaces = {
            cube_id: namespace
            for cube_id, namespace, found in look_up(connection, _PLACES, values, ids)
            if state is None or found == state.value
        }
        if not spaces:
            continue
        for cube_id, number, digest, body in look_up(connection, _BODIES, values, list(spaces)):
            yield StoredVersion(tenant, spaces[cube_id], cube_id, number, digest, body)


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
    for lookup in _lookups(predicate):
        candidates = connection.execute(lookup.limit(_FEW), place).scalars().all()
        if len(candidates) < _FEW:
            # As values: of a subquery, PostgreSQL might make a join that meets all with all.
            wanted = wanted.where(cube.c.id.in_(candidates))
            break
    # Bodies are fetched for the page alone, not for all that is sorted to find it.
    page = wanted.order_by(cube.c.created_at.desc(), cube.c.id.desc()).limit(limit).subquery()
    statement = select(*_head_columns(page, page.c.number)).order_by(
        page.c.created_at.desc(), page.c.id.desc()
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
