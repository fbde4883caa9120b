"""Checks the shape of the example conversations, which the demo and the default benchmark read."""

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = {"conversation.json": 300, "conversation.de.json": 150, "conversation.zh.json": 60}
DATE_FORMAT = "%I:%M %p on %d %B, %Y"
ADVERSARIAL = 5


@pytest.fixture(scope="module", params=sorted(FILES))
def example(request: pytest.FixtureRequest) -> tuple[str, dict]:
    name = request.param
    samples = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert len(samples) == 1
    return name, samples[0]


def sessions(sample: dict) -> list[tuple[int, list[dict]]]:
    numbers = sorted(
        int(match.group(1))
        for key in sample["conversation"]
        if (match := re.fullmatch(r"session_(\d+)", key))
    )
    return [(number, sample["conversation"][f"session_{number}"]) for number in numbers]


def turns(sample: dict) -> list[dict]:
    return [turn for _, session in sessions(sample) for turn in session]


def test_layout(example: tuple[str, dict]) -> None:
    _, sample = example
    assert set(sample) == {"sample_id", "conversation", "qa"}
    assert sample["sample_id"]
    numbers = [number for number, _ in sessions(sample)]
    assert numbers == list(range(1, len(numbers) + 1))
    expected = {"speaker_a", "speaker_b"}
    for number in numbers:
        expected |= {f"session_{number}", f"session_{number}_date_time"}
    assert set(sample["conversation"]) == expected


def test_turn_count(example: tuple[str, dict]) -> None:
    name, sample = example
    assert len(turns(sample)) >= FILES[name]


def test_turns_are_well_formed(example: tuple[str, dict]) -> None:
    _, sample = example
    conversation = sample["conversation"]
    speakers = {conversation["speaker_a"], conversation["speaker_b"]}
    assert len(speakers) == 2
    for number, session in sessions(sample):
        assert {turn["speaker"] for turn in session} == speakers
        for position, turn in enumerate(session, start=1):
            assert set(turn) == {"speaker", "dia_id", "text"}
            assert turn["dia_id"] == f"D{number}:{position}"
            assert turn["text"] == turn["text"].strip() != ""


def test_turn_ids_are_unique(example: tuple[str, dict]) -> None:
    _, sample = example
    assert [i for i, n in Counter(t["dia_id"] for t in turns(sample)).items() if n > 1] == []


def test_no_turn_is_repeated(example: tuple[str, dict]) -> None:
    _, sample = example
    texts = Counter(turn["text"].casefold() for turn in turns(sample))
    assert [text for text, count in texts.items() if count > 1] == []


def test_english_turns_have_a_natural_length(example: tuple[str, dict]) -> None:
    name, sample = example
    if name != "conversation.json":
        pytest.skip("words are counted by spaces")
    lengths = {turn["dia_id"]: len(turn["text"].split()) for turn in turns(sample)}
    assert {i: n for i, n in lengths.items() if not 4 <= n <= 70} == {}


def test_sessions_are_in_time_order(example: tuple[str, dict]) -> None:
    _, sample = example
    starts = [
        datetime.strptime(sample["conversation"][f"session_{number}_date_time"], DATE_FORMAT)
        for number, _ in sessions(sample)
    ]
    assert starts == sorted(set(starts))


def test_questions_are_well_formed(example: tuple[str, dict]) -> None:
    _, sample = example
    known = {turn["dia_id"] for turn in turns(sample)}
    for item in sample["qa"]:
        assert item["category"] in range(1, 6), item
        answer = "adversarial_answer" if item["category"] == ADVERSARIAL else "answer"
        assert set(item) == {"question", answer, "evidence", "category"}, item
        assert item["question"].strip() and item[answer].strip(), item
        evidence = item["evidence"]
        assert evidence and len(evidence) == len(set(evidence)), item
        assert set(evidence) <= known, item


def test_no_question_is_repeated(example: tuple[str, dict]) -> None:
    _, sample = example
    questions = Counter(item["question"].casefold() for item in sample["qa"])
    assert [question for question, count in questions.items() if count > 1] == []


def test_questions_cover_the_categories(example: tuple[str, dict]) -> None:
    name, sample = example
    counts = Counter(item["category"] for item in sample["qa"])
    if name == "conversation.json":
        assert len(sample["qa"]) >= 110
        assert {category: counts[category] >= 10 for category in range(1, 6)} == dict.fromkeys(
            range(1, 6), True
        )
    else:
        assert len(sample["qa"]) >= 20
        assert {1, 2, 4, 5} <= set(counts)


def test_multi_hop_questions_cite_several_turns(example: tuple[str, dict]) -> None:
    _, sample = example
    multi_hop = [item for item in sample["qa"] if item["category"] == 1]
    assert [item for item in multi_hop if not 2 <= len(item["evidence"]) <= 4] == []
