"""Leaves out what a sweep need not read: what is surely not due (see `core.lifecycle.sweeping`).

Most memories stay as they are, whenever somebody looks. That is told by their heads alone: neither
do their bodies leave the database, nor does it look at them, nor do their rows come to Python.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    tuple_,
)

from memos_ray.adapters.sql import rows
from memos_ray.adapters.sql.rows import USAGE_COLUMNS
from memos_ray.adapters.sql.schema import cube, version
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.payload import Form
from memos_ray.core.lifecycle.states import GONE, LIVE
from memos_ray.core.lifecycle.sweeping import SLACK_US, Sieve
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import Sifted

_LONGEST_S, _SHORTEST_S = 1e15, 1e-15


def sift(
    connection: Connection,
    partition: int,
    after: CubeKey | None,
    limit: int,
    most: int,
    sieve: Sieve,
) -> Sifted:
    """See `RecordStorePort.sift`."""
    last = after or CubeKey("", "")
    place: dict[str, Any] = {"p": partition, "t": last.tenant, "i": last.id}
    end = connection.execute(_NTH, place | {"before": limit - 1}).first()
    seen = limit
    if end is None:
        left = connection.execute(_KEYS, place | {"limit": limit}).all()
        if not left:
            return Sifted(0, None, [])
        seen, end = len(left), left[-1]
    until = place | {"until_t": end.tenant, "until_i": end.id}
    found = connection.execute(_PASSING, until | _moments(sieve) | {"limit": most}).all()
    damaged: list[CubeKey] = []
    passed = list(rows.readable(found, damaged.append))
    due = [cube for cube, _ in passed], len(damaged), [row.body for _, row in passed]
    if len(found) < most:
        return Sifted(seen, CubeKey(end.tenant, end.id), *due)
    cut = CubeKey(found[-1].tenant, found[-1].id)
    until |= {"until_t": cut.tenant, "until_i": cut.id}
    seen = connection.execute(_COUNT, until).scalar_one()
    return Sifted(seen, cut, *due)


def _moments(sieve: Sieve) -> dict[str, float | None]:
    return {
        "now": sieve.now,
        "unused": sieve.unused,
        "deleted": sieve.deleted,
        "expired": sieve.expired,
        "cools_us": sieve.cools_us,
    }


def _of_head(name: str) -> ColumnElement[Any]:
    return (
        select(version.c[name])
        .where(
            version.c.partition == cube.c.partition,
            version.c.tenant == cube.c.tenant,
            version.c.cube_id == cube.c.id,
            version.c.number == cube.c.number,
        )
        .correlate(cube)
        .scalar_subquery()
    )


def _passes() -> ColumnElement[bool]:
    """`Sieve.passes` on rows."""
    made, state = cube.c.made_at, cube.c.state
    gone = or_(
        and_(state == State.DELETED.value, made <= _moment("deleted")),
        and_(state == State.EXPIRED.value, made <= _moment("expired")),
    )
    over = and_(state.not_in([one.value for one in GONE]), cube.c.expires_at <= _moment("now"))
    touched = case((cube.c.last_access_at > made, cube.c.last_access_at), else_=made)
    cools = _half_life() * bindparam("cools_us", type_=Double())
    text = and_(state.in_([one.value for one in LIVE]), cube.c.form == Form.PLAINTEXT.value)
    cold = touched - SLACK_US + cools <= _moment("now")
    idle = and_(text, or_(touched <= _moment("unused"), cold))
    return and_(not_(cube.c.frozen), or_(gone, over, idle))


def _half_life() -> ColumnElement[float]:
    """Returns a half-life that can be multiplied: PostgreSQL refuses what has no room in a double.

    So long a life does not end before the calendar does, nor so short a one last a microsecond.
    """
    stored = cube.c.half_life_s
    return case(
        (stored > _LONGEST_S, literal(_LONGEST_S, Double())),
        (stored < _SHORTEST_S, literal(_SHORTEST_S, Double())),
        else_=stored,
    )


def _moment(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


_key = tuple_(cube.c.tenant, cube.c.id)
_order = cube.c.tenant, cube.c.id
_behind = (
    cube.c.partition == bindparam("p"),
    _key > tuple_(bindparam("t"), bindparam("i")),
)
_within = *_behind, _key <= tuple_(bindparam("until_t"), bindparam("until_i"))

_KEYS = select(*_order).where(*_behind).order_by(*_order).limit(bindparam("limit"))
_NTH = select(*_order).where(*_behind).order_by(*_order).limit(1).offset(bindparam("before"))
_COUNT = select(func.count()).select_from(cube).where(*_within)
# What `rows.head_of` takes.
_PASSING = (
    select(
        *_order,
        cube.c.created_at,
        _of_head("body").label("body"),
        null().label("lsn"),
        cube.c.sketch,
        *(cube.c[name] for name in USAGE_COLUMNS),
    )
    .where(*_within, _passes())
    .order_by(*_order)
    .limit(bindparam("limit"))
)
