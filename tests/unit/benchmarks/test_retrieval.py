"""The retrieval benchmark reads every layout that may be given to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.retrieval import namespace_of, split
from memos_ray.core.reader.dialogue import parse_conversations
from memos_ray.core.reader.questions import read_questions

EXAMPLES = Path(__file__).parents[3] / "examples"
TURN = {"id": "t1", "speaker": "Tom", "text": "The kettle broke."}
ASKED = {"question": "What broke?", "gold": ["t1"], "category": "one"}
SAMPLE = {
    "conversation": {
        "session_1": [{"dia_id": "D1:1", "speaker": "Tom", "text": "The kettle broke."}],
        "session_1_date_time": "1:00 pm on 3 May, 2024",
    },
    "qa": [{"question": "What broke?", "evidence": ["D1:1"], "category": 4}],
}
LAYOUTS = {
    "neutral": {
        "conversations": [
            {"id": "对话 1", "turns": [TURN], "questions": [ASKED]},
            {"turns": [TURN], "questions": [ASKED]},
        ]
    },
    "one": {"id": 7, "turns": [TURN], "questions": [ASKED]},
    "locomo": [{"sample_id": "conv-1", **SAMPLE}, {"sample_id": "conv-2", **SAMPLE}],
    "locomo, unnamed": [SAMPLE, SAMPLE],
    "locomo, one": {"sample_id": "conv-1", **SAMPLE},
    "messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_conversations_are_cut_apart(layout: str) -> None:
    content = json.dumps(LAYOUTS[layout]).encode()
    parts = split(content)
    whole = parse_conversations(content)
    assert len(parts) == len(whole)
    for part, conversation in zip(parts.values(), whole, strict=True):
        (alone,) = parse_conversations(part)
        assert alone == conversation
    assert {question.conversation for question in read_questions(content)} <= set(parts)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.json")))
def test_the_shipped_conversations_are_read(name: str) -> None:
    content = (EXAMPLES / name).read_bytes()
    (place,) = split(content)
    questions = read_questions(content)
    assert {question.conversation for question in questions} == {place}
    assert all(question.gold for question in questions)


def test_every_conversation_has_a_namespace_of_its_own() -> None:
    names = ["a b", "a-b", "对话", "對話", "x" * 400, "y/../z", ""]
    places = [namespace_of(name) for name in names]
    assert len(set(places)) == len(names)
    assert all(place.isascii() and len(place) < 256 for place in places)
