"""The benchmark of teaching, on a few facts and steps: the shape of its figures, not their size."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from benchmarks.lora import against_text, training
from benchmarks.lora.__main__ import parser
from memos_ray.core.teaching import LessonMix
from memos_ray.testing.recall.teaching import RECALL_TRAINING
from tests.optional import need

need("peft")

BRIEF = replace(
    RECALL_TRAINING,
    passes=1,
    steps_min=2,
    mix=LessonMix(taught=2, beside=1, kept_context=1, kept_bare=1),
)


def test_what_is_taught() -> None:
    found = training.taught(3, BRIEF, 2)
    assert found["base_recall"] == 0
    assert found["base_in_context"] == 1
    assert found["steps"] == 2
    assert 0 <= found["heldout_recall"] <= 1
    assert found["in_context_loss_points"] == 100 * (1 - found["in_context"])


def test_what_is_deleted() -> None:
    found = training.after_deletion(7, BRIEF)
    assert (found["facts"], found["deleted"]) == (7, 5)
    assert 0 <= found["deleted_recall"] <= 1


def test_facts_are_the_same_again_and_no_two_about_the_same() -> None:
    drawn = training.facts(40, 1)
    assert drawn == training.facts(40, 1) != training.facts(40, 2)
    assert len({one.source for one in drawn}) == 40


def test_prompts_with_facts_grow_with_them_and_the_question_does_not() -> None:
    (short, alone), (longer, alone_again) = (
        against_text.prompt_lengths(count, 1) for count in (2, 20)
    )
    assert alone < short < longer
    assert abs(alone - alone_again) < 10


def test_the_command_line() -> None:
    assert parser().parse_args(["--facts", "10,50"]).facts == [10, 50]
