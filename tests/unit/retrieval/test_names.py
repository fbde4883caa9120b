"""Names of participants: found in a query, left out of its words and of its embedding."""

from __future__ import annotations

import numpy as np
import pytest

from memos_ray.core.cube.predicate import Not, OneOf
from memos_ray.core.retrieval import (
    Nameless,
    ResidentIndex,
    RetrievalQuery,
    Scored,
    strip_names,
    without_each,
)
from memos_ray.errors import DimensionMismatchError, InvalidInputError
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.talk import asked, indexed, said, turns

EMBEDDER = HashingEmbedder(256)


@pytest.fixture
def index() -> ResidentIndex:
    return indexed(
        turns(
            ("Maria Lopez", "The kettle broke on Sunday."),
            ("Tom", "Poor kettle! Was it the old one?"),
            ("Maria Lopez", "Yes, the blue one from the market."),
            ("Tom", "I asked Maria twice to throw it away."),
        ),
        EMBEDDER,
    )


def part(found: Scored, signal: str) -> float:
    return next(part.raw for part in found.parts if part.signal == signal)


def result(index: ResidentIndex, query: RetrievalQuery, id: str) -> Scored:
    return next(found for found in index.search(query) if found.id == id)


@pytest.mark.parametrize(
    ("text", "names", "left"),
    [
        ("Where did Tom's kettle go?", ("Tom",), "Where did kettle go?"),
        ("Did tom call?", ("Tom",), "Did call?"),
        ("Has Tomas called?", ("Tom",), "Has Tomas called?"),
        ("What does Maria Lopez sell?", ("Maria Lopez",), "What does sell?"),
        ("What does Maria sell?", ("Maria Lopez",), "What does sell?"),
        ("苏禾喜欢什么", ("苏禾",), "喜欢什么"),
        ("Tom?", ("Tom",), "Tom?"),
        ("Where?", (), "Where?"),
    ],
)
def test_names_are_stripped_as_whole_words(text: str, names: tuple[str, ...], left: str) -> None:
    assert strip_names(text, names) == left


def test_each_name_is_left_out_alone() -> None:
    stripped = without_each("Did Tom meet Maria in Rome?", ("Tom", "Rome", "Ulla"))
    assert stripped == {
        "Tom": "Did meet Maria in Rome?",
        "Rome": "Did Tom meet Maria in ?",
    }


def test_a_participant_is_left_out_of_words_and_embedding(index: ResidentIndex) -> None:
    query = asked("Which kettle did Tom break?", EMBEDDER, names=("Tom",))
    bare = asked("Which kettle did break?", EMBEDDER)
    for found in index.search(query):
        other = result(index, bare, found.id)
        assert part(found, "dense_own") == pytest.approx(part(other, "dense_own"), abs=1e-9)
        assert part(found, "bm25_context") == part(other, "bm25_context")


def test_who_never_spoke_is_content(index: ResidentIndex) -> None:
    query = asked("Which kettle did Rosa break?", EMBEDDER, names=("Rosa",))
    plain = asked("Which kettle did Rosa break?", EMBEDDER)
    assert index.search(query) == index.search(plain)


def test_two_participants_are_left_out_together(index: ResidentIndex) -> None:
    query = asked("Did Tom tell Maria about the kettle?", EMBEDDER, names=("Tom", "Maria"))
    bare = asked("Did tell about the kettle?", EMBEDDER)
    found, other = result(index, query, "t3"), result(index, bare, "t3")
    # Differences add up nearly, not exactly: vectors are normalised.
    assert part(found, "dense_own") == pytest.approx(part(other, "dense_own"), abs=0.05)
    full = result(index, asked("Did Tom tell Maria about the kettle?", EMBEDDER), "t3")
    assert part(full, "dense_own") > part(found, "dense_own") + 0.05


def test_a_longer_name_than_the_participants_is_not_theirs(index: ResidentIndex) -> None:
    text = "Which kettle did Tom Sawyer break?"
    assert index.search(asked(text, EMBEDDER, names=("Tom Sawyer",))) == index.search(
        asked(text, EMBEDDER)
    )


def test_a_hidden_participant_is_content() -> None:
    memories = [
        said("seen", "The kettle is old.", position=0, speaker="Maria", tags=("open",)),
        said("other", "Tom has a kettle.", position=1, speaker="Maria", tags=("open",)),
        said("hidden", "I am here.", position=2, speaker="Tom", tags=("closed",)),
    ]
    index = indexed(memories, EMBEDDER)
    query = asked("Has Tom a kettle?", EMBEDDER, names=("Tom",))
    visible = Not(OneOf("speaker", ("Tom",)))
    limited = RetrievalQuery(
        query.text, query.vector, visible=visible, nameless=query.nameless, k=5
    )
    without = indexed(memories[:2], EMBEDDER)
    assert index.search(limited) == without.search(asked("Has Tom a kettle?", EMBEDDER))


def test_vectors_without_names_are_checked_like_the_other() -> None:
    index = indexed(turns(("Tom", "Hello there.")), EMBEDDER)
    fine = EMBEDDER.embed(["hello"])[0]
    with pytest.raises(InvalidInputError):
        RetrievalQuery("hello", fine, nameless=(Nameless("Tom", np.full(256, np.nan, np.float32)),))
    short = RetrievalQuery("hello", fine, nameless=(Nameless("Tom", np.ones(8, np.float32)),))
    with pytest.raises(DimensionMismatchError):
        index.search(short)
