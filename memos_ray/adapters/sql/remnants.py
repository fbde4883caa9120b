"""Reads what is known of memories whose newest versions cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from memos_ray.adapters.sql import rows
from memos_ray.adapters.sql.batching import in_chunks
from memos_ray.adapters.sql.rows import AnyRow
from memos_ray.adapters.sql.schema import SCALARS, cube, event, label, version
from memos_ray.core.cube.cube import Change
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, FacetValue, Kind
from memos_ray.core.cube.wire import hold_in
from memos_ray.core.vault.log import CubeKey, Outcome
from memos_ray.core.vault.remnants import Remnant, remnant
from memos_ray.errors import StoreCorruptError

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_CUBES = select(cube).where(
    cube.c.partition == bindparam("p"), cube.c.tenant == bindparam("t"), cube.c.id.in_(_IDS)
)
_LABELS = (
    select(label)
    .where(
        label.c.partition == bindparam("p"),
        label.c.tenant == bindparam("t"),
        label.c.cube_id.in_(_IDS),
    )
    .order_by(label.c.cube_id, label.c.name, label.c.slot)
)
_VERSIONS = (
    select(version)
    .where(
        version.c.partition == bindparam("p"),
        version.c.tenant == bindparam("t"),
        version.c.cube_id.in_(_IDS),
    )
    .order_by(version.c.cube_id, version.c.number.desc())
)
_RELEASES = (
    select(event.c.cube_id, func.max(event.c.lsn).label("lsn"))
    .where(
        event.c.partition == bindparam("p"),
        event.c.tenant == bindparam("t"),
        event.c.cube_id.in_(_IDS),
        event.c.operation == Change.RELEASE.value,
        event.c.outcome == Outcome.DONE.value,
    )
    .group_by(event.c.cube_id)
)


def left_of(
    connection: Connection, partition: int, keys: Iterable[CubeKey]
) -> dict[CubeKey, Remnant]:
    """Reads what is left of memories; see `RecordStorePort.remnants`."""
    of_cube = attrgetter("cube_id")
    left: dict[CubeKey, Remnant] = {}
    for tenant, ids in in_chunks(keys):
        values = {"p": partition, "t": tenant, "ids": ids}
        labels = {
            cube_id: list(found)
            for cube_id, found in groupby(connection.execute(_LABELS, values), of_cube)
        }
        chains = {
            cube_id: list(found)
            for cube_id, found in groupby(connection.execute(_VERSIONS, values), of_cube)
        }
        releases = {row.cube_id: row.lsn for row in connection.execute(_RELEASES, values)}
        for row in connection.execute(_CUBES, values):
            chain = [one for one in chains.get(row.id, ()) if one.number <= row.number]
            left[CubeKey(tenant, row.id)] = _remnant(
                row, labels.get(row.id, ()), chain, releases.get(row.id, 0)
            )
    return left


def _remnant(
    row: AnyRow, labels: Sequence[AnyRow], chain: Sequence[AnyRow], released: int
) -> Remnant:
    key = CubeKey(row.tenant, row.id)
    if not chain:
        raise StoreCorruptError("a memory has no version", cube_id=key.id)
    try:
        info = rows.version_info(chain[0])
    except (KeyError, TypeError, ValueError):
        raise StoreCorruptError("a version's row cannot be read", cube_id=key.id) from None
    kept = {name: row._mapping[name] for name in SCALARS}
    facets: dict[str, FacetValue] = {k: v for k, v in kept.items() if v is not None}
    for name, found in groupby(labels, attrgetter("name")):
        values = [_value(one) for one in found]
        if name.startswith(ATTRIBUTE_PREFIX):
            facets[name] = values[0]
        elif FIELDS.get(name) is Kind.SET:
            facets[name] = tuple(str(value) for value in values)
    # Released without a version, since it cannot be read: behind the newest there is.
    held = False if released > info.lsn else _held(chain)
    return remnant(key, facets, info, held)


def _value(row: AnyRow) -> str | bool | int | float:
    for value in (row.text, row.flag, row.whole, row.real):
        if value is not None:
            kept: str | bool | int | float = value
            return kept
    return ""


def _held(chain: Sequence[AnyRow]) -> bool | None:
    """Tells whether a memory is under legal hold, by the newest version that says so."""
    for row in chain:
        if (held := hold_in(row.body)) is not None:
            return held
        if row.change in (Change.HOLD, Change.RELEASE):
            return bool(row.change == Change.HOLD)
    return None
