"""Which reader an input gets, and what happens to inputs that none can read."""

from __future__ import annotations

import pytest

from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.formats import Format, detect_format, supported
from memos_ray.core.reader.options import ReadOptions
from memos_ray.core.reader.read import read
from memos_ray.errors import InvalidInputError, UnsupportedFormatError

LOCOMO = b'[{"sample_id": "c1", "conversation": {"session_1": [{"dia_id": "D1:1"}]}}]'
NEUTRAL = b'{"conversations": [{"id": "c1", "turns": [{"text": "hello"}]}]}'
MESSAGES = b'[{"role": "user", "content": "hello"}]'
LINES = b'{"role": "user", "content": "hello"}\n{"role": "user", "content": "again"}\n'
EVENTS = b'{"time": "2024-01-01T00:00:00Z", "type": "deploy"}\n{"time": 1704067200, "type": "x"}\n'


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.md", b"words", Format.MARKDOWN),
        ("A.MARKDOWN", b"words", Format.MARKDOWN),
        ("a.txt", b"# words", Format.TEXT),
        ("server.log", b"words", Format.TEXT),
        ("a.csv", b"time,text", Format.EVENTS_CSV),
        ("a.tsv", b"time\ttext", Format.EVENTS_CSV),
        ("a.pdf", b"junk", Format.PDF),
        ("a.txt", b"%PDF-1.7", Format.PDF),
        ("", b"junk %PDF-1.4", Format.PDF),
        ("a.json", LOCOMO, Format.LOCOMO),
        ("a.json", NEUTRAL, Format.NEUTRAL),
        ("a.json", MESSAGES, Format.MESSAGES),
        ("a.json", b'{"messages": []}', Format.MESSAGES),
        ("a.jsonl", LINES, Format.MESSAGES_JSONL),
        ("a.ndjson", EVENTS, Format.EVENTS_JSONL),
        ("", LOCOMO, Format.LOCOMO),
        ("", b"\xef\xbb\xbf" + MESSAGES, Format.MESSAGES),
        ("", LINES, Format.MESSAGES_JSONL),
        ("", EVENTS, Format.EVENTS_JSONL),
        ("", b"# Title\n\nwords", Format.MARKDOWN),
        ("", b"see [this](https://example.org)", Format.MARKDOWN),
        ("", b"only words, 5 # of them", Format.TEXT),
        ("https://example.org/notes.md?raw=1#top", b"words", Format.MARKDOWN),
        ("C:\\notes\\a.json", MESSAGES, Format.MESSAGES),
        (".hidden", b"only words", Format.TEXT),
        ("README", b"only words", Format.TEXT),
    ],
)
def test_detection(name: str, head: bytes, expected: Format) -> None:
    assert detect_format(name, head) is expected


def test_what_is_said_inside_a_message_does_not_decide() -> None:
    quoted = b'[{"role": "user", "content": "the key \\"dia_id\\": and \\"evidence\\": are odd"}]'
    assert detect_format("a.json", quoted) is Format.MESSAGES


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.docx", b"PK\x03\x04"), ("", b"\x00\x01\x02"), ("photo.jpeg", b"\xff")],
)
def test_an_unknown_format_is_refused_with_those_that_are_known(name: str, head: bytes) -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        detect_format(name, head)
    assert caught.value.details["supported"] == supported()


def drafts(data: bytes, name: str = "", format: Format | None = None) -> list[str]:
    found = list(read(data, name, ReadOptions(conversation="c"), format=format))
    assert not [one for one in found if isinstance(one, ItemError)]
    return [one.text for one in found if isinstance(one, Draft)]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (MESSAGES, "a.json", ["hello"]),
        (NEUTRAL, "a.json", ["hello"]),
        (LINES, "a.jsonl", ["hello", "again"]),
        (b"time,text\n2024-01-01,deployed\n", "a.csv", ["deployed"]),
        (b"just words", "", ["just words"]),
        (b"# Title\n\nwords", "a.md", ["# Title\n\nwords"]),
    ],
)
def test_every_format_comes_in_by_one_door(data: bytes, name: str, expected: list[str]) -> None:
    assert drafts(data, name) == expected


def test_the_caller_may_know_better_than_the_name() -> None:
    assert drafts(b"# not a title", "a.md", Format.TEXT) == ["# not a title"]


@pytest.mark.parametrize("data", [b"", b"  \n\t "])
def test_nothing_is_no_input(data: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read(data, "a.txt", ReadOptions())
    assert caught.value.details["reason"] == "empty"
