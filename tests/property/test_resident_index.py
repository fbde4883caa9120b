"""Invariants of the resident index, whatever happens to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import FacetValue, facets_of, to_micros
from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.cube.predicate import OneOf, Predicate, evaluate
from memos_ray.core.retrieval import (
    IndexedMemory,
    QueryHints,
    ResidentIndex,
    RetrievalQuery,
    RetrievalSettings,
    Scored,
    SignalWeights,
    VectorSet,
)
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.strategies import predicates, similar_cubes
from memos_ray.testing.talk import asked, embed_all, indexed, said

EMBEDDER = HashingEmbedder(32)
# Every signal speaks, and one clause more makes a long text.
SETTINGS = RetrievalSettings(
    weights=SignalWeights(bm25_own=0.25), context_words=14, default_roles=("user",)
)
SETTINGS = replace(
    SETTINGS, views=replace(SETTINGS.views, context_words=10, chunk_words_min=6, target_chunks=1)
)
START = datetime(2024, 5, 1, tzinfo=UTC)
WORDS = (
    "kettle boiler harbour Tom Maria sings yesterday 2023 the 茶壶 坏了 wo ist das Haus ?".split()
)
IDS = tuple("abcdefgh")
QUESTIONS = (
    "When did Tom mend the kettle?",
    "the boilr of Maria and the harbour",
    "wo ist das Haus",
    "哪个茶壶坏了",
    "nothing of all this",
)

texts = st.lists(st.sampled_from(WORDS), min_size=0, max_size=9).map(" ".join)


@st.composite
def memories(draw: st.DrawFn) -> IndexedMemory:
    values: dict[str, FacetValue] = {
        "visibility": draw(st.sampled_from(("shared", "shared", "private")))
    }
    for name, choices in (
        ("speaker", ("Tom", "Maria", "茶壶")),
        ("role", ("user", "assistant")),
        ("tags", (("kettle",), ("boiler", "harbour"))),
        ("event_time", (to_micros(START), to_micros(START + timedelta(days=40)))),
    ):
        value = draw(st.sampled_from((None, *choices)))
        if value is not None:
            values[name] = value
    day = START + timedelta(days=draw(st.integers(0, 60)))
    spans = (TimeSpan(day, day + timedelta(days=1)),) if draw(st.booleans()) else ()
    # Most stand side by side.
    place = draw(st.sampled_from((None, 0, 1, 2, 3, 4, 5)))
    session = draw(st.sampled_from(("one", "one", "one", "two", None)))
    return said(
        draw(st.sampled_from(IDS)),
        draw(texts),
        position=place,
        session=session,
        mentions=spans,
        language=draw(st.sampled_from((None, None, "de"))),
        **values,
    )


def answers(index: ResidentIndex, visible: Predicate | None = None) -> list[list[Scored]]:
    """Answers to all questions, explained, with vectors and without."""
    span = TimeSpan(START, START + timedelta(days=31))
    hints = QueryHints(time_range=span)
    queries = [RetrievalQuery(text, k=len(IDS)) for text in QUESTIONS]
    queries += [
        asked(text, EMBEDDER, names=("Tom", "Maria"), hints=hints, k=len(IDS), legible=0.75)
        for text in QUESTIONS
    ]
    return [index.search(replace(query, visible=visible)) for query in queries]


def agree(one: list[list[Scored]], other: list[list[Scored]]) -> bool:
    """Whether answers are the same but for the last digits, where the order of sums shows."""
    for mine, theirs in zip(one, other, strict=True):
        scores = {found.id: found.score for found in theirs}
        assert {found.id: found.score for found in mine} == pytest.approx(scores, abs=1e-7)
        notes = {found.id: [(part.signal, part.note) for part in found.parts] for found in theirs}
        for found in mine:
            assert [(part.signal, part.note) for part in found.parts] == notes[found.id]
    return True


@given(st.lists(st.tuples(st.sampled_from("uuuree"), memories()), min_size=3, max_size=25))
def test_history_leaves_no_trace(steps: list[tuple[str, IndexedMemory]]) -> None:
    """After any changes an index answers like a fresh one of the same memories."""
    index = ResidentIndex(EMBEDDER.space.dim, SETTINGS)
    held: dict[str, IndexedMemory] = {}
    for step, memory in steps:
        match step:
            case "u":
                index.upsert([memory])
                held[memory.id] = memory
            case "r":
                index.remove([memory.id])
                held.pop(memory.id, None)
            case _:
                # Some vectors come early; those that a later change outdates must go again.
                for plan in index.stale_views(2):
                    vectors = EMBEDDER.embed([view.text for view in plan.views])
                    index.attach_vectors(plan.id, VectorSet.quantise(plan.views, vectors))
    fresh = indexed(held.values(), EMBEDDER, SETTINGS)
    embed_all(index, EMBEDDER)
    assert len(index) == len(fresh) == len(held)
    assert index.unembedded == fresh.unembedded == 0
    assert agree(answers(index), answers(fresh))
    assert index.statistics() == fresh.statistics()


@given(st.lists(memories(), unique_by=lambda memory: memory.id, max_size=10))
def test_what_is_hidden_moves_nothing(memories: list[IndexedMemory]) -> None:
    """Scores, names, languages, spelling and tags are those of the visible memories alone."""
    visible = OneOf("visibility", ("shared",))
    shown = [memory for memory in memories if memory.facets["visibility"] == "shared"]
    whole = indexed(memories, EMBEDDER, SETTINGS)
    part = indexed(shown, EMBEDDER, SETTINGS)
    assert agree(answers(whole, visible), answers(part))


@given(st.lists(similar_cubes(), unique_by=lambda cube: cube.id, max_size=8), predicates)
def test_a_filter_admits_what_the_evaluator_admits(
    cubes: list[MemCube], predicate: Predicate
) -> None:
    index = indexed(map(IndexedMemory.of, cubes))
    found = index.search(RetrievalQuery("", predicate=predicate, k=len(cubes)))
    wanted = {cube.id for cube in cubes if evaluate(predicate, facets_of(cube))}
    assert {one.id for one in found} == wanted
    assert len(found) == len(wanted)


@given(
    st.lists(memories(), unique_by=lambda memory: memory.id, min_size=1, max_size=10),
    st.sampled_from(QUESTIONS),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_pages_and_thresholds_cut_one_ranking(
    memories: list[IndexedMemory], text: str, least: float, size: int
) -> None:
    index = indexed(memories, EMBEDDER, SETTINGS)
    query = asked(text, EMBEDDER, k=len(IDS))
    whole = index.search(query)
    for found in whole:
        assert abs(sum(part.contribution for part in found.parts) - found.score) < 1e-6
    assert [found.score for found in whole] == sorted((f.score for f in whole), reverse=True)
    kept = [found for found in whole if found.relevance is not None and found.relevance >= least]
    paged: list[object] = []
    for offset in range(0, len(IDS) + size, size):
        paged += index.search(replace(query, offset=offset, k=size, min_relevance=least))
    assert paged == (kept if least else whole)
