"""Question sets: the turns that answer them, in two layouts and with the data's own mistakes."""

from __future__ import annotations

import json

import pytest

from memos_ray.core.reader.questions import Question, read_questions
from memos_ray.errors import InvalidInputError, UnsupportedFormatError


def test_locomo_questions_with_malformed_evidence() -> None:
    sample = {
        "sample_id": "conv-1",
        "conversation": {
            "session_1": [{"dia_id": f"D1:{n}", "speaker": "A", "text": "x"} for n in (1, 2, 5)]
        },
        "qa": [
            {
                "question": "When?",
                "answer": 2023,
                "category": 2,
                "evidence": ["D1:1; D1:2", "D:1:05", "D9:9", "D1:1"],
            },
            {"question": "Who?", "adversarial_answer": "Tom", "category": 5, "evidence": []},
        ],
    }
    assert read_questions(json.dumps([sample]).encode()) == (
        Question("When?", ("D1:1", "D1:2", "D1:5"), "temporal", "2023", "conv-1"),
        Question("Who?", (), "adversarial", "Tom", "conv-1"),
    )


def test_neutral_questions() -> None:
    data = {
        "conversations": [
            {
                "turns": [{"id": "t1", "text": "x"}, {"id": 2, "text": "y"}],
                "questions": [
                    {"question": "A?", "gold": ["t1", 2, "t9", "t1"], "category": "facts"},
                    {"question": "B?"},
                ],
            }
        ]
    }
    assert read_questions(json.dumps(data).encode()) == (
        Question("A?", ("t1", "2"), "facts", None, "conversation-1"),
        Question("B?", (), "unknown", None, "conversation-1"),
    )


def test_a_dialogue_without_questions_has_none() -> None:
    assert read_questions(b'[{"role": "user", "content": "x"}]') == ()


@pytest.mark.parametrize("question", [{"gold": []}, {"question": " "}, "text", {"question": "a\0"}])
def test_a_question_without_words_is_refused(question: object) -> None:
    data = {"id": "c", "turns": [{"text": "x"}], "questions": [question]}
    with pytest.raises(InvalidInputError) as caught:
        read_questions(json.dumps(data).encode())
    assert caught.value.details["conversation"] == "c"


def test_what_is_no_dialogue_has_no_questions() -> None:
    with pytest.raises(UnsupportedFormatError):
        read_questions(b'{"a": 1}')
