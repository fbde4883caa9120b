"""Sentences are read by what is worded in them, and asked for in the language they are in."""

from __future__ import annotations

import random

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching import (
    BUILT_IN,
    CHINESE,
    ENGLISH,
    PhrasingSet,
    from_json,
    recognise,
    to_json,
)
from memos_ray.errors import ConfigurationError
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.phrasings import FILE, recall_phrasings
from memos_ray.testing.recall.world import RELATIONS, Fact, distractor, names

FACT, PROCEDURE = SemanticType.FACT, SemanticType.PROCEDURE


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("Ann lives in Oslo.", FACT, ("home", "Ann", "", "Oslo")),
        ("ann moved to the old town", FACT, ("home", "ann", "", "the old town")),
        ("Ann works as a nurse.", FACT, ("work", "Ann", "", "nurse")),
        ("Ann's favourite tea is mint.", FACT, ("favourite", "Ann", "tea", "mint")),
        ("The desk of Ann Lee is green.", FACT, ("property", "Ann Lee", "desk", "green")),
        ("Ann does not like long calls!", FACT, ("dislike", "Ann", "", "long calls")),
        (
            "To restart the printer, press both buttons.",
            PROCEDURE,
            ("instruction", "restart the printer", "", "press both buttons"),
        ),
    ],
)
def test_english(text: str, kind: SemanticType, read: tuple[str, str, str, str]) -> None:
    found = recognise(text, kind, ENGLISH)
    assert found is not None
    assert (found.phrasing.name, found.subject, found.attribute, found.value) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("王芳住在南京。", ("home", "王芳", "", "南京")),
        ("王芳最喜欢的颜色是蓝色。", ("favourite", "王芳", "颜色", "蓝色")),
        ("王芳不喜欢香菜", ("dislike", "王芳", "", "香菜")),
        ("王芳对花生过敏。", ("allergy", "王芳", "", "花生")),
    ],
)
def test_chinese(text: str, read: tuple[str, str, str, str]) -> None:
    found = recognise(text, FACT, CHINESE)
    assert found is not None
    assert (found.phrasing.name, found.subject, found.attribute, found.value) == read
    assert all("王芳" in question for question in found.questions())


@pytest.mark.parametrize("text", ["", "?", "Nothing of the kind", "It rained. Ann lives in Oslo."])
def test_what_states_nothing_is_not_read(text: str) -> None:
    assert recognise(text, FACT, ENGLISH) is None


def test_a_type_that_is_not_worded_so_is_not_read() -> None:
    assert recognise("To be sure, ask.", FACT, ENGLISH) is None


@pytest.mark.parametrize("known", [*BUILT_IN, recall_phrasings()], ids=lambda one: one.language)
def test_all_wordings_say_the_same(known: PhrasingSet) -> None:
    """What a template writes, the set reads again: the same of the same."""
    for phrasing in known.phrasings:
        kind = phrasing.types[0] if phrasing.types else FACT
        for template in phrasing.statements:
            text = template.format(
                subject=known.subjects[0],
                value=phrasing.values[0],
                a_value=f"a {phrasing.values[0]}",
                attribute="desk",
            )
            found = recognise(text, kind, known)
            assert found is not None
            assert (found.subject, found.value) == (known.subjects[0], phrasing.values[0])


def test_the_world_is_read_as_it_was_meant() -> None:
    known, rng = recall_phrasings(), random.Random(3)
    for relation in RELATIONS.values():
        for value in relation.values:
            fact = Fact(rng.choice(names()), relation.name, value)
            for text in fact.statements():
                found = recognise(text, FACT, known)
                assert found is not None
                read = (found.subject, found.phrasing.name, found.value.lower())
                assert read == (fact.name, fact.relation, fact.answer)
                assert found.questions() == fact.questions()
    for _ in range(200):
        assert recognise(distractor(rng, names()), FACT, known) is None


def test_the_model_comes_with_its_phrasings() -> None:
    """`save_phrasings` writes the file anew when the world changes."""
    assert (tiny_recall_path() / FILE).read_bytes() == to_json(recall_phrasings())


@pytest.mark.parametrize("known", BUILT_IN)
def test_files(known: PhrasingSet) -> None:
    assert from_json(to_json(known)) == known


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{subject} lives in {value}.", b"Somebody lives in {value}."),
        (b"{subject} lives in {value}.", b"{subject} lives somewhere."),
        (b'"language"', b'"tongue"'),
        (b'"fact"', b'"rumour"'),
    ],
)
def test_files_that_make_no_sense(before: bytes, after: bytes) -> None:
    data = to_json(ENGLISH)
    assert before in data
    with pytest.raises(ConfigurationError):
        from_json(data.replace(before, after))
