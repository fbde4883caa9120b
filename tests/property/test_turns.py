"""Rewriting a question in its dialogue, whatever people type (READ-2)."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.reader.turns import MAX_GROWTH_CHARS, Turn, rewrite

NOW = datetime(2024, 8, 20, 12, tzinfo=UTC)

# Pieces of which real follow-ups are made, in every order, besides arbitrary Unicode.
PIECES = st.sampled_from(
    [
        *"and why when who did does is she he her his him it its they them their there".split(),
        *"then that this else too Ingrid Bob Bram ? . , : \uff1f \uff0c und er sie dort".split(),
        *"那 呢 她 他的 它 那里 当时 苏禾 小明和小红 什么时候 为什么 的生日 三月 去敦煌 吗".split(),
        "what about",
        "the other one",
        "the former",
        "in March",
        "last week",
        "the week before",
        "birthday",
        "Ann and Bo",
        "Ann's sister",
        "the old car",
        "a trip to Porto",
        "in Duluth",
        "namespace team/a",
        "im März",
        "was ist mit",
    ]
)
PHRASES = st.builds(" ".join, st.lists(PIECES, max_size=9))
UNSPACED = st.builds("".join, st.lists(PIECES, max_size=9))
TEXTS = st.one_of(PHRASES, UNSPACED, st.text(max_size=60))
TURNS = st.lists(st.builds(Turn, TEXTS, st.booleans(), st.none() | TEXTS), max_size=24)


@given(TEXTS, TURNS)
def test_READ_2_rewriting_settles_stays_small_and_repeats_itself(
    question: str, turns: list[Turn]
) -> None:
    found = rewrite(question, turns, NOW, UTC)
    assert len(found.text) <= len(question) + MAX_GROWTH_CHARS
    assert rewrite(found.text, turns, NOW, UTC).text == found.text
    assert rewrite(question, turns, NOW, UTC) == found
    assert (found.text == question) or found.filled


@given(TEXTS)
def test_READ_2_without_a_dialogue_nothing_is_rewritten(question: str) -> None:
    found = rewrite(question, [], NOW, UTC)
    assert found.text == question and not found.decisions


@given(TEXTS, TURNS)
def test_READ_2_nothing_is_filled_in_that_was_not_said(question: str, turns: list[Turn]) -> None:
    """Every Latin word of capitals that is new comes from the dialogue or the question."""
    found = rewrite(question, turns, NOW, UTC)
    heard = " ".join([question, *(turn.text for turn in turns)]).casefold()
    for one in found.filled:
        for name in ("Ingrid", "Bob", "Porto", "Duluth", "Bram", "苏禾", "敦煌"):
            if one.meant is not None and name in one.meant:
                assert name.casefold() in heard
