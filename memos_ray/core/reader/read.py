"""The one door of ingest: bytes of any known format go in, drafts and errors come out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import assert_never

from memos_ray.core.reader.dialogue import read_json, read_jsonl
from memos_ray.core.reader.documents import read_markdown, read_pdf, read_text
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.events import read_events_csv, read_events_jsonl
from memos_ray.core.reader.formats import Format, detect_format
from memos_ray.core.reader.options import ReadOptions
from memos_ray.errors import InvalidInputError


def read(
    data: bytes, name: str, options: ReadOptions, *, format: Format | None = None
) -> Iterator[Draft | ItemError]:
    """Reads an input of any known format.

    Args:
        data: the whole input. A JSONL or CSV file too large for that is read with the line readers
            of `dialogue` and `events`.
        name: file name or URI, a hint for the format.
        options: what the caller says about the input.
        format: skips the detection.

    Returns:
        Drafts in the order of the input, with an `ItemError` in place of each bad item.

    Raises:
        InvalidInputError: empty, damaged, encrypted, or not text; details say where.
        UnsupportedFormatError: no reader knows it.
        ConfigurationError: the format needs the extra `memos-ray[ingest]`.
    """
    if not data.strip():
        raise InvalidInputError("the input is empty", reason="empty")
    chosen = format or detect_format(name, data)
    match chosen:
        case Format.MESSAGES | Format.LOCOMO | Format.NEUTRAL:
            return read_json(data, options)
        case Format.MESSAGES_JSONL:
            return read_jsonl(io.BytesIO(data), options)
        case Format.EVENTS_JSONL:
            return read_events_jsonl(io.BytesIO(data), options)
        case Format.EVENTS_CSV:
            return read_events_csv(io.BytesIO(data), options)
        case Format.MARKDOWN:
            return read_markdown(data, options)
        case Format.TEXT:
            return read_text(data, options)
        case Format.PDF:
            return read_pdf(data, options)
    assert_never(chosen)
