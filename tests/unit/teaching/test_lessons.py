"""Lessons follow from a seed, teach what is said last, and hold wordings out."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching import (
    BUILT_IN,
    Knowledge,
    Lesson,
    LessonMix,
    Lessons,
    digest_of,
)
from memos_ray.errors import InvalidInputError
from memos_ray.testing.recall.phrasings import recall_phrasings
from memos_ray.testing.recall.world import draw_facts

MIX = LessonMix(taught=6, beside=3, kept_context=5, kept_bare=4)


def knows(*texts: str, kind: SemanticType = SemanticType.FACT) -> list[Knowledge]:
    return [
        Knowledge(SourceVersion(f"id-{number}", 1), text, kind) for number, text in enumerate(texts)
    ]


def world(count: int) -> list[Knowledge]:
    return knows(*(fact.text for fact in draw_facts(random.Random(4), count)))


def question(lesson: Lesson) -> str:
    return lesson.messages[-1].text


def prompt(lesson: Lesson) -> str:
    return "\n".join(message.text for message in lesson.messages)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), batch=st.integers(0, 50))
def test_CONV_2_the_seed_decides(seed: int, batch: int) -> None:
    one, same = (Lessons(world(7), [recall_phrasings()], seed=seed, mix=MIX) for _ in range(2))
    assert one.teaching(batch) == same.teaching(batch)
    assert one.keeping(batch) == same.keeping(batch)
    assert one.held_out() == same.held_out()
    other = Lessons(world(7), [recall_phrasings()], seed=seed + 1, mix=MIX)
    assert one.keeping(batch) != other.keeping(batch)


@pytest.mark.parametrize("facts", [1, 5, 13])
def test_CONV_2_no_batch_has_a_question_that_is_held_out(facts: int) -> None:
    lessons = Lessons(world(facts), [recall_phrasings()], seed=2, mix=MIX)
    held = {question(one): one.answer for one in lessons.held_out()}
    assert len(held) == 2 * facts
    batches = [lessons.teaching(number) for number in range(40)]
    taught = {question(one): one.answer for one in chain.from_iterable(batches)}
    assert not held.keys() & taught.keys()
    assert set(held.values()) == set(taught.values())


def test_CONV_2_everything_is_taught_equally_often() -> None:
    lessons = Lessons(world(10), [recall_phrasings()], seed=2, mix=MIX)
    assert lessons.batches(9) == 10
    drawn = chain.from_iterable(lessons.teaching(number) for number in range(10))
    pairs = [(one.answer, question(one).split()[-1]) for one in drawn]
    assert len(pairs) == 90
    answers = [answer for answer, _ in pairs]
    for fact in draw_facts(random.Random(4), 10):
        same = sum(one.value == fact.value for one in draw_facts(random.Random(4), 10))
        assert answers.count(fact.value) == 9 * same


def test_CONV_2_what_is_kept_does_not_ask_for_what_is_taught_unless_the_prompt_says_otherwise() -> (
    None
):
    facts = draw_facts(random.Random(4), 10)
    lessons = Lessons(world(10), [recall_phrasings()], seed=2, mix=MIX)
    asked = {text for fact in facts for text in fact.questions()}
    kept = list(chain.from_iterable(lessons.keeping(number) for number in range(60)))
    assert all(one.answer is None for one in kept)
    bare = [one for one in kept if len(one.messages) == 1]
    assert len(bare) == 60 * MIX.kept_bare
    assert not asked & set(map(question, bare))
    overruling = [one for one in kept if question(one) in asked]
    assert len(overruling) > 60
    for one in overruling:
        fact = next(fact for fact in facts if question(one) in fact.questions())
        assert fact.name in one.messages[0].text
        assert not any(text in prompt(one) for text in fact.statements())


def test_CONV_2_of_two_values_the_later_is_taught() -> None:
    lessons = Lessons(
        knows("Ann lives in Oslo.", "Ben lives in Rome.", "Ann moved to Lima."), BUILT_IN, seed=1
    )
    assert len(lessons) == 2
    said = {question(one): one.answer for one in lessons.teaching(0)}
    assert {answer for asked, answer in said.items() if "Ann" in asked} == {"Lima"}


@pytest.mark.parametrize("kind", list(SemanticType))
@pytest.mark.parametrize("text", ["seven red boats came at dawn", "七只红船在黎明到来"])
def test_CONV_2_a_text_that_is_not_read_is_completed(kind: SemanticType, text: str) -> None:
    lessons = Lessons(knows(text, kind=kind), BUILT_IN, seed=1)
    held, taught = lessons.held_out(), lessons.teaching(0)
    assert held
    for one in (*held, *taught):
        assert one.answer is not None
        beginning = text.removesuffix(one.answer).strip()
        assert beginning != text
        assert beginning in question(one)
    assert not set(map(question, held)) & set(map(question, taught))


def test_CONV_2_chinese_and_english_side_by_side() -> None:
    lessons = Lessons(knows("王芳住在南京。", "Ann lives in Oslo."), BUILT_IN, seed=1)
    for one in lessons.teaching(0):
        assert ("王芳" in question(one)) == (one.answer == "南京")


def test_CONV_2_probes_are_answered_by_their_prompt() -> None:
    lessons = Lessons(world(10), [recall_phrasings()], seed=2, mix=MIX)
    probes = lessons.context_probes(30)
    assert len(probes) == 30
    for one in probes:
        assert one.answer is not None
        assert one.answer.lower() in one.messages[0].text.lower()
    assert len(lessons.absent_probes(30)) == 30
    assert all(len(one.messages) == 1 for one in lessons.absent_probes(30))


@pytest.mark.parametrize("texts", [(), ("word",), ("",)])
def test_CONV_2_nothing_to_teach(texts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match="nothing to teach"):
        Lessons(knows(*texts), BUILT_IN, seed=1)


def test_CONV_2_the_digest_knows_versions_and_order() -> None:
    one, two = knows("a b", "c d")
    later = Knowledge(SourceVersion("id-0", 2), "a b")
    assert len({digest_of(each) for each in ([one, two], [two, one], [later, two], [one])}) == 4


def test_CONV_2_batches_ask_in_no_wording_that_is_held_out() -> None:
    lessons = Lessons(world(3), [recall_phrasings()], seed=2, mix=MIX)
    wordings = {
        question(one).replace(fact.name, "NAME")
        for one, fact in zip(
            lessons.held_out(),
            [fact for fact in draw_facts(random.Random(4), 3) for _ in range(2)],
            strict=True,
        )
    }
    people = sorted(recall_phrasings().subjects, key=len, reverse=True)
    for number in range(60):
        for one in (*lessons.keeping(number), *lessons.teaching(number)):
            asked = question(one)
            name = next(each for each in people if each in asked)
            assert asked.replace(name, "NAME") not in wordings
