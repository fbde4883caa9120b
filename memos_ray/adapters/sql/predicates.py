"""Compiles predicates over facets to SQL, with exactly the meaning of `evaluate`.

Two-valued logic: a comparison with an absent field is false and its negation true, so each one on a
nullable column is joined with `IS NOT NULL`. Numbers compare exactly: bounds and values are
converted here to the type of the column that they meet, since databases round when integers meet
floats. Whatever a caller gives, field names included, becomes a bound parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, assert_never

from sqlalchemy import (
    Column,
    ColumnElement,
    and_,
    exists,
    false,
    literal,
    not_,
    or_,
    select,
    true,
)

from memos_ray.adapters.sql.schema import cube, label
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind
from memos_ray.core.cube.metadata import Attribute
from memos_ray.core.cube.predicate import (
    AllOf,
    AnyOf,
    Between,
    Everything,
    HasAny,
    Not,
    Nothing,
    OneOf,
    Predicate,
    Present,
    Scalar,
)

_MIN, _MAX = -(2**63), 2**63 - 1
Condition = ColumnElement[bool]


def value_hash(value: Attribute) -> int:
    """Hashes a label value to 64 bits, signed; numbers that are equal have equal hashes."""
    if not isinstance(value, str):
        if isinstance(value, bool):
            raw = b"f1" if value else b"f0"
        elif isinstance(value, int) or value.is_integer():
            raw = b"n%d" % int(value)
        else:
            raw = b"n" + value.hex().encode()
    else:
        raw = b"t" + value.encode()
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "big", signed=True)


def compile_predicate(predicate: Predicate) -> Condition:
    """Compiles a predicate to a condition on the rows of `cube`."""
    match predicate:
        case Everything():
            return true()
        case Nothing():
            return false()
        case OneOf(name, values):
            return _one_of(name, values)
        case Between(name, lower, upper):
            return _between(name, lower, upper)
        case HasAny(name, values):
            held = has_any(name, values)
            return false() if held is None else _labelled(held)
        case Present(name):
            return _present(name)
        case Not(part):
            return not_(compile_predicate(part))
        case AllOf(parts):
            return and_(true(), *(compile_predicate(part) for part in parts))
        case AnyOf(parts):
            return or_(false(), *(compile_predicate(part) for part in parts))
        case _ as never:
            assert_never(never)


def has_any(name: str, values: Iterable[str]) -> Condition | None:
    """Compiles `HasAny` to a condition on the rows of `label`; nothing when it cannot hold."""
    texts = _texts(values)
    if FIELDS.get(name) is not Kind.SET or not texts:
        return None
    return and_(
        label.c.name == name,
        label.c.hash.in_([value_hash(text) for text in texts]),
        label.c.text.in_(texts),
    )


def attribute_one_of(name: str, values: Iterable[Scalar]) -> Condition | None:
    """Compiles `OneOf` of an attribute to a condition on `label`; nothing when it cannot hold."""
    values = list(values)
    texts, flags = _texts(values), [value for value in values if isinstance(value, bool)]
    wholes, reals = _wholes(values), _reals(values)
    found: list[Scalar] = [*texts, *flags, *wholes, *reals]
    if not found or not _storable(name):
        return None
    return and_(
        label.c.name == name,
        label.c.hash.in_(sorted({value_hash(value) for value in found})),
        or_(
            *_present_in(label.c.text, texts),
            *_present_in(label.c.flag, flags),
            *_present_in(label.c.whole, wholes),
            *_present_in(label.c.real, reals),
        ),
    )


def _labelled(condition: Condition) -> Condition:
    found = (
        select(literal(1))
        .where(
            label.c.partition == cube.c.partition,
            label.c.tenant == cube.c.tenant,
            label.c.cube_id == cube.c.id,
            condition,
        )
        .correlate(cube)
    )
    # Without the offset, PostgreSQL may make a join of this and meet each cube with each label:
    # it takes columns that depend on one another for independent, and a namespace for tiny.
    return exists(found.offset(0))


def _storable(text: str) -> bool:
    """Whether a store can hold this text at all; what it cannot hold equals nothing in it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _texts(values: Iterable[Scalar]) -> list[str]:
    return [value for value in values if isinstance(value, str) and _storable(value)]


