"""Which format an input is in, from its name and its first bytes."""

from __future__ import annotations

import re
from enum import StrEnum

from memos_ray.errors import UnsupportedFormatError


class Format(StrEnum):
    """Formats that can be read."""

    MESSAGES = "messages"
    MESSAGES_JSONL = "messages-jsonl"
    LOCOMO = "locomo"
    NEUTRAL = "neutral"
    EVENTS_JSONL = "events-jsonl"
    EVENTS_CSV = "events-csv"
    MARKDOWN = "markdown"
    TEXT = "text"
    PDF = "pdf"


# 4 KiB are enough for every rule here.
HEAD_BYTES = 4096
_SUFFIXES = {
    "md": Format.MARKDOWN,
    "markdown": Format.MARKDOWN,
    "txt": Format.TEXT,
    "text": Format.TEXT,
    "log": Format.TEXT,
    "rst": Format.TEXT,
    "pdf": Format.PDF,
    "csv": Format.EVENTS_CSV,
    "tsv": Format.EVENTS_CSV,
}
_JSON_SUFFIXES = frozenset({"json", "jsonl", "ndjson"})
_LINE_SUFFIXES = frozenset({"jsonl", "ndjson"})
# An unescaped name before a colon is a key, never content.
_KEY = re.compile(rb'(?<!\\)"(\w{1,40})"\s*:')
_DIALOGUE_KEYS = frozenset(
    {b"role", b"content", b"messages", b"turns", b"speaker", b"from", b"tool_calls", b"dia_id"}
)
_LOCOMO_KEYS = frozenset(
    {b"dia_id", b"session_1", b"session_1_date_time", b"evidence", b"speaker_a"}
)
_EVENT_KEYS = frozenset({b"time", b"timestamp", b"type", b"event", b"date", b"ts", b"event_type"})
_MARKDOWN_SIGN = re.compile(rb"(?m)^(?:#{1,6} \S|```|\s*[-*] \[[ x]\] |\[.+\]: )|\]\(\S+\)")


def supported() -> list[str]:
    """Returns the names of all formats."""
    return [one.value for one in Format]


def detect_format(name: str, head: bytes) -> Format:
    """Picks the format of an input. What the bytes prove goes before what the name says.

    Args:
        name: file name or URI, possibly empty.
        head: the first `HEAD_BYTES` bytes or more.

    Raises:
        UnsupportedFormatError: none fits; the message and `supported` name those that would.
    """
    head = head[: max(HEAD_BYTES, 1)]
    suffix = _suffix(name)
    if b"%PDF-" in head[:1024]:
        return Format.PDF
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if suffix in _JSON_SUFFIXES or (not suffix and body[:1] in {b"[", b"{"}):
        return _json_format(suffix, body)
    if not suffix and body and b"\0" not in head:
        return Format.MARKDOWN if _MARKDOWN_SIGN.search(head) else Format.TEXT
    raise UnsupportedFormatError(
        f"no reader for {'.' + suffix if suffix else 'this input'};"
        f" supported are {', '.join(supported())}",
        supported=supported(),
    )


def _suffix(name: str) -> str:
    last = name.split("?")[0].split("#")[0].replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = last.rpartition(".")
    return suffix.lower() if dot and stem and len(suffix) <= 8 and suffix.isalnum() else ""


def _json_format(suffix: str, body: bytes) -> Format:
    keys = frozenset(_KEY.findall(body))
    if suffix in _LINE_SUFFIXES or (not suffix and _is_lines(body)):
        events = keys.isdisjoint(_DIALOGUE_KEYS) and not keys.isdisjoint(_EVENT_KEYS)
        return Format.EVENTS_JSONL if events else Format.MESSAGES_JSONL
    if not keys.isdisjoint(_LOCOMO_KEYS):
        return Format.LOCOMO
    if b"conversations" in keys or b"turns" in keys:
        return Format.NEUTRAL
    return Format.MESSAGES


def _is_lines(body: bytes) -> bool:
    first, _, rest = body.partition(b"\n")
    return first.rstrip().endswith(b"}") and rest.lstrip()[:1] == b"{"
