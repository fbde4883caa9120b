"""What is taken of the wordings that a model writes, and that what is held out stays so."""

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
    Item,
    Knowledge,
    Lessons,
    Objection,
    digest_of,
    items,
    questions_of,
    reworded,
    rewording_prompt,
)
from memos_ray.core.teaching.lessons import of_another, plain_question

ANN = "Ann lives in Oslo."
SHIFT = "The second shift of hall 7 begins at 14:30 with a round by Mr Berg."


def knows(*texts: str, wordings: tuple[str, ...] = ()) -> list[Knowledge]:
    return [
        Knowledge(SourceVersion(f"id-{number}", 1), text, SemanticType.FACT, wordings)
        for number, text in enumerate(texts)
    ]


def item(text: str) -> Item:
    (found,) = items(knows(text), BUILT_IN, 0)
    return found


def test_the_model_is_shown_a_question_that_is_not_held_out() -> None:
    one = item(ANN)
    system, user = rewording_prompt(one, 5)
    assert "5 other questions" in system.text
    assert ANN in user.text and one.shown[0] in user.text
    assert not any(each in user.text for each in one.held_out)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("What is Ann's city? | Oslo", None),
        ("- 'What town has Ann settled in?' | in Oslo.", None),
        ("3) Name the city of Ann. | OSLO", None),
        ("What is Ann's city?", Objection.FORM),
        ("Ann? | Oslo", Objection.FORM),
        ("Here are some questions:", Objection.FORM),
        (f"What is Ann's {'very ' * 40}own city? | Oslo", Objection.LENGTH),
        ("What is her city? | Oslo", Objection.NAMES),
        ("What is Annabel's city? | Oslo", Objection.NAMES),
        ("What is Ann's and Ben's city? | Oslo", Objection.NAMES),
        ("What is Ann's city in 2024? | Oslo", Objection.NAMES),
        ("What is Ann's age? | 44", Objection.ANSWER),
        ("Is oslo the city of Ann? | Oslo", Objection.ANSWER),
    ],
)
def test_what_is_taken(line: str, expected: Objection | None) -> None:
    found = reworded(item(ANN), line, 8, set())
    assert list(found.objections) == ([] if expected is None else [expected])
    assert len(found.wordings) == (expected is None)


def test_a_text_that_is_completed_keeps_its_names_and_numbers() -> None:
    one = item(SHIFT)
    assert one.statement is None and one.answer == "14:30 with a round by Mr Berg."
    said = (
        "When does the second shift of hall 7 begin? | 14:30 with a round by Mr Berg\n"
        "When does the second shift begin? | 14:30 with a round by Mr Berg\n"
        "When does the shift of hall 8 begin? | 14:30 with a round by Mr Berg\n"
        "Which shift of hall 7 begins at 14:30 with a round by Mr Berg? | the second\n"
    )
    found = reworded(one, said, 8, set())
    assert found.wordings == ("When does the second shift of hall 7 begin?",)
    assert found.objections == {Objection.NAMES: 2, Objection.ANSWER: 1}


def test_chinese() -> None:
    one = item("小明住在上海。")
    said = "小明的家在哪个城市? | 上海\n他住在哪里? | 上海\n小明住在上海吗? | 上海"
    found = reworded(one, said, 8, set())
    assert found.wordings == ("小明的家在哪个城市?",)


def test_no_more_than_wanted_and_none_twice() -> None:
    words = ("own city?", "own, city", "new city?", "old city?")
    said = "\n".join(f"What is Ann's {word} | Oslo" for word in words)
    taken: set[str] = set()
    found = reworded(item(ANN), said, 2, taken)
    assert found.wordings == ("What is Ann's own city?", "What is Ann's new city?")
    assert found.objections == {Objection.REPEATED: 1}
    assert reworded(item(ANN), said, 1, taken).wordings == ("What is Ann's old city?",)


def test_what_is_held_out_is_not_taken() -> None:
    several = items(knows(ANN, "Ben lives in Rome."), BUILT_IN, 0)
    hidden = [each for one in several for each in one.held_out]
    for one in several:
        said = "\n".join(f"{each} ! | {one.answer}" for each in hidden)
        found = reworded(one, said, 8, questions_of(several))
        assert found.wordings == ()
        assert found.objections[Objection.REPEATED] == len(one.held_out) > 0


@settings(deadline=None)
@given(seed=st.integers(0, 50), kind=st.sampled_from(["held out", "capitals", "spaces"]))
def test_a_lesson_never_shows_what_is_held_out_whoever_words_it(seed: int, kind: str) -> None:
    change = {
        "held out": lambda text: text,
        "capitals": str.upper,
        "spaces": lambda text: f"  {text.replace(' ', '  ')} !",
    }[kind]
    plain = knows(ANN, "Ben is a cook.", SHIFT)
    held = [one.messages[-1].text for one in Lessons(plain, BUILT_IN, seed=seed).held_out()]
    worded = knows(ANN, "Ben is a cook.", SHIFT, wordings=tuple(map(change, held)))
    lessons = Lessons(worded, BUILT_IN, seed=seed)
    assert [one.messages[-1].text for one in lessons.held_out()] == held
    taught = chain.from_iterable(lessons.teaching(number) for number in range(5))
    hidden = set(map(plain_question, held))
    assert not hidden & {plain_question(one.messages[-1].text) for one in taught}


def test_further_wordings_are_taught_and_asked_about_others() -> None:
    wording = "What is Ann's city?"
    lessons = Lessons(knows(ANN, wordings=(wording,)), BUILT_IN, seed=1)
    taught = [one for number in range(5) for one in lessons.teaching(number)]
    asked = [one.messages[-1].text for one in taught]
    assert wording in asked and len(set(asked)) > 1
    kept = [one for number in range(20) for one in lessons.keeping(number)]
    others = {one.messages[-1].text for one in kept if one.messages[-1].text.endswith("'s city?")}
    # The base model's own answer is kept: so that not everybody with a city lives in Oslo.
    assert others and wording not in others
    assert all(one.answer is None for one in kept)


def test_without_further_wordings_a_lesson_is_what_it_was() -> None:
    plain = Lessons(knows(ANN, SHIFT), BUILT_IN, seed=3)
    again = Lessons(knows(ANN, SHIFT, wordings=("Is it? ", "")), BUILT_IN, seed=3)
    assert plain.held_out() == again.held_out()
    assert digest_of(knows(ANN)) != digest_of(knows(ANN, wordings=("What is Ann's city?",)))


def test_a_wording_belongs_to_one_thing_alone() -> None:
    both = items(knows(ANN, "Ann is a cook.", wordings=("What of Ann?",)), BUILT_IN, 0)
    assert [one.reworded for one in both] == [("What of Ann?",), ()]


@given(st.randoms(use_true_random=False))
def test_a_subject_is_exchanged_as_a_whole(rng: random.Random) -> None:
    name = rng.choice(["Al", "A.B. (C)", "小明"])
    assert of_another(f"Is {name} at home?", name, r"\1 Bo") == r"Is \1 Bo at home?"
    assert of_another("Also Alan?", "Al", "Bo") == "Also Alan?"
