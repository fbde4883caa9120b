"""Fusion: z-scores, order, pages, relevance, and what a caller may see."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from threading import current_thread
from typing import Any

import numpy as np
import pytest

from memos_ray.core.cube.predicate import Not, OneOf
from memos_ray.core.retrieval import (
    RetrievalQuery,
    RetrievalSettings,
    VectorSet,
    View,
    ViewKind,
    plan_views,
    rank_candidates,
    scope,
)
from memos_ray.core.retrieval.vectors import FloatArray, SlotVectors
from memos_ray.errors import DimensionMismatchError, InvalidInputError
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.talk import asked, indexed, said, turns

EMBEDDER = HashingEmbedder(128)
FILLER = [said(f"f{i:02}", f"Line {i} is about the weather in town.") for i in range(30)]


def test_evidence_is_normalised_over_the_permitted() -> None:
    index = indexed([said("a", "A kettle."), *FILLER], EMBEDDER)
    query = replace(asked("kettle", EMBEDDER), k=100)
    for signal in ("bm25_context", "dense_own", "dense_context"):
        values = [
            part.normalised
            for found in index.search(query)
            for part in found.parts
            if part.signal == signal
        ]
        assert np.mean(values) == pytest.approx(0, abs=1e-9)
        assert np.std(values) == pytest.approx(1)


def test_what_is_alike_for_all_says_nothing() -> None:
    index = indexed([said(f"m{i}", "The same words.") for i in range(5)], EMBEDDER)
    found = index.search(asked("the same words", EMBEDDER))
    assert [one.score for one in found] == [0.0] * 5
    assert [one.id for one in found] == ["m0", "m1", "m2", "m3", "m4"]


def test_without_evidence_the_newest_come_first() -> None:
    index = indexed(
        [
            said("old", "One.", created_at=1, event_time=50),
            said("new", "Two.", created_at=1, event_time=90),
            said("stored", "Three.", created_at=70),
            said("undated", "Four."),
        ]
    )
    for text in ("", "the and of", "?!"):
        found = index.search(RetrievalQuery(text))
        assert [one.id for one in found] == ["new", "stored", "old", "undated"]
        assert {one.relevance for one in found} == {None}
        assert index.search(RetrievalQuery(text, min_relevance=0.01)) == []


def test_relevance_grows_with_the_score_and_shrinks_with_the_crowd() -> None:
    crowd = [said(f"g{i}", f"Garden {i}.") for i in range(300)]
    for memories in ([said("a", "A kettle."), *FILLER], [said("a", "A kettle."), *crowd]):
        found = indexed(memories).search(replace(asked("kettle"), k=1000))
        for one in found:
            company = sum(part.contribution for part in one.parts if part.signal == "graph")
            score = one.score - company
            expected = 1 / (1 + exp(-(0.8 * score - 1.3 - log(len(memories)))))
            assert one.relevance == pytest.approx(expected)


def test_nothing_irrelevant_is_returned() -> None:
    index = indexed([said("a", "A blue kettle."), *FILLER], EMBEDDER)
    kept = index.search(replace(asked("blue kettle", EMBEDDER), min_relevance=0.2))
    assert [one.id for one in kept] == ["a"]
    assert index.search(replace(asked("violins", EMBEDDER), min_relevance=0.2)) == []


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_relevance_is_a_probability(least: float) -> None:
    with pytest.raises(InvalidInputError):
        RetrievalQuery("kettle", min_relevance=least)


def test_nothing_is_asked_for() -> None:
    index = indexed(FILLER)
    assert index.search(RetrievalQuery("weather", k=0)) == []
    assert index.search(RetrievalQuery("weather", offset=100)) == []
    assert indexed([]).search(RetrievalQuery("weather")) == []


def test_an_explanation_costs_no_order() -> None:
    index = indexed([said("a", "A kettle."), *FILLER], EMBEDDER)
    query = asked("weather kettle", EMBEDDER)
    told, plain = index.search(query), index.search(replace(query, explain=False))
    assert [replace(one, parts=()) for one in told] == plain


def test_large_indexes_rank_on_two_cores_as_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [("Ann", f"The kettle of the house {i} is {i} years old.") for i in range(20)]
    index = indexed(turns(*lines), EMBEDDER)
    query = asked("how old is the kettle", EMBEDDER)
    alone = index.search(query)
    computing, ranking = [], current_thread()
    cosines = SlotVectors.cosines

    def noted(*given: Any) -> FloatArray:
        computing.append(current_thread())
        return cosines(*given)

    monkeypatch.setattr(SlotVectors, "cosines", noted)
    monkeypatch.setattr(scope, "_SIDE_BY_SIDE_FROM", len(index))
    assert index.search(query) == alone
    assert len(computing) == 2 and computing.count(ranking) == 1


def test_candidates_are_ranked_as_in_an_index() -> None:
    """What another store has found is ranked alike, given the words' rarity and the neighbours."""
    memories = turns(*(("Tom", f"Line {i} tells of kettle {i % 4}.") for i in range(12)))
    index = indexed(memories, EMBEDDER)
    query = asked("kettle 3", EMBEDDER)
    sets = {}
    for place, memory in enumerate(memories):
        before = memories[place - 1].text if place else None
        views = plan_views(memory.text, before, RetrievalSettings().views)
        sets[memory.id] = VectorSet.quantise(views, EMBEDDER.embed([view.text for view in views]))
    ranked = rank_candidates(query, memories, sets, statistics=index.statistics())
    found = index.search(query)
    # Rarity is that of the namespace, where contexts have no statistics of their own.
    assert {one.id for one in ranked[:3]} == {one.id for one in found[:3]}
    for one, other in zip(ranked, found, strict=True):
        told = {part.signal: part.raw for part in one.parts}
        assert set(told) == {part.signal for part in other.parts}


