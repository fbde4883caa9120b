"""Event records: JSONL or CSV, each with a time, and a text or a type and fields."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Mapping

import orjson

from memos_ray.core.cube.metadata import Attribute, SemanticType
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.json_lines import json_lines
from memos_ray.core.reader.messages import (
    TIME_KEYS,
    UnreadableItemError,
    clean,
    first_name,
    first_time,
    name_of,
    scalars,
)
from memos_ray.core.reader.options import ReadOptions
from memos_ray.core.reader.times import resolve_times
from memos_ray.core.reader.timestamps import parse_timestamp
from memos_ray.errors import InvalidInputError

_TEXT_KEYS = ("text", "message", "description", "content", "summary", "title")
_TYPE_KEYS = ("type", "event_type", "event", "kind", "action")
_ACTOR_KEYS = ("actor", "user", "speaker")
_ITEM_KEYS = ("id", "event_id")
_STREAM_KEYS = ("stream", "session", "session_id")
_DELIMITERS = (",", ";", "\t", "|")


def read_events_jsonl(lines: Iterable[bytes], options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads JSONL lazily, one event per line; a bad line is one error, the rest goes on."""
    position = -1
    for number, value in json_lines(lines):
        position += 1
        if isinstance(value, ItemError):
            yield value
        elif not isinstance(value, dict):
            yield ItemError(number, "invalid_item", "an event is a JSON object")
        else:
            yield _event(value, number, position, options)


def read_events_csv(lines: Iterable[bytes], options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads CSV with a header lazily; comma, semicolon, tab and bar are recognised as delimiters.

    A row that cannot be read is one error, the rest goes on.

    Raises:
        InvalidInputError: no header, or a line that is not UTF-8: where a quoted field may span
            lines, nothing after it can be trusted.
    """
    texts = _decoded(lines)
    header = next(texts, "")
    if not header.strip():
        raise InvalidInputError("the CSV has no header", reason="empty")
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter))]
    rows = csv.reader(texts, delimiter=delimiter)
    position = -1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield ItemError(rows.line_num + 1, "invalid_csv", str(error))
            continue
        number = rows.line_num + 1
        if not any(field.strip() for field in row):
            continue
        position += 1
        if len(row) > len(names):
            yield ItemError(number, "too_many_fields", "the row has more fields than the header")
            continue
        record = {name: value.strip() for name, value in zip(names, row, strict=False) if value}
        yield _event(record, number, position, options)


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    offset = 0
    for number, line in enumerate(lines, 1):
        body = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        try:
            yield body.decode()
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                "the input is not valid UTF-8",
                reason="invalid_encoding",
                byte_offset=offset + len(line) - len(body) + error.start,
                line=number,
            ) from None
        offset += len(line)


def _event(
    value: Mapping[str, object], number: int, position: int, options: ReadOptions
) -> Draft | ItemError:
    try:
        return _draft(value, position, options)
    except UnreadableItemError as error:
        return ItemError(number, error.code, str(error))


def _draft(value: Mapping[str, object], position: int, options: ReadOptions) -> Draft:
    kind, attributes = first_name(value, _TYPE_KEYS), _attributes(value)
    text = first_name(value, _TEXT_KEYS) or _rendered(kind, attributes)
    if not text:
        raise UnreadableItemError("empty_item", "the event has neither text nor type nor fields")
    stated = first_time(value)
    try:
        moment = options.event_time if stated is None else parse_timestamp(stated, options.tz)
    except ValueError as error:
        raise UnreadableItemError("invalid_time", str(error)) from None
    if kind:
        attributes["type"] = kind
    text = clean(text)
    return Draft(
        text=text,
        semantic_type=SemanticType.EVENT,
        speaker=first_name(value, _ACTOR_KEYS),
        conversation=options.conversation,
        session=first_name(value, _STREAM_KEYS),
        position=position,
        event_time=moment,
        mentions=resolve_times(text, moment, tz=options.tz, language=options.language),
        tags=_tags(value.get("tags")),
        source_uri=options.source_uri,
        source_item=first_name(value, _ITEM_KEYS),
        attributes=attributes,
    )


def _attributes(value: Mapping[str, object]) -> dict[str, Attribute]:
    known = {
        *_TEXT_KEYS[:1],
        *_TYPE_KEYS,
        *_ACTOR_KEYS,
        *_ITEM_KEYS,
        *_STREAM_KEYS,
        *TIME_KEYS,
        "tags",
    }
    used = next((key for key in _TEXT_KEYS if name_of(value.get(key)) is not None), None)
    rest = {k: v for k, v in value.items() if k not in known and k != used and v not in (None, "")}
    nested = {k: orjson.dumps(v).decode() for k, v in rest.items() if isinstance(v, dict | list)}
    return scalars(rest | nested)


def _rendered(kind: str | None, attributes: Mapping[str, Attribute]) -> str:
    fields = "; ".join(f"{key}={value}" for key, value in attributes.items())
    return f"{kind}: {fields}" if kind and fields else kind or fields


def _tags(value: object) -> tuple[str, ...]:
    listed = value.split(";") if isinstance(value, str) else value
    if not isinstance(listed, list):
        return ()
    return tuple(name for item in listed if (name := name_of(item)) is not None)
