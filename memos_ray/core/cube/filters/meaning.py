"""Gives a filter its meaning: each field its kind, each value its type; a predicate results."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar, assert_never

from memos_ray.core.cube import predicted as predicting
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind
from memos_ray.core.cube.filters.moments import Span, read_span
from memos_ray.core.cube.filters.syntax import (
    Budget,
    Comparison,
    Connective,
    Constant,
    Literal,
    Negation,
    Op,
    Place,
    Syntax,
    Word,
)
from memos_ray.core.cube.metadata import Origin, SemanticType, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import (
    Between,
    Everything,
    HasAny,
    Not,
    Nothing,
    OneOf,
    Predicate,
    Present,
    Scalar,
    all_of,
    any_of,
)
from memos_ray.errors import InvalidFilterError

_T = TypeVar("_T", bound=Scalar | Span)

_CHOICES: Mapping[str, type[StrEnum]] = {
    "visibility": Visibility,
    "state": State,
    "form": Form,
    "origin": Origin,
    "semantic_type": SemanticType,
    **{
        name: predicting.CHOICES[kind]
        for name, kind in predicting.FIELDS.items()
        if kind in predicting.CHOICES
    },
}
_ATTRIBUTE_NAME_MAX = 256
_INTEGER_CHARS_MAX = 20
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FLAGS = {"true": True, "false": False}
_ORDER = {Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">="}


def resolve(tree: Syntax, now: datetime, *, predicted: bool = False) -> Predicate:
    """Turns what was read into a predicate over the facets of a memory.

    Raises:
        InvalidFilterError: an unknown field, a value of the wrong type, or too much of it.
    """
    return _Resolver(now, Budget(), predicted).predicate(tree)


@dataclass(frozen=True, slots=True)
class _Resolver:
    now: datetime
    budget: Budget
    predicted: bool

    def predicate(self, tree: Syntax) -> Predicate:
        match tree:
            case Comparison():
                self.budget.node(tree.place)
                self.budget.values(len(tree.values), tree.place)
                return _compared(_field(tree, self.now, self.predicted), tree)
            case Constant(value):
                return Everything() if value else Nothing()
            case Negation(of):
                self.budget.node({})
                return Not(self.predicate(of))
            case Connective(every, of):
                self.budget.node({})
                parts = [self.predicate(part) for part in of]
                return all_of(*parts) if every else any_of(*parts)
            case _ as never:
                assert_never(never)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field in the place where it is used.

    Attributes:
        kind: absent for a caller's own attribute, which is a text, a number or a flag.
    """

    name: str
    kind: Kind | None
    place: Place
    now: datetime

    def text(self, value: Literal) -> str:
        text = value.text if isinstance(value, Word) else value
        if not isinstance(text, str):
            raise self.wrong("a text", value)
        if _UNSTORABLE.search(text):
            raise self.error(f"`{self.name}` cannot hold such characters")
        choices = [choice.value for choice in _CHOICES.get(self.name, ())]
        if choices and text not in choices:
            raise self.error(f"`{self.name}` is one of {', '.join(choices)}{_meant(text, choices)}")
        return text

    def flag(self, value: Literal) -> bool:
        flag = _FLAGS.get(value.text.lower()) if isinstance(value, Word) else value
        if not isinstance(flag, bool):
            raise self.wrong("true or false", value)
        return flag

    def number(self, value: Literal) -> int | float:
        number = _number(value.text) if isinstance(value, Word) else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self.wrong("a number", value)
        in_range = -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)
        if not in_range:
            raise self.error(f"a number for `{self.name}` has at most 64 bits")
        return number

    def whole(self, value: Literal) -> int:
        number = self.number(value)
        if number != math.floor(number):
            raise self.wrong("a whole number", value)
        return int(number)

    def attribute(self, value: Literal) -> Scalar:
        if isinstance(value, Word):
            flag = _FLAGS.get(value.text.lower())
            if flag is not None:
                return flag
            return self.text(value) if _number(value.text) is None else self.number(value)
        if isinstance(value, str):
            return self.text(value)
        return value if isinstance(value, bool) else self.number(value)

    def span(self, value: Literal) -> Span:
        text = value.text if isinstance(value, Word) else value
        span = read_span(text, self.now) if isinstance(text, str) else None
        if span is None:
            raise self.wrong("a date, a date and time, or a time like now-7d", value)
        return span

    def error(self, message: str) -> InvalidFilterError:
        return InvalidFilterError(message, **self.place, field=self.name)

    def wrong(self, wanted: str, found: Literal) -> InvalidFilterError:
        shown = found.text if isinstance(found, Word) else found
        return self.error(f"`{self.name}` takes {wanted}, not {str(shown)[:40]!r}")


