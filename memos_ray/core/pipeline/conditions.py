"""Conditions over the context of a run, in the filter language.

Fields are `step.count`, `step.text`, … and `params.name`: what templates may name. Each is compared
as an attribute of a memory would be; what is absent is false.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FacetValue
from memos_ray.core.cube.filters.expression import read_expression
from memos_ray.core.cube.filters.meaning import resolve
from memos_ray.core.cube.filters.syntax import Comparison, Connective, Negation, Syntax
from memos_ray.core.cube.predicate import evaluate
from memos_ray.core.pipeline.templates import Scope


def holds(condition: str, scope: Scope, now: datetime) -> bool:
    """Decides a condition.

    Raises:
        InvalidFilterError: it cannot be understood.
    """
    facets: dict[str, FacetValue] = {
        f"{ATTRIBUTE_PREFIX}{root}.{name}": value
        for root, values in scope.items()
        for name, value in values.items()
        if isinstance(value, str | int | float | bool)
    }
    return evaluate(resolve(_attributes(read_expression(condition)), now), facets)


def fields_of(condition: str) -> set[str]:
    """Returns the names that a condition compares.

    Raises:
        InvalidFilterError: it cannot be understood.
    """
    return _fields(read_expression(condition))


def _attributes(tree: Syntax) -> Syntax:
    match tree:
        case Comparison(field=field):
            return replace(tree, field=ATTRIBUTE_PREFIX + field)
        case Negation(of):
            return Negation(_attributes(of))
        case Connective(every, parts):
            return Connective(every, tuple(_attributes(part) for part in parts))
        case _:
            return tree


def _fields(tree: Syntax) -> set[str]:
    match tree:
        case Comparison(field=field):
            return {field}
        case Negation(of):
            return _fields(of)
        case Connective(_, parts):
            return {name for part in parts for name in _fields(part)}
        case _:
            return set()
