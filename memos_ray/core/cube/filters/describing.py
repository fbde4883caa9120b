"""Prints a predicate as a filter expression, for people and for stored rules."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import assert_never

import orjson

from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind
from memos_ray.core.cube.filters.moments import is_day, write_instant, write_moment
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

_BARE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BARE_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_.:@/-]*")
_TRUE, _FALSE = "true", "false"


def describe(predicate: Predicate) -> str:
    """Prints a predicate as an expression.

    For a predicate whose fields exist and whose values are of their fields' kinds (whole numbers in
    64 bits, finite fractions, times in the years 1 to 9999, text without NUL), `parse` of the
    result decides every memory as the predicate does, unless it is longer than `parse` allows.
    Anything else is printed as well as possible and is then no filter.
    """
    match predicate:
        case Everything():
            return _TRUE
        case Nothing():
            return _FALSE
        case OneOf(name, values):
            return _membership(name, values)
        case HasAny(name, values):
            return _membership(name, values)
        case Between(name, lower, upper):
            return _range(name, lower, upper)
        case Present(name):
            return f"has({_name(name)})"
        case Not(OneOf(name, values) | HasAny(name, values)) if values:
            return _membership(name, values, negated=True)
        case Not(part):
            return f"not {_inside(part)}"
        case AllOf(parts):
            return " and ".join(map(_inside, parts)) if parts else _TRUE
        case AnyOf(parts):
            return " or ".join(map(_inside, parts)) if parts else _FALSE
        case _ as never:
            assert_never(never)


def _inside(part: Predicate) -> str:
    """Prints a part of a larger expression, in parentheses where it is more than one comparison."""
    text = describe(part)
    compound = isinstance(part, AllOf | AnyOf | Between) and (" and " in text or " or " in text)
    return f"({text})" if compound else text


def _membership(name: str, values: Iterable[Scalar], *, negated: bool = False) -> str:
    shown = [_value(name, value) for value in values]
    match shown:
        case []:
            return _FALSE
        case [one] if negated:
            return f"{_name(name)} != {one}"
        case [one]:
            plain = FIELDS.get(name) in (Kind.TEXT, Kind.SET)
            return f"{_name(name)}:{one}" if plain else f"{_name(name)} = {one}"
        case _:
            return f"{_name(name)} {'not in' if negated else 'in'} ({', '.join(shown)})"


def _range(name: str, lower: float | None, upper: float | None) -> str:
    # No number reaches an infinite bound from inside, and none compares with NaN.
    if (lower is not None and not lower < math.inf) or (
        upper is not None and not upper > -math.inf
    ):
        return _FALSE
    lower = None if lower == -math.inf else lower
    upper = None if upper == math.inf else upper
    shown = _name(name)
    if lower is None and upper is None:
        # An attribute may also hold text, which lies in no range.
        return f"has({shown})" if name in FIELDS else f"({shown} < 0 or {shown} >= 0)"
    if FIELDS.get(name) is Kind.TIME and lower is not None and upper is not None:
        start, end = math.ceil(lower), math.ceil(upper)
        if is_day(start, end):
            return f"{shown} = {_moment(start)}"
        if end - start == 1:
            return f"{shown} = {_moment(start, day=False)}"
    parts = [f"{shown} >= {_bound(name, lower)}"] if lower is not None else []
    if upper is not None:
        parts.append(f"{shown} < {_bound(name, upper)}")
    return " and ".join(parts)


def _bound(name: str, bound: float) -> str:
    return _moment(math.ceil(bound)) if FIELDS.get(name) is Kind.TIME else repr(bound)


def _moment(micros: int, *, day: bool = True) -> str:
    try:
        return write_moment(micros) if day else write_instant(micros)
    except OverflowError:
        return str(micros)


def _value(name: str, value: Scalar) -> str:
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, str):
        bare = name in FIELDS and _BARE_TEXT.fullmatch(value)
        return value if bare else _quoted(value)
    if FIELDS.get(name) is Kind.TIME and isinstance(value, int):
        return _moment(value, day=False)
    return repr(value)


def _name(name: str) -> str:
    own = name.removeprefix(ATTRIBUTE_PREFIX)
    if own == name or _BARE_NAME.fullmatch(name):
        return name
    return ATTRIBUTE_PREFIX + _quoted(own)


def _quoted(text: str) -> str:
    try:
        return orjson.dumps(text).decode()
    except TypeError:
        return ascii(text)
