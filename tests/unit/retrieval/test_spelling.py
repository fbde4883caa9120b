"""Slips of the pen in a query."""

from __future__ import annotations

import pytest

from memos_ray.core.cube.predicate import OneOf
from memos_ray.core.retrieval import RetrievalQuery
from memos_ray.core.retrieval.spelling import Vocabulary, is_slip
from memos_ray.testing.talk import asked, indexed, said


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("boiler", "boilr", True),
        ("boiler", "boiller", True),
        ("boiler", "boiker", True),
        ("boiler", "bolier", True),
        ("boiler", "boilers", True),
        ("boiler", "boolir", False),
        ("boiler", "brolier", False),
        ("boiler", "boil", False),
        ("aab", "aba", True),
        ("abcd", "badc", False),
    ],
)
def test_one_slip(one: str, other: str, slip: bool) -> None:
    assert is_slip(one, other) is slip
    assert is_slip(other, one) is slip


def test_the_first_letters_are_trusted_and_data_is_left_alone() -> None:
    vocabulary = Vocabulary(["mongo", "k8s", "rate", "abc12", "error"])
    assert list(vocabulary.near("mango")) == []
    assert list(vocabulary.near("k9s")) == []
    assert list(vocabulary.near("abc13")) == []
    assert list(vocabulary.near("rat")) == []
    assert list(vocabulary.near("eror")) == ["error"]


def test_a_slip_finds_what_was_meant_and_says_so() -> None:
    index = indexed([said("a", "The boiler is broken."), said("b", "Soup for lunch.")])
    first = index.search(asked("boilr"))[0]
    assert first.id == "a"
    assert any("boilr (boiler?)" in part.note for part in first.parts)


def test_a_word_that_occurs_is_taken_as_it_is() -> None:
    index = indexed([said("a", "The form is here."), said("b", "A farm, a farm, a farm.")])
    assert index.search(asked("form"))[0].id == "a"


def test_the_commonest_candidate_wins() -> None:
    index = indexed(
        [said("a", "They like to paint."), said("b", "A plaint."), said("c", "He paints too.")]
    )
    notes = [part.note for one in index.search(asked("paimt")) for part in one.parts]
    assert any("(paint?)" in note for note in notes)


def test_hidden_words_correct_nothing() -> None:
    index = indexed(
        [said("a", "Soup for lunch.", visibility="shared"), said("b", "The boiler is broken.")]
    )
    query = RetrievalQuery("boilr lunch", visible=OneOf("visibility", ("shared",)))
    assert all("boil" not in part.note for one in index.search(query) for part in one.parts)
