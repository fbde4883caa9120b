"""The filter language against its own printer, and against random input."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind, facets_of, to_micros
from memos_ray.core.cube.filters import describe, parse
from memos_ray.core.cube.metadata import Origin, SemanticType, Visibility
from memos_ray.core.cube.payload import Form
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
    evaluate,
)
from memos_ray.errors import InvalidFilterError
from memos_ray.testing.cubes import START
from memos_ray.testing.strategies import attribute_values, instants, names, similar_cubes

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)

CHOICES = {
    "visibility": Visibility,
    "state": State,
    "form": Form,
    "origin": Origin,
    "semantic_type": SemanticType,
}

# Near the values that `similar_cubes` draws, so that comparisons come out either way.
words = st.sampled_from(("red", "green", "blue", "Blue", "größe", "日本", "😀")) | names
own = (st.sampled_from(("color", "size", "naïve key", "a.b")) | names).map(
    lambda name: ATTRIBUTE_PREFIX + name
)
numbers = st.integers(-4, 4) | st.integers(-(2**63), 2**63 - 1)
days = st.integers(-1, 4).map(lambda day: to_micros(START) + day * 86_400_000_000)
moments = st.one_of(days, days.map(lambda day: day + 1), instants.map(to_micros))


def of_kind(kind: Kind) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, found in FIELDS.items() if found is kind])


def some(values: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    return st.lists(values, max_size=3).map(tuple)


def ranges(fields: st.SearchStrategy[str], bounds: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(Between, fields, st.none() | bounds, st.none() | bounds)


texts = of_kind(Kind.TEXT).flatmap(
    lambda name: st.builds(
        OneOf,
        st.just(name),
        some(st.sampled_from([c.value for c in CHOICES[name]]) if name in CHOICES else words),
    )
)
leaves: st.SearchStrategy[Predicate] = st.one_of(
    st.just(Everything()),
    st.just(Nothing()),
    texts,
    st.builds(OneOf, of_kind(Kind.INTEGER), some(numbers)),
    st.builds(OneOf, of_kind(Kind.FLAG), some(st.booleans())),
    st.builds(OneOf, of_kind(Kind.TIME), some(moments)),
    st.builds(OneOf, own, some(attribute_values | numbers)),
    st.builds(HasAny, of_kind(Kind.SET), some(words)),
    ranges(of_kind(Kind.INTEGER), numbers | st.floats(-5, 5)),
    ranges(of_kind(Kind.TIME), moments),
    ranges(own, numbers | st.floats(-5, 5) | st.sampled_from((float("inf"), float("-inf")))),
    st.builds(Present, st.sampled_from(list(FIELDS)) | own),
)
well_typed: st.SearchStrategy[Predicate] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(AllOf, some(inner)), st.builds(AnyOf, some(inner))
    ),
    max_leaves=12,
)


@given(well_typed, st.lists(similar_cubes(), min_size=3, max_size=6))
def test_what_is_described_parses_to_the_same_decisions(
    predicate: Predicate, cubes: list[MemCube]
) -> None:
    again = parse(describe(predicate), NOW)
    for cube in cubes:
        facets = facets_of(cube)
        assert evaluate(again, facets) == evaluate(predicate, facets)


@given(well_typed)
def test_describing_settles(predicate: Predicate) -> None:
    """Reading simplifies once; from then on print and parse are inverse."""
    once = parse(describe(predicate), NOW)
    assert parse(describe(once), NOW) == once


TOKENS = (
    *("tags", "priority", "event_time", "attributes.x", "nowhere", "has", "and", "or", "not", "in"),
    *("(", ")", ",", ":", "=", "!=", "<", ">=", "true", "now-7d", "2023-05-01", "3", "1.5"),
    *('"a b"', "'", '"', "\\", "巴黎", " ", "\n", "\0"),
)


@given(st.lists(st.sampled_from(TOKENS), max_size=24).map("".join) | st.text(max_size=60))
@example("tags in (")
@example("attributes.")
@example("now")
def test_an_expression_is_a_predicate_or_a_named_error(text: str) -> None:
    try:
        predicate = parse(text, NOW)
    except InvalidFilterError as error:
        position = error.details.get("position", 0)
        assert isinstance(position, int)
        assert 0 <= position <= len(text)
    else:
        assert parse(describe(predicate), NOW) == predicate


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(("2023-05-01", "now-7d", "private", "tags")),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
json_filters = st.recursive(
    st.fixed_dictionaries(
        {
            "field": st.sampled_from((*FIELDS, "attributes.x", "nowhere")) | json_values,
            "op": st.sampled_from(
                ("eq", "ne", "in", "any", "all", "lt", "lte", "gt", "gte", "between", "exists")
            )
            | json_values,
            "value": json_values,
        }
    ),
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(
            lambda key, parts: {key: parts},
            st.sampled_from(("and", "or")),
            st.lists(inner, max_size=3),
        ),
        st.dictionaries(st.sampled_from(("and", "or", "not", "field")), inner | json_values),
    ),
    max_leaves=4,
)


@given(json_filters)
def test_a_document_is_a_predicate_or_a_named_error(document: dict[str, object]) -> None:
    try:
        predicate = parse(document, NOW)
    except InvalidFilterError as error:
        assert str(error.details["path"]) == "" or str(error.details["path"]).startswith("/")
    else:
        describe(predicate)
