"""Compiling predicates to Milvus expressions; that they mean the same is a contract test."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.adapters.milvus_expr import compile_predicate
from memos_ray.adapters.milvus_rows import Dialect, pack_facets, text_token, unpack_facets
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
)
from memos_ray.testing.strategies import predicates

ENOUGH = settings(max_examples=200, deadline=None)
dialects = st.sampled_from(Dialect)


@given(predicates)
@ENOUGH
def test_templates_and_literals_are_the_same_expression(predicate: Predicate) -> None:
    literal = compile_predicate(predicate, Dialect.SERVER)
    template = compile_predicate(predicate, Dialect.SERVER, templates=True)
    filled = template.text
    for name, values in template.params.items():
        filled = filled.replace(f"{{{name}}}", "[" + ", ".join(f'"{v}"' for v in values) + "]")
    assert filled == literal.text
    assert not literal.params
    assert (template.exact, template.never) == (literal.exact, literal.never)


@given(predicates, dialects)
@ENOUGH
def test_no_literal_holds_a_quote_and_no_list_is_empty(
    predicate: Predicate, dialect: Dialect
) -> None:
    text = compile_predicate(predicate, dialect).text
    for literal in re.findall(r'"([^"]*)"', text):
        assert not set(literal) & set("'\\{}\n\r\0")
    assert text.count('"') % 2 == 0
    # Milvus evaluates empty lists wrongly inside compound expressions.
    assert "[]" not in text


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
@ENOUGH
def test_tokens_are_as_different_as_their_texts(words: list[str]) -> None:
    first, second = map(text_token, words)
    assert first != second
    assert "" not in (first, second)


@pytest.mark.parametrize(
    ("predicate", "never", "text"),
    [
        (Everything(), False, ""),
        (Nothing(), True, ""),
        (Not(Nothing()), False, ""),
        (AllOf(()), False, ""),
        (AnyOf(()), True, ""),
        (AllOf((Everything(), Nothing())), True, ""),
        (Not(AnyOf((Nothing(), Everything()))), True, ""),
        (OneOf("owner", ()), True, ""),
        (OneOf("owner", (1, True)), True, ""),
        (OneOf("priority", ("1", 0.5, True)), True, ""),
        (OneOf("nonsense", ("x",)), True, ""),
        (Not(Present("nonsense")), False, ""),
        (HasAny("owner", ("x",)), True, ""),
        (Between("owner", 1, 2), True, ""),
        (Between("priority", 3, 3), True, ""),
        (Between("priority", float("nan"), None), True, ""),
        (Between("priority", 0.5, 2**70), False, "f_priority >= 1"),
        (OneOf("priority", (1.0, 2)), False, "f_priority in [1, 2]"),
        (Not(OneOf("frozen", (True,))), False, 'f_frozen not in ["=true"]'),
    ],
)
def test_what_can_be_decided_is_folded(predicate: Predicate, never: bool, text: str) -> None:
    for dialect in Dialect:
        compiled = compile_predicate(predicate, dialect)
        assert (compiled.never, compiled.text, compiled.exact) == (never, text, True)


def test_a_scope_holds_for_every_hit() -> None:
    compiled = compile_predicate(
        AnyOf((Present("owner"), Present("speaker"))), Dialect.SERVER, scope="a == 1"
    )
    assert compiled.text == 'a == 1 and (f_owner != "" or f_speaker != "")'
    assert compile_predicate(Everything(), Dialect.SERVER, scope="a == 1").text == "a == 1"


def test_bounds_that_floats_cannot_tell_apart_are_left_to_the_caller() -> None:
    assert compile_predicate(Between("attributes.n", 1, 2**53 - 1), Dialect.SERVER).exact
    for bound in (2**53, -(2**53), 1e300, float("inf")):
        assert not compile_predicate(Between("attributes.n", bound, None), Dialect.SERVER).exact


def test_expressions_do_not_nest_without_end() -> None:
    deep: Predicate = OneOf("owner", ("x",))
    for _ in range(300):
        deep = AllOf((AnyOf((Present("owner"), deep)), Present("state")))
    compiled = compile_predicate(deep, Dialect.LITE)
    assert not compiled.exact
    assert compiled.text.count("(") < 60


@given(
    st.dictionaries(
        st.text(),
        st.one_of(
            st.text(),
            st.integers(),
            st.floats(allow_nan=False),
            st.booleans(),
            st.lists(st.text()).map(tuple),
        ),
    )
)
@ENOUGH
def test_packed_facets_come_back_as_they_were(facets: dict[str, str]) -> None:
    packed = pack_facets(facets)
    assert packed.isascii()
    back = unpack_facets(packed)
    assert back == facets
    assert {k: type(v) for k, v in back.items()} == {k: type(v) for k, v in facets.items()}
