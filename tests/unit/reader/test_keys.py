"""Idempotency keys of drafts: the same input again is the same; only what is new is new."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.draft import Draft, idempotency_key
from memos_ray.core.reader.options import ChunkSize, ReadOptions
from memos_ray.core.reader.read import read

TURN = Draft(text="hello", semantic_type=SemanticType.EPISODE, conversation="c", position=3)


def keys(data: bytes, name: str, options: ReadOptions | None = None) -> list[str]:
    found = read(data, name, options or ReadOptions(conversation="c"))
    return [idempotency_key("file:a", draft) for draft in found if isinstance(draft, Draft)]


def messages(*texts: str) -> bytes:
    return json.dumps([{"role": "user", "content": text} for text in texts]).encode()


def test_the_same_input_has_the_same_keys() -> None:
    data = messages("one", "two", "one")
    assert keys(data, "a.json") == keys(data, "a.json")
    assert len(set(keys(data, "a.json"))) == 3


def test_a_dialogue_that_has_grown_keeps_its_old_keys() -> None:
    before = keys(messages("one", "two"), "a.json")
    assert keys(messages("one", "two", "three"), "a.json")[:2] == before


def test_text_that_moves_inside_a_document_keeps_its_key() -> None:
    options = ReadOptions(conversation="c", chunks=ChunkSize(5))
    before = keys(b"# A\n\none two three\n", "a.md", options)
    after = keys(b"# New\n\nsomething else\n\n# A\n\none two three\n", "a.md", options)
    assert set(before) < set(after)


def test_dated_events_are_known_by_what_they_say_wherever_they_stand() -> None:
    first = b'{"time": "2023-05-08T00:00:00Z", "type": "x", "host": "a"}\n'
    second = b'{"time": "2023-05-09T00:00:00Z", "type": "x", "host": "a"}\n'
    assert set(keys(first, "a.jsonl")) < set(keys(second + first, "a.jsonl"))


def test_an_item_with_an_id_may_move() -> None:
    named = replace(TURN, source_item="m1")
    moved = replace(named, position=9)
    assert idempotency_key("a", named) == idempotency_key("a", moved)
    assert idempotency_key("a", TURN) != idempotency_key("a", replace(TURN, position=9))


@pytest.mark.parametrize(
    "change",
    [
        {"text": "hello!"},
        {"speaker": "Ann"},
        {"role": "user"},
        {"conversation": "d"},
        {"session": "s"},
        {"event_time": datetime(2023, 5, 8, tzinfo=UTC)},
        {"attachments": ("https://x/1",)},
        {"semantic_type": SemanticType.EVENT},
    ],
)
def test_what_says_something_else_is_something_else(change: dict[str, Any]) -> None:
    assert idempotency_key("a", TURN) != idempotency_key("a", replace(TURN, **change))


def test_two_sources_never_share_a_key() -> None:
    assert idempotency_key("a", TURN) != idempotency_key("b", TURN)
    split = replace(TURN, speaker="a", session="b"), replace(TURN, speaker="b", session="a")
    assert idempotency_key("x", split[0]) != idempotency_key("x", split[1])


def test_what_is_derived_does_not_count() -> None:
    """Better readers must not store everything again."""
    tagged = replace(TURN, tags=("new",), source_uri="file:elsewhere")
    assert idempotency_key("a", TURN) == idempotency_key("a", tagged)
