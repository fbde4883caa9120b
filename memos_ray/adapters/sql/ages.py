"""Leaves out what a sweep need not read: what is surely not due (see `core.lifecycle.sweeping`).

Most memories stay as they are, whenever somebody looks. Their bodies never leave the database.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    Select,
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

from memos_ray.adapters.sql.rows import USAGE_COLUMNS
from memos_ray.adapters.sql.schema import cube, version
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.payload import Form
from memos_ray.core.lifecycle.states import GONE, LIVE
from memos_ray.core.lifecycle.sweeping import Sieve

# Quotes inside of strings are escaped in bodies: this is a lifespan, or an attribute by that name.
_DECAYS = b'"kind":"decay"'


def moments(sieve: Sieve) -> dict[str, int | None]:
    """Returns what `sifting` takes besides the place."""
    return {
        "now": sieve.now,
        "unused": sieve.unused,
        "deleted": sieve.deleted,
        "expired": sieve.expired,
    }


@cache
def sifting(dialect: str) -> Select[Any]:
    """Makes the statement: heads by key, what `rows.head_of` takes; the body of what passes alone.

    It takes `p`, and `t`, `i` of the last one, `limit`, and the moments of a sieve.
    """
    body = _of_head("body")
    return (
        select(
            cube.c.tenant,
            cube.c.id,
            cube.c.created_at,
            case((_passes(_holds(body, dialect)), body)).label("body"),
            null().label("lsn"),
            cube.c.sketch,
            *(cube.c[name] for name in USAGE_COLUMNS),
        )
        .where(
            cube.c.partition == bindparam("p"),
            tuple_(cube.c.tenant, cube.c.id) > tuple_(bindparam("t"), bindparam("i")),
        )
        .order_by(cube.c.tenant, cube.c.id)
        .limit(bindparam("limit"))
    )


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


def _passes(decays: ColumnElement[bool]) -> ColumnElement[bool]:
    """`Sieve.passes` on rows."""
    made, state = _of_head("created_at"), cube.c.state
    gone = or_(
        and_(state == State.DELETED.value, made <= _moment("deleted")),
        and_(state == State.EXPIRED.value, made <= _moment("expired")),
    )
    over = and_(state.not_in([one.value for one in GONE]), cube.c.expires_at <= _moment("now"))
    unread = or_(cube.c.last_access_at.is_(None), cube.c.last_access_at <= _moment("unused"))
    text = and_(state.in_([one.value for one in LIVE]), cube.c.form == Form.PLAINTEXT.value)
    idle = and_(text, or_(and_(unread, made <= _moment("unused")), decays))
    return and_(not_(cube.c.frozen), or_(gone, over, idle))


def _moment(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


def _holds(body: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    needle = literal(_DECAYS, LargeBinary())
    if dialect == "postgresql":
        return func.position(needle.op("IN")(body)) > 0
    return func.instr(body, needle) > 0
