"""The follow-up questions of the benchmark fit the conversations that they are about."""

from __future__ import annotations

import json
from collections import Counter

from benchmarks.followups.__main__ import EXAMPLES, read, rewriting_times
from memos_ray.core.reader.dialogue import parse_conversations
from memos_ray.gateway.memories.understanding_models import Question


def test_READ_2_gold_turns_are_there_and_turns_are_messages() -> None:
    counted: Counter[str] = Counter()
    for language, name, question in read():
        counted[language] += 1
        (conversation,) = parse_conversations((EXAMPLES / name).read_bytes())
        known = {turn["id"] for turn in conversation.turns if isinstance(turn, dict)}
        assert question["gold"] and set(question["gold"]) <= known, question
        assert question["in_full"] != question["question"]
        asked = {"query": question["question"], "turns": question["turns"]}
        turns = Question.model_validate(asked).turns
        assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert counted["en"] >= 40 and counted["zh"] >= 20 and counted["de"] >= 5


def test_READ_2_questions_are_asked_once() -> None:
    asked = Counter(
        json.dumps([question["turns"], question["question"]]) for _, _, question in read()
    )
    assert max(asked.values()) == 1


def test_READ_2_rewriting_is_timed_for_every_question() -> None:
    assert set(rewriting_times(repeats=1)) == {"p50_ms", "p95_ms", "p99_ms"}
