"""Event records: JSONL and CSV, with text or with fields that make one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.events import read_events_csv, read_events_jsonl
from memos_ray.core.reader.options import ReadOptions
from memos_ray.errors import InvalidInputError

OPTIONS = ReadOptions(conversation="ops", source_uri="file:log")


def jsonl(*values: object) -> list[Draft | ItemError]:
    data = b"\n".join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)
    return list(read_events_jsonl(io.BytesIO(data), OPTIONS))


def csv(text: str | bytes) -> list[Draft | ItemError]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_events_csv(io.BytesIO(data), OPTIONS))


def drafts(found: list[Draft | ItemError]) -> list[Draft]:
    return [one for one in found if isinstance(one, Draft)]


def errors(found: list[Draft | ItemError]) -> list[tuple[int, str]]:
    return [(one.position, one.code) for one in found if isinstance(one, ItemError)]


def test_an_event_with_a_text() -> None:
    (draft,) = drafts(
        jsonl(
            {
                "id": "e1",
                "timestamp": "2023-05-08T13:56:00Z",
                "type": "deploy",
                "text": "version 3 went out",
                "actor": "ann",
                "stream": "prod",
                "tags": ["release", 7],
                "host": "web-1",
                "took_s": 3.5,
                "context": {"region": "eu"},
            }
        )
    )
    assert draft.semantic_type is SemanticType.EVENT
    assert draft.text == "version 3 went out"
    assert draft.event_time == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert (draft.speaker, draft.session, draft.source_item) == ("ann", "prod", "e1")
    assert (draft.conversation, draft.source_uri, draft.position) == ("ops", "file:log", 0)
    assert draft.tags == ("release", "7")
    assert draft.attributes == {
        "type": "deploy",
        "host": "web-1",
        "took_s": 3.5,
        "context": '{"region":"eu"}',
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"type": "deploy", "host": "a", "ok": True}, "deploy: host=a; ok=True"),
        ({"type": "deploy"}, "deploy"),
        ({"host": "a"}, "host=a"),
        ({"description": "it fell", "type": "fall"}, "it fell"),
    ],
)
def test_an_event_without_a_text_is_told_by_its_fields(value: dict[str, object], text: str) -> None:
    (draft,) = drafts(jsonl(value))
    assert draft.text == text


def test_bad_lines_cost_only_themselves() -> None:
    found = jsonl({"text": "one"}, b"{", b"5", {}, {"text": "x", "time": "soon"}, {"text": "six"})
    assert errors(found) == [
        (2, "invalid_json"),
        (3, "invalid_item"),
        (4, "empty_item"),
        (5, "invalid_time"),
    ]
    assert [(d.text, d.position) for d in drafts(found)] == [("one", 0), ("six", 5)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_any_delimiter(delimiter: str) -> None:
    rows = [
        ["Time", " Type ", "message", "tags", "Count"],
        ["2023-05-08", "deploy", "went out", "a;b" if delimiter != ";" else "a", "3"],
    ]
    (draft,) = drafts(csv("\n".join(delimiter.join(row) for row in rows)))
    assert draft.text == "went out"
    assert draft.event_time == datetime(2023, 5, 8, tzinfo=UTC)
    assert draft.tags == (("a", "b") if delimiter != ";" else ("a",))
    assert draft.attributes == {"type": "deploy", "count": "3"}


def test_csv_fields_may_hold_anything_in_quotes() -> None:
    found = drafts(csv('\ufefftime,text\r\n2023-05-08,"one, ""two""\nthree"\r\n\r\n,four\r\n'))
    assert [d.text for d in found] == ['one, "two"\nthree', "four"]
    assert found[1].event_time is None


def test_csv_rows_that_are_too_long_are_told_and_short_ones_filled() -> None:
    found = csv("time,type,text\n2023-05-08,x,a,b\n2023-05-08,y\n")
    assert errors(found) == [(2, "too_many_fields")]
    assert [d.text for d in drafts(found)] == ["y"]


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"", "empty", None),
        (b"\n", "empty", None),
        (b"time,text\n2023,\xff\n", "invalid_encoding", 15),
        (b"\xef\xbb\xbftime,t\xff", "invalid_encoding", 9),
    ],
)
def test_csv_that_cannot_be_trusted_is_refused(
    data: bytes, reason: str, offset: int | None
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        csv(data)
    assert caught.value.details["reason"] == reason
    assert caught.value.details.get("byte_offset") == offset


def test_a_field_longer_than_any_is_one_bad_row() -> None:
    found = csv("time,text\n2023-05-08," + "x" * 200_000 + "\n2023-05-08,fine\n")
    assert [code for _, code in errors(found)] == ["invalid_csv"]
    assert [d.text for d in drafts(found)] == ["fine"]
