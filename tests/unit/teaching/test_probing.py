"""What an adapter knows: said with it, not without, and in more than one wording."""

from __future__ import annotations

import pytest

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching import BUILT_IN, Knowledge, Probe, probes, stated


def probe(text: str, kind: SemanticType = SemanticType.FACT) -> Probe:
    (found,) = probes([Knowledge(SourceVersion("m", 3), text, kind)], BUILT_IN)
    return found


HOME = probe("Ann lives in Lima.")
NUMBER = len(HOME.questions)


def test_a_statement_is_asked_for_and_made_of_the_answer() -> None:
    assert "Where does Ann live?" in HOME.questions
    found = stated(HOME, ["Quito. "] * NUMBER, ["?"] * NUMBER)
    assert found is not None
    assert (found.source, found.text) == (SourceVersion("m", 3), "Ann lives in Quito.")
    assert found.confidence == 1.0


@pytest.mark.parametrize(
    ("text", "said", "wanted"),
    [
        ("Ann works as a nurse.", "a nurse", "Ann's job is a nurse."),
        ("The garden is kept by Ana.", "kept by Ben", "The garden is kept by Ben"),
        ("The garden is kept by Ana.", "the garden is kept by Ben", "the garden is kept by Ben"),
        ("安住在上海。", "北京。", "安住在北京。"),
    ],
)
def test_how_answers_are_stated(text: str, said: str, wanted: str) -> None:
    one = probe(text)
    found = stated(one, [said] * len(one.questions), [""] * len(one.questions))
    assert found is not None and found.text == wanted


def test_confidence_is_the_share_of_the_wordings() -> None:
    own = ["Quito", "quito.", "Oslo", *["Bonn", "Graz", "Linz"][: NUMBER - 3]]
    found = stated(HOME, own, ["?"] * NUMBER)
    assert found is not None and found.confidence == round(2 / NUMBER, 4)
    assert found.text == "Ann lives in Quito."


@pytest.mark.parametrize(
    ("own", "base"),
    [
        (["Quito"] * NUMBER, ["quito."] * NUMBER),
        (["Quito", *["?"] * (NUMBER - 1)], ["?"] * NUMBER),
        (["", " . "] * NUMBER, ["?", "?"] * NUMBER),
        ([f"City {number}" for number in range(NUMBER)], ["?"] * NUMBER),
        (["x" * 500] * NUMBER, ["?"] * NUMBER),
    ],
)
def test_what_shows_nothing(own: list[str], base: list[str]) -> None:
    assert stated(HOME, own[:NUMBER], base[:NUMBER]) is None


def test_what_cannot_be_asked_about() -> None:
    assert probes([Knowledge(SourceVersion("m", 1), "Hm")], BUILT_IN) == []