def test_neighbours_of_candidates_complete_contexts_and_are_not_ranked() -> None:
    memories = turns(("Tom", "Where is the kettle?"), ("Maria", "In the shed."))
    ranked = rank_candidates(asked("kettle"), memories[1:], {}, neighbours=memories[:1])
    assert [one.id for one in ranked] == ["t1"]
    assert next(part.raw for part in ranked[0].parts if part.signal == "bm25_context") > 0


def test_the_policy_and_the_filter_are_joined() -> None:
    index = indexed([said("a", "Kettle.", speaker="Tom"), said("b", "Kettle.", speaker="Maria")])
    query = RetrievalQuery(
        "kettle", predicate=OneOf("speaker", ("Tom",)), visible=Not(OneOf("speaker", ("Tom",)))
    )
    assert index.search(query) == []


def test_vectors_of_another_space_are_refused() -> None:
    index = indexed(FILLER, EMBEDDER)
    other = HashingEmbedder(64)
    with pytest.raises(DimensionMismatchError):
        index.search(asked("weather", other))
    views = (View(ViewKind.OWN, "weather"),)
    with pytest.raises(DimensionMismatchError):
        index.attach_vectors("f00", VectorSet.quantise(views, other.embed(["weather"])))


def test_a_changed_text_loses_its_vectors_and_those_of_its_successor() -> None:
    memories = turns(("Tom", "Where is the kettle?"), ("Maria", "In the shed."), ("Tom", "Good."))
    index = indexed(memories, EMBEDDER)
    assert index.stale_views() == []
    index.upsert([replace(memories[0], text="Where is the spade?")])
    stale = {plan.id: [view.kind for view in plan.views] for plan in index.stale_views()}
    assert set(stale) == {"t0", "t1"}
    assert index.unembedded == 1
    index.upsert([memories[0]])
    assert set(plan.id for plan in index.stale_views()) == {"t0", "t1"}


def test_a_memory_leaves_nothing_behind() -> None:
    index = indexed([said("a", "A secret kettle.", speaker="Tom"), *FILLER], EMBEDDER)
    before = index.memory_bytes
    index.remove(["a", "never there"])
    assert "a" not in index and len(index) == len(FILLER)
    assert index.memory_bytes < before
    assert "kettl" not in index.statistics().frequencies
    assert all(one.id != "a" for one in index.search(asked("secret kettle", EMBEDDER, k=100)))
