"""Predicates over facets: the one filter language of policy, callers and stores.

Semantics are two-valued: a comparison with an absent field is false, and `Not` of it is true. Every
back-end (SQL, Milvus, the resident index) must agree with `evaluate`; the contract suites check it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from memos_ray.core.cube.facets import Facets

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Everything:
    """Always true."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Always false."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The scalar field equals one of the values; types must agree (`True` is not 1)."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The field lies in `[lower, upper)`; an absent bound is open."""

    field: str
    lower: int | float | None = None
    upper: int | float | None = None


@dataclass(frozen=True, slots=True)
class HasAny:
    """The set field holds at least one of the values."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """True when `of` is false."""

    of: Predicate


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every part is; true for none."""

    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when at least one part is; false for none."""

    of: tuple[Predicate, ...]


Predicate = Everything | Nothing | OneOf | Between | HasAny | Present | Not | AllOf | AnyOf


def _same(a: object, b: Scalar) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def evaluate(predicate: Predicate, facets: Facets) -> bool:
    """Decides a predicate over one cube's facets."""
    match predicate:
        case Everything():
            return True
        case Nothing():
            return False
        case OneOf(name, values):
            held = facets.get(name)
            return held is not None and any(_same(held, value) for value in values)
        case Between(name, lower, upper):
            held = facets.get(name)
            if isinstance(held, bool) or not isinstance(held, int | float):
                return False
            return (lower is None or held >= lower) and (upper is None or held < upper)
        case HasAny(name, values):
            held = facets.get(name)
            return isinstance(held, tuple) and not set(held).isdisjoint(values)
        case Present(name):
            return name in facets
        case Not(part):
            return not evaluate(part, facets)
        case AllOf(parts):
            return all(evaluate(part, facets) for part in parts)
        case AnyOf(parts):
            return any(evaluate(part, facets) for part in parts)
        case _ as never:
            assert_never(never)


def all_of(*parts: Predicate) -> Predicate:
    """Conjunction, simplified: drops `Everything`, collapses on `Nothing`, flattens."""
    flat: list[Predicate] = []
    for part in parts:
        if isinstance(part, Nothing):
            return part
        if isinstance(part, AllOf):
            flat.extend(part.of)
        elif not isinstance(part, Everything):
            flat.append(part)
    if not flat:
        return Everything()
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def any_of(*parts: Predicate) -> Predicate:
    """Disjunction, simplified: drops `Nothing`, collapses on `Everything`, flattens."""
    flat: list[Predicate] = []
    for part in parts:
        if isinstance(part, Everything):
            return part
        if isinstance(part, AnyOf):
            flat.extend(part.of)
        elif not isinstance(part, Nothing):
            flat.append(part)
    if not flat:
        return Nothing()
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))
