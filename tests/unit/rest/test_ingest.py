"""Ingest over REST: forms and JSON, good items and bad ones."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from memos_ray.errors import (
    InvalidInputError,
    MemosError,
    PayloadTooLargeError,
    UnauthenticatedError,
    UnsupportedFormatError,
)
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

_INGEST = "/v1/ingest"
_MESSAGES = [
    {"role": "user", "content": "I moved to Lisbon last month, said the walrus."},
    {"role": "assistant", "content": "How do you like it there?"},
]


async def _place(door: RestDoor, name: str) -> dict[str, str]:
    return {"namespace": await door.memos.namespace(f"user:admin/{name}")}


async def _texts(door: RestDoor, place: dict[str, str]) -> list[str]:
    page = await door.done("GET", "/v1/memories", params={**place, "limit": 100})
    return sorted(one["text"] for one in page["memories"])


async def test_messages_in_json_are_stored_once(door: RestDoor) -> None:
    place = await _place(door, "messages")
    params = {**place, "source": "chat-7", "conversation": "chat-7", "tag": ["imported", "chat"]}
    first = await door.done("POST", _INGEST, {"content": _MESSAGES}, params=params)
    assert (first["total"], first["stored"], first["replayed"], first["failed"]) == (2, 2, 0, 0)
    again = await door.done("POST", _INGEST, {"content": _MESSAGES}, params=params)
    assert (again["stored"], again["replayed"]) == (0, 2)
    assert await _texts(door, place) == sorted(one["content"] for one in _MESSAGES)
    page = await door.done("GET", "/v1/memories", params={**place, "tag": "imported"})
    assert {one["conversation"] for one in page["memories"]} == {"chat-7"}


async def test_a_markdown_file_in_a_form(door: RestDoor) -> None:
    place = await _place(door, "notes")
    text = b"# Trip\n\nThe walrus takes the night train.\n\n## Packing\n\nA scarf and a map.\n"
    files = {"file": ("trip.md", text, "text/markdown")}
    report = await door.done("POST", _INGEST, params=place, files=files)
    assert report["stored"] == 2
    page = await door.done("GET", "/v1/memories", params=place)
    assert {one["session"] for one in page["memories"]} == {"Trip", "Trip > Packing"}
    assert {one["sources"][0]["uri"] for one in page["memories"]} == {"trip.md"}


async def _ingest(door: RestDoor, place: dict[str, str], text: str) -> tuple[int, int, int]:
    report = await door.done(
        "POST", _INGEST, params=place, files={"file": ("log.md", text.encode(), "text/markdown")}
    )
    assert all(one["id"] for one in report["results"])
    return report["stored"], report["replayed"], report["failed"]


async def test_a_document_that_was_edited_adds_what_is_new(door: RestDoor) -> None:
    place = await _place(door, "edited")
    parts = [f"## Day {day}\n\nThe walrus has swum {day} miles.\n" for day in range(4)]
    assert await _ingest(door, place, "".join(parts[1:])) == (3, 0, 0)
    assert await _ingest(door, place, "".join(parts)) == (1, 3, 0), "the others have moved"
    assert len(await _texts(door, place)) == 4


async def test_what_a_document_says_again_is_held_once(door: RestDoor) -> None:
    place = await _place(door, "repeating")
    assert await _ingest(door, place, "## Note\n\nFor the walrus only.\n\n" * 3) == (1, 2, 0)
    assert len(await _texts(door, place)) == 1


async def test_two_namespaces_may_hold_the_same_document(door: RestDoor) -> None:
    """Of five namespaces, two share one of the four partitions, and its idempotency keys."""
    places = [await _place(door, f"copy-{number}") for number in range(5)]
    text = "## Note\n\nFor every walrus.\n"
    for place in places:
        assert await _ingest(door, place, text) == (1, 0, 0)
        assert await _ingest(door, place, "## New\n\nNews.\n\n" + text) == (1, 1, 0)
        assert len(await _texts(door, place)) == 2


async def test_lines_that_cannot_be_read_fail_alone(door: RestDoor) -> None:
    place = await _place(door, "events")
    text = (
        '{"time": "2023-05-01T10:00:00Z", "text": "door opened"}\n'
        "{broken walrus\n"
        '{"time": "not a time", "text": "walrus"}\n'
        '{"time": "2023-05-01T10:05:00Z", "text": "door closed"}\n'
    )
    params = {**place, "format": "events-jsonl", "source": "doors.jsonl"}
    answer = await door.call("POST", _INGEST, {"text": text}, params=params)
    assert answer.status_code == 207
    report = answer.json()
    assert (report["stored"], report["failed"]) == (2, 2)
    failed = [one for one in report["results"] if one["error"]]
    assert [one["position"] for one in failed] == [2, 3]
    assert [one["error"]["details"]["reason"] for one in failed] == ["invalid_json", "invalid_time"]
    assert "walrus" not in str(failed)
    short = await door.done("POST", _INGEST, {"text": text}, params={**params, "only_failed": 1})
    assert [one["position"] for one in short["results"]] == [2, 3]
    assert (short["total"], short["replayed"]) == (4, 2)


async def test_columns_may_be_called_anything(door: RestDoor) -> None:
    place = await _place(door, "orders")
    table = "time,text,Order ID,金额\n2023-05-01 10:00,paid,17,9.5\n"
    params = {**place, "format": "events-csv", "source": "orders.csv"}
    report = await door.done("POST", _INGEST, {"text": table}, params=params)
    assert (report["stored"], report["failed"]) == (1, 0)
    found = await door.done(
        "GET", "/v1/memories", params={**place, "filter": 'attributes."order id":"17"'}
    )
    assert found["memories"][0]["attributes"] == {"order id": "17", "金额": "9.5"}


async def test_CUBE_7_an_inline_attachment_goes_to_the_blob_store(door: RestDoor) -> None:
    place = await _place(door, "pictures")
    picture = "data:image/png;base64," + b64encode(b"not really a picture").decode()
    part = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    content = [{"role": "user", "content": part}]
    report = await door.done("POST", _INGEST, {"content": content}, params=place)
    assert (report["stored"], report["unkept_attachments"]) == (1, 0)
    page = await door.done("GET", "/v1/memories", params=place)
    (attachment,) = page["memories"][0]["attachments"]
    assert attachment["media_type"] == "image/png"
    assert door.memos.doorway.blobs().get(attachment["digest"]) == b"not really a picture"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"json": {}}, InvalidInputError),
        ({"json": []}, InvalidInputError),
        ({"json": {"text": "a", "content": []}}, InvalidInputError),
        ({"json": {"text": "a", "colour": "walrus"}}, InvalidInputError),
        ({"json": {"text": ""}}, InvalidInputError),
        ({"json": {"text": 7}}, InvalidInputError),
        ({"json": {"content": 7}}, InvalidInputError),
        ({"json": {"content": "walrus"}}, InvalidInputError),
        ({"json": {"content": {"walrus": 1}}}, UnsupportedFormatError),
        ({"json": {"text": "a"}, "params": {"format": "walrus"}}, InvalidInputError),
        ({"json": {"text": "a"}, "params": {"tz": "Mars/Olympus"}}, InvalidInputError),
        ({"json": {"text": "a"}, "params": {"tz": "../../etc/passwd"}}, InvalidInputError),
        ({"json": {"text": "a"}, "params": {"chunk_words": 7}}, InvalidInputError),
        (
            {"json": {"text": "a"}, "params": {"chunk_words": 10, "chunk_overlap": 10}},
            InvalidInputError,
        ),
        ({"json": {"text": "a"}, "params": {"event_time": "2023"}}, InvalidInputError),
        ({"json": {"text": "a,b"}, "params": {"name": "walrus.xlsx"}}, UnsupportedFormatError),
        ({"json": {"text": "%PDF-1.7 walrus"}}, InvalidInputError),
        ({"json": {"text": "{"}, "params": {"format": "messages"}}, InvalidInputError),
        ({"files": {"other": ("a.txt", b"walrus")}}, InvalidInputError),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))]}, InvalidInputError),
        ({"files": {"file": ("a.txt", b"caf\xe9 walrus")}}, InvalidInputError),
        ({"files": {"file": ("a.txt", b"")}}, InvalidInputError),
        ({"content": b"walrus"}, InvalidInputError),
        ({"content": b"walrus", "headers": {"Content-Type": "text/plain"}}, InvalidInputError),
        (
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
            InvalidInputError,
        ),
        (
            {"content": b"walrus", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            InvalidInputError,
        ),
    ],
)
async def test_inputs_that_nobody_can_read(
    door: RestDoor, arguments: dict[str, Any], expected: type[MemosError]
) -> None:
    answer = await door.call("POST", _INGEST, **arguments)
    problem_in(answer, expected)
    assert "walrus" not in answer.text.replace("walrus.xlsx", "")


async def test_a_namespace_that_is_closed_fails_every_item(door: RestDoor) -> None:
    params = {"namespace": "nowhere"}
    answer = await door.call("POST", _INGEST, {"content": _MESSAGES}, params=params)
    assert answer.status_code == 207
    assert [one["error"]["code"] for one in answer.json()["results"]] == ["not_found"] * 2


async def test_a_caller_is_known_before_anything_is_read(door: RestDoor) -> None:
    answer = await door.call("POST", _INGEST, {"text": "a"}, key="")
    problem_in(answer, UnauthenticatedError)


async def test_a_file_over_the_limit_is_refused(door: RestDoor) -> None:
    files = {"file": ("a.txt", b"walrus " * 20_000)}
    problem_in(await door.call("POST", _INGEST, files=files), PayloadTooLargeError)
