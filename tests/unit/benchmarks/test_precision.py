"""Beliefs become memories, and what they give is counted fairly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from benchmarks.precision import Outcome, memory_of


def belief(**changes: Any) -> dict[str, Any]:
    return {
        "_id": "b-kettle",
        "type": "entity",
        "canonical_name": "blue_kettle",
        "aliases": ["kettle", "teapot"],
        "content": "It stands on the stove.",
        "scope": ["domain:home"],
        "epistemic_status": "active",
        "pinned": False,
        "resolved_at": None,
        "updated_at": "2026-02-01T00:00:00Z",
        **changes,
    }


def outcome(relevant: set[str], expected: set[str] | None, *problems: str) -> Outcome:
    found = frozenset(relevant)
    return Outcome("case", found, None if expected is None else frozenset(expected), problems, 0.0)


def test_names_are_text_and_tags() -> None:
    memory = memory_of(belief())
    assert memory.text == "blue kettle, kettle, teapot: It stands on the stove."
    assert memory.tags == ["blue kettle", "kettle", "teapot", "domain:home"]
    assert memory.valid_to is None
    assert memory.attributes == {"question": False, "pinned": False, "everywhere": False}


def test_what_is_resolved_or_superseded_has_ended() -> None:
    resolved = memory_of(belief(type="open_question", resolved_at="2026-01-05T00:00:00Z"))
    assert resolved.valid_to == datetime(2026, 1, 5, tzinfo=UTC)
    assert resolved.attributes["question"] is True
    superseded = memory_of(belief(epistemic_status="superseded"))
    assert superseded.valid_to == datetime(2026, 2, 1, tzinfo=UTC)


def test_nothing_found_is_not_precise() -> None:
    assert outcome(set(), {"a"}).precision == 0.0
    assert outcome({"a", "b"}, {"a"}).precision == 0.5
    assert outcome({"a"}, {"a", "b"}).recall == 0.5


def test_only_cases_that_expect_something_are_active() -> None:
    assert outcome({"a"}, {"a"}).active
    assert not outcome(set(), set()).active
    assert not outcome({"a"}, None).active