def _numbers(values: Iterable[Scalar]) -> list[int | float]:
    return [
        value
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]


def _wholes(values: Iterable[Scalar]) -> list[int]:
    exact = [int(value) for value in _numbers(values) if value == int(value)]
    return [value for value in exact if _MIN <= value <= _MAX]


def _real(value: int | float) -> float | None:
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if converted == value else None


def _reals(values: Iterable[Scalar]) -> list[float]:
    return [real for value in _numbers(values) if (real := _real(value)) is not None]


def _present_in(column: Column[Any], values: list[Any]) -> list[Condition]:
    return [and_(column.is_not(None), column.in_(values))] if values else []


def _one_of(name: str, values: tuple[Scalar, ...]) -> Condition:
    if name.startswith(ATTRIBUTE_PREFIX):
        held = attribute_one_of(name, values)
        return false() if held is None else _labelled(held)
    wanted: list[Any]
    match FIELDS.get(name):
        case Kind.TEXT:
            wanted = _texts(values)
        case Kind.INTEGER | Kind.TIME:
            wanted = _wholes(values)
        case Kind.FLAG:
            wanted = [value for value in values if isinstance(value, bool)]
        case Kind.SET | None:
            wanted = []
        case _ as never:
            assert_never(never)
    return or_(false(), *_present_in(cube.c[name], wanted)) if wanted else false()


def _whole_range(
    column: Column[Any], lower: int | float | None, upper: int | float | None
) -> Condition:
    """Bounds for an integer column: `held >= x` is `held >= ceil(x)`, and so is `held < x`."""
    parts: list[Condition] = [column.is_not(None)]
    if lower is not None and lower != -math.inf:
        least = math.ceil(lower) if lower != math.inf else _MAX + 1
        if least > _MAX:
            return false()
        if least > _MIN:
            parts.append(column >= least)
    if upper is not None and upper != math.inf:
        limit = math.ceil(upper) if upper != -math.inf else _MIN
        if limit <= _MIN:
            return false()
        if limit <= _MAX:
            parts.append(column < limit)
    return and_(*parts)


def _float_above(bound: int | float) -> float:
    """The smallest float that is not below a bound; infinity when there is none."""
    try:
        near = float(bound)
    except OverflowError:
        return math.inf if bound > 0 else -math.inf
    return near if near >= bound else math.nextafter(near, math.inf)


def _real_range(
    column: Column[Any], lower: int | float | None, upper: int | float | None
) -> Condition:
    parts: list[Condition] = [column.is_not(None)]
    if lower is not None:
        parts.append(column >= _float_above(lower))
    if upper is not None:
        parts.append(column < _float_above(upper))
    return and_(*parts)


def _between(name: str, lower: int | float | None, upper: int | float | None) -> Condition:
    if any(isinstance(bound, float) and math.isnan(bound) for bound in (lower, upper)):
        return false()
    if name.startswith(ATTRIBUTE_PREFIX):
        if not _storable(name):
            return false()
        whole = _whole_range(label.c.whole, lower, upper)
        real = _real_range(label.c.real, lower, upper)
        return _labelled(and_(label.c.name == name, or_(whole, real)))
    if FIELDS.get(name) in (Kind.INTEGER, Kind.TIME):
        return _whole_range(cube.c[name], lower, upper)
    return false()


def _present(name: str) -> Condition:
    kind = FIELDS.get(name)
    if kind is Kind.SET or (name.startswith(ATTRIBUTE_PREFIX) and _storable(name)):
        return _labelled(label.c.name == name)
    return false() if kind is None else cube.c[name].is_not(None)
