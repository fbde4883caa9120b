"""Which texts are embedded, and how their vectors are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.retrieval import (
    Granularity,
    VectorSet,
    View,
    ViewKind,
    ViewSettings,
    plan_views,
)
from memos_ray.core.retrieval.text import count_words
from memos_ray.errors import DimensionMismatchError, InvalidInputError, StoreCorruptError

SETTINGS = ViewSettings()
LONG = " ".join(f"This is sentence number {i} of a long text." for i in range(120))


def planned(text: str, before: str | None = None, settings: ViewSettings = SETTINGS) -> list[View]:
    return list(plan_views(text, before, settings))


def test_a_short_text_is_one_view() -> None:
    assert planned("The kettle.") == [View(ViewKind.OWN, "The kettle.")]


def test_a_predecessor_joins_while_both_are_short() -> None:
    views = planned("In the shed.", "Where is the kettle?")
    assert views[1:] == [View(ViewKind.CONTEXT, "Where is the kettle?\nIn the shed.")]
    assert planned("In the shed.", LONG) == [View(ViewKind.OWN, "In the shed.")]
    assert planned("In the shed.", "  ") == [View(ViewKind.OWN, "In the shed.")]


def test_a_long_text_is_cut_and_also_taken_whole() -> None:
    *own, whole = planned(LONG, "Where?")
    assert whole == View(ViewKind.CONTEXT, LONG)
    assert [view.kind for view in own] == [ViewKind.OWN] * len(own)
    assert " ".join(view.text for view in own) == LONG
    assert all(30 <= count_words(view.text) <= 120 for view in own[:-1])


def test_no_text_is_no_view() -> None:
    assert planned("  \n") == []


def test_a_sentence_may_be_a_view() -> None:
    settings = ViewSettings(granularity=Granularity.SENTENCE)
    own = [v.text for v in planned("One. Two! Three?", None, settings) if v.kind is ViewKind.OWN]
    assert own == ["One.", "Two!", "Three?"]


def test_scripts_without_spaces_are_cut_too() -> None:
    text = "水" * 1000
    own = [view for view in planned(text) if view.kind is ViewKind.OWN]
    assert len(own) > 1 and "".join(view.text for view in own) == text


def test_huge_texts_have_a_bounded_number_of_views() -> None:
    assert len(planned("word " * 100_000)) == SETTINGS.max_chunks + 1


@given(st.text(max_size=400), st.none() | st.text(max_size=60))
def test_any_text_can_be_planned(text: str, before: str | None) -> None:
    views = planned(text, before)
    assert bool(views) == bool(text.strip())
    assert all(view.text.strip() for view in views)
    assert len({view.digest for view in views}) == len(set(views))


@pytest.fixture
def vectors() -> VectorSet:
    views = [View(ViewKind.OWN, "one"), View(ViewKind.CONTEXT, "two")]
    return VectorSet.quantise(views, np.random.default_rng(0).normal(size=(2, 24)).astype("f4"))


def test_vectors_survive_storage(vectors: VectorSet) -> None:
    again = VectorSet.from_bytes(vectors.to_bytes())
    assert np.array_equal(again.data, vectors.data)
    assert np.array_equal(again.scales, vectors.scales)
    assert np.array_equal(again.digests, vectors.digests)
    assert np.array_equal(again.kinds, vectors.kinds)
    assert np.allclose(np.linalg.norm(again.vectors(), axis=1), 1, atol=1e-6)


def test_every_damaged_byte_is_noticed(vectors: VectorSet) -> None:
    stored = vectors.to_bytes()
    for place in range(len(stored)):
        damaged = bytearray(stored)
        damaged[place] ^= 1
        with pytest.raises(StoreCorruptError):
            VectorSet.from_bytes(bytes(damaged))
    for cut in (b"", stored[:3], stored[:-1], stored + b"\0"):
        with pytest.raises(StoreCorruptError):
            VectorSet.from_bytes(cut)


def test_a_zero_vector_stays_one() -> None:
    made = VectorSet.quantise([View(ViewKind.OWN, "")], np.zeros((1, 4), np.float32))
    assert not made.vectors().any()


def test_bad_embeddings_are_refused() -> None:
    views = [View(ViewKind.OWN, "one")]
    with pytest.raises(InvalidInputError):
        VectorSet.quantise(views, np.array([[1, np.inf]], np.float32))
    with pytest.raises(InvalidInputError):
        VectorSet.quantise(views, np.ones((2, 4), np.float32))
    with pytest.raises(DimensionMismatchError):
        VectorSet.quantise(views, np.ones((1, 0), np.float32))
