"""JSONL, one value per line, where a bad line costs only itself."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import orjson

from memos_ray.core.reader.draft import ItemError


def json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, object]]:
    """Yields number and value of each line that is not blank; an `ItemError` for a bad one.

    Args:
        lines: as an open binary file yields them.
    """
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, _value(number, line)


def _value(number: int, line: bytes) -> object:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        message = f"line {number} is not valid UTF-8 at byte {error.start} of the line"
        return ItemError(number, "invalid_encoding", message)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"line {number} is not valid JSON at column {error.colno}: {error.msg}"
        return ItemError(number, "invalid_json", message)
