"""What both spellings of a filter are read into: a small tree without meaning yet.

Its limits bound the work of every reader and of every store that a filter is pushed into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from memos_ray.errors import Detail, InvalidFilterError

DEPTH_MAX = 32
"""Levels of parentheses, negations and JSON connectives, one inside the other."""

NODES_MAX = 256
"""Comparisons and connectives."""

VALUES_MAX = 1024
"""Values of all comparisons together."""

EXPRESSION_BYTES_MAX = 8192
"""Length of an expression as UTF-8."""

TEXT_CHARS_MAX = 4096
"""Length of one text value in a JSON filter."""


class Op(StrEnum):
    """How a field is compared, by the names of the JSON spelling."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    ANY = "any"
    ALL = "all"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    BETWEEN = "between"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Word:
    """An unquoted value of an expression; what it is depends on the field it is compared with."""

    text: str


Literal = Word | str | int | float | bool | None
"""A value as written; `None` is the open end of a JSON `between`."""

Place = Mapping[str, Detail]
"""Where something stands, for errors: `position` in an expression, or `path` in a JSON filter."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against values; one value but for `IN`, `ANY`, `ALL` and `BETWEEN`."""

    field: str
    op: Op
    values: tuple[Literal, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Constant:
    """True of every memory, or of none."""

    value: bool


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite of a part."""

    of: Syntax


@dataclass(frozen=True, slots=True)
class Connective:
    """All of the parts (`every`), or at least one of them."""

    every: bool
    of: tuple[Syntax, ...]


Syntax = Comparison | Constant | Negation | Connective


class Budget:
    """Counts what a filter has used of the limits while it is read."""

    def __init__(self) -> None:
        self._nodes = 0
        self._values = 0

    def node(self, place: Place) -> None:
        """Counts a comparison or connective.

        Raises:
            InvalidFilterError: there are too many.
        """
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise InvalidFilterError(
                f"the filter has more than {NODES_MAX} comparisons and connectives", **place
            )

    def values(self, count: int, place: Place) -> None:
        """Counts the values of a comparison.

        Raises:
            InvalidFilterError: there are too many.
        """
        self._values += count
        if self._values > VALUES_MAX:
            raise InvalidFilterError(f"the filter has more than {VALUES_MAX} values", **place)


def check_depth(depth: int, place: Place) -> None:
    """Refuses a filter that nests too deeply.

    Raises:
        InvalidFilterError: more than `DEPTH_MAX` levels.
    """
    if depth > DEPTH_MAX:
        raise InvalidFilterError(f"the filter nests deeper than {DEPTH_MAX} levels", **place)
