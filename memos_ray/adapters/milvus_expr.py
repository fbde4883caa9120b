"""Compiles predicates to Milvus boolean expressions.

Negation is pushed down to the leaves: each leaf knows an expression for being true and one for
being false, so that the meaning never depends on how an engine treats `not` and missing values.
Where an engine cannot decide a leaf, both of its expressions err on the wide side, the filter is
marked as inexact, and the caller asks `evaluate` about each hit: no result is ever wrong, and
none is missing.

Texts reach an expression only as tokens (see `milvus_rows`), as template parameters where the
server knows them and as literals elsewhere; nothing a caller writes can leave its literal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from memos_ray.adapters.milvus_rows import (
    ABSENT,
    HIGHEST,
    LOWEST,
    NO_TEXT,
    NUMBERS,
    PRESENT,
    TERMS,
    Dialect,
    beyond_term,
    column,
    flag_token,
    member_token,
    number_key,
    number_term,
    present_term,
    text_token,
    value_term,
)
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind
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

_DEEPEST = 40
_EXACT_NUMBER = 2**53

Clause = str | bool
"""An expression, or a constant that was folded out of it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled predicate.

    Attributes:
        text: the expression; empty when everything passes.
        params: values of its `{p0}`, `{p1}`, … placeholders, for servers that know templates.
        exact: whether the expression alone decides; if not, each hit needs `evaluate`.
        never: whether nothing can pass.
    """

    text: str = ""
    params: dict[str, list[str]] = field(default_factory=dict)
    exact: bool = True
    never: bool = False


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Expressions that hold at least wherever the leaf is true, and wherever it is false."""

    yes: Clause
    no: Clause
    exact: bool = True


_FALSE = _Leaf(yes=False, no=True)
_UNDECIDED = _Leaf(yes=True, no=True, exact=False)


def all_clauses(*clauses: Clause) -> Clause:
    """Joins clauses with `and`, folding constants."""
    if any(clause is False for clause in clauses):
        return False
    texts = [clause for clause in clauses if isinstance(clause, str)]
    return " and ".join(texts) if texts else True


def any_clause(*clauses: Clause) -> Clause:
    """Joins clauses with `or` in parentheses, folding constants."""
    if any(clause is True for clause in clauses):
        return True
    texts = [clause for clause in clauses if isinstance(clause, str)]
    if not texts:
        return False
    return texts[0] if len(texts) == 1 else f"({' or '.join(texts)})"


def compile_predicate(
    predicate: Predicate, dialect: Dialect, *, templates: bool = False, scope: str = ""
) -> Filter:
    """Compiles a predicate.

    Args:
        templates: put texts into parameters instead of literals.
        scope: an expression of the caller's own that every hit must satisfy, too.
    """
    compiler = _Compiler(dialect, templates)
    clause = all_clauses(scope or True, compiler.visit(predicate, True, 0))
    if isinstance(clause, bool):
        return Filter(exact=compiler.exact, never=not clause)
    return Filter(clause, compiler.params, compiler.exact)