def _field(comparison: Comparison, now: datetime, predicted: bool) -> _Field:
    name, place = comparison.field, comparison.place
    if name in FIELDS:
        return _Field(name, FIELDS[name], place, now)
    if name in predicting.FIELDS:
        if predicted:
            return _Field(name, Kind.TEXT, place, now)
        raise InvalidFilterError(
            "predicted tags are known to searches of today's memories only", **place, field=name
        )
    own = name.removeprefix(ATTRIBUTE_PREFIX)
    if own != name and 0 < len(own) <= _ATTRIBUTE_NAME_MAX and not _UNSTORABLE.search(own):
        return _Field(name, None, place, now)
    shown = name[:64]
    hint = _meant(shown, list(FIELDS))
    rest = shown.rpartition(".")[2]
    raise InvalidFilterError(
        f"there is no field {shown!r}{hint}; your own attributes are written `attributes.{rest}`",
        **place,
        field=shown,
    )


def _meant(found: str, known: list[str]) -> str:
    near = get_close_matches(found[:64], known, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        # Too long for 64 bits is as good as infinite, and thousands of digits cost time.
        return int(text) if len(text) <= _INTEGER_CHARS_MAX else math.inf
    return float(text) if _NUMBER.fullmatch(text) else None


def _compared(field: _Field, comparison: Comparison) -> Predicate:
    op, values = comparison.op, comparison.values
    match op:
        case Op.EQ:
            return _equal(field, values)
        case Op.NE:
            return Not(_equal(field, values))
        case Op.IN | Op.ANY:
            return _equal(field, values) if values else Nothing()
        case Op.ALL:
            if field.kind is not Kind.SET:
                raise field.error(f"`all` needs a set field, and `{field.name}` is none")
            return all_of(*(_equal(field, (value,)) for value in values))
        case Op.LT | Op.LTE | Op.GT | Op.GTE:
            return _ordered(field, op, values[0])
        case Op.BETWEEN:
            lower, upper = values
            if lower is None and upper is None:
                raise field.error("`between` needs at least one end")
            return all_of(
                Everything() if lower is None else _ordered(field, Op.GTE, lower),
                Everything() if upper is None else _ordered(field, Op.LT, upper),
            )
        case Op.EXISTS:
            if not isinstance(values[0], bool):
                raise field.wrong("true or false with `exists`", values[0])
            return Present(field.name) if values[0] else Not(Present(field.name))
        case _ as never:
            assert_never(never)


def _equal(field: _Field, values: tuple[Literal, ...]) -> Predicate:
    match field.kind:
        case Kind.SET:
            return HasAny(field.name, _distinct(field.text, values))
        case Kind.TEXT:
            return OneOf(field.name, _distinct(field.text, values))
        case Kind.FLAG:
            return OneOf(field.name, _distinct(field.flag, values))
        case Kind.INTEGER:
            return OneOf(field.name, _distinct(field.whole, values))
        case Kind.TIME:
            spans = _distinct(field.span, values)
            return any_of(*(Between(field.name, span.start, span.end) for span in spans))
        case None:
            return OneOf(field.name, tuple(field.attribute(value) for value in values))
        case _ as never:
            assert_never(never)


def _distinct(read: Callable[[Literal], _T], values: tuple[Literal, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(read(value) for value in values))


def _ordered(field: _Field, op: Op, value: Literal) -> Predicate:
    name = field.name
    if field.kind is Kind.TIME:
        span = field.span(value)
        edge = span.start if op in (Op.LT, Op.GTE) else span.end
        return Between(name, None, edge) if op in (Op.LT, Op.LTE) else Between(name, edge, None)
    if field.kind is Kind.INTEGER:
        number = field.number(value)
        whole = math.ceil(number) if op in (Op.LT, Op.GTE) else math.floor(number) + 1
        return Between(name, None, whole) if op in (Op.LT, Op.LTE) else Between(name, whole, None)
    if field.kind is not None:
        raise field.error(f"`{name}` has no order; `{_ORDER[op]}` is for times and numbers")
    bound = field.attribute(value)
    if isinstance(bound, bool | str):
        raise field.wrong(f"a number with `{_ORDER[op]}`", value)
    # An attribute may hold a fraction, so that no next number stands in for an inclusive bound.
    match op:
        case Op.LT:
            return Between(name, None, bound)
        case Op.LTE:
            return any_of(Between(name, None, bound), OneOf(name, (bound,)))
        case Op.GT:
            return all_of(Between(name, bound, None), Not(OneOf(name, (bound,))))
        case _:
            return Between(name, bound, None)