class _Compiler:
    """Walks one predicate; collects parameters and whether all leaves were decided exactly."""

    def __init__(self, dialect: Dialect, templates: bool) -> None:
        self._dialect = dialect
        self._templates = templates
        self.params: dict[str, list[str]] = {}
        self.exact = True

    def visit(self, predicate: Predicate, wanted: bool, depth: int) -> Clause:
        """Returns a clause that holds wherever the predicate has the wanted truth value."""
        if depth > _DEEPEST:
            self.exact = False
            return True
        match predicate:
            case Everything():
                return wanted
            case Nothing():
                return not wanted
            case Not(part):
                return self.visit(part, not wanted, depth + 1)
            case AllOf(parts) | AnyOf(parts):
                clauses = [self.visit(part, wanted, depth + 1) for part in parts]
                conjunction = isinstance(predicate, AllOf) == wanted
                return all_clauses(*clauses) if conjunction else any_clause(*clauses)
            case OneOf(name, values):
                leaf = self._one_of(name, values)
            case Between(name, lower, upper):
                leaf = self._between(name, lower, upper)
            case HasAny(name, values):
                leaf = self._has_any(name, values)
            case Present(name):
                leaf = self._present(name)
            case _ as never:
                assert_never(never)
        self.exact = self.exact and leaf.exact
        return leaf.yes if wanted else leaf.no

    def _strings(self, tokens: Sequence[str]) -> str:
        if not self._templates:
            return "[" + ", ".join(f'"{token}"' for token in tokens) + "]"
        name = f"p{len(self.params)}"
        self.params[name] = list(tokens)
        return f"{{{name}}}"

    def _in(self, name: str, tokens: Sequence[str]) -> _Leaf:
        if not tokens:
            return _FALSE
        values = self._strings(tokens)
        return _Leaf(f"{name} in {values}", f"{name} not in {values}")

    def _contains(self, name: str, tokens: Sequence[str]) -> _Leaf:
        if not tokens:
            return _FALSE
        if self._dialect is Dialect.SERVER:
            test = f"array_contains_any({name}, {self._strings(tokens)})"
            return _Leaf(test, f"not {test}")
        tests = " or ".join(f'{name} like "%|{token}|%"' for token in tokens)
        return _Leaf(f"({tests})", f"not ({tests})")

    def _one_of(self, name: str, values: tuple[Scalar, ...]) -> _Leaf:
        if name.startswith(ATTRIBUTE_PREFIX):
            attribute = name.removeprefix(ATTRIBUTE_PREFIX)
            terms = [value_term(attribute, value, self._dialect) for value in values]
            return self._contains(TERMS, [term for term in terms if term is not None])
        match FIELDS.get(name):
            case Kind.TEXT:
                texts = [text_token(value) for value in values if isinstance(value, str)]
                return self._in(column(name), texts)
            case Kind.FLAG:
                flags = [flag_token(value) for value in values if isinstance(value, bool)]
                return self._in(column(name), flags)
            case Kind.INTEGER | Kind.TIME:
                numbers = [n for n in map(_whole, values) if n is not None]
                if not numbers:
                    return _FALSE
                listed = ", ".join(map(str, numbers))
                return _Leaf(f"{column(name)} in [{listed}]", f"{column(name)} not in [{listed}]")
            case _:
                return _FALSE

    def _has_any(self, name: str, values: tuple[str, ...]) -> _Leaf:
        if FIELDS.get(name) is not Kind.SET:
            return _FALSE
        return self._contains(column(name), [member_token(v, self._dialect) for v in values])

    def _present(self, name: str) -> _Leaf:
        if name.startswith(ATTRIBUTE_PREFIX):
            term = present_term(name.removeprefix(ATTRIBUTE_PREFIX), self._dialect)
            return self._contains(TERMS, [term])
        match FIELDS.get(name):
            case Kind.TEXT | Kind.FLAG:
                return _Leaf(f'{column(name)} != "{NO_TEXT}"', f'{column(name)} == "{NO_TEXT}"')
            case Kind.INTEGER | Kind.TIME:
                return _Leaf(f"{column(name)} > {ABSENT}", f"{column(name)} == {ABSENT}")
            case Kind.SET if self._dialect is Dialect.LITE:
                return _Leaf(f'{column(name)} != "{NO_TEXT}"', f'{column(name)} == "{NO_TEXT}"')
            case Kind.SET:
                return self._contains(column(name), [PRESENT])
            case _:
                return _FALSE

    def _between(self, name: str, lower: float | None, upper: float | None) -> _Leaf:
        bounds = (lower, upper)
        if any(bound is not None and math.isnan(bound) for bound in bounds):
            return _FALSE
        if name.startswith(ATTRIBUTE_PREFIX):
            return self._attribute_between(name.removeprefix(ATTRIBUTE_PREFIX), lower, upper)
        if FIELDS.get(name) not in (Kind.INTEGER, Kind.TIME):
            return _FALSE
        low = _clamp(LOWEST if lower is None else lower)
        high = None if upper is None else _clamp(upper)
        # Whole numbers only lie in the column: the bounds may be rounded up without a change.
        if low > HIGHEST or (high is not None and low >= high):
            return _FALSE
        over = high is not None and high <= HIGHEST
        return _Leaf(
            all_clauses(f"{column(name)} >= {low}", f"{column(name)} < {high}" if over else True),
            any_clause(f"{column(name)} < {low}", f"{column(name)} >= {high}" if over else False),
        )

    def _attribute_between(self, name: str, lower: float | None, upper: float | None) -> _Leaf:
        """Numbers of the caller's own: JSON holds those of 64 bits, terms tell of the others.

        Engines round while they compare, so bounds beyond 2**53 only narrow the candidates.
        """
        if any(bound is not None and abs(bound) >= _EXACT_NUMBER for bound in (lower, upper)):
            candidate = self._contains(
                TERMS,
                [
                    number_term(name, self._dialect),
                    beyond_term(name, True, self._dialect),
                    beyond_term(name, False, self._dialect),
                ],
            )
            return _Leaf(candidate.yes, True, exact=False)
        path = f'{NUMBERS}["{number_key(name)}"]'
        number = self._contains(TERMS, [number_term(name, self._dialect)])
        inside = all_clauses(
            number.yes,
            True if lower is None else f"{path} >= {_literal(lower)}",
            True if upper is None else f"{path} < {_literal(upper)}",
        )
        outside = any_clause(
            number.no,
            False if lower is None else f"{path} < {_literal(lower)}",
            False if upper is None else f"{path} >= {_literal(upper)}",
        )
        beyond = [beyond_term(name, True, self._dialect)] if upper is None else []
        beyond += [beyond_term(name, False, self._dialect)] if lower is None else []
        far = self._contains(TERMS, beyond)
        return _Leaf(any_clause(inside, far.yes), all_clauses(outside, far.no))


def _whole(value: Scalar) -> int | None:
    """Returns the integer that equals a value and that a column can hold."""
    if isinstance(value, bool | str) or (isinstance(value, float) and not value.is_integer()):
        return None
    number = int(value)
    return number if LOWEST <= number <= HIGHEST else None


def _clamp(bound: float) -> int:
    """Rounds a bound up to a whole number, or one beyond what a column can hold."""
    if bound > HIGHEST:
        return HIGHEST + 1
    return LOWEST if bound < LOWEST else math.ceil(bound)


def _literal(bound: float) -> str:
    return repr(bound)
