"""What `ingest` accepts, turned into drafts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.formats import HEAD_BYTES, Format, detect_format
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.gateway.memories.ingestion import IngestOptions, drafts_of, drafts_of_lines

_LINES = frozenset({Format.MESSAGES_JSONL, Format.EVENTS_JSONL, Format.EVENTS_CSV})


@contextmanager
def drafts_from(
    source: Path | str | bytes | Iterable[bytes] | Sequence[Mapping[str, Any]],
    options: IngestOptions,
) -> Iterator[tuple[Iterator[Draft | ItemError], IngestOptions]]:
    """Opens an input; yields its items and the options with what was found out about it.

    Files whose format has one item a line are read as they go and never held in memory.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file cannot be read, is empty or damaged.
        UnsupportedFormatError: no reader knows the format.
    """
    match source:
        case str() | Path():
            with _file_drafts(Path(source), options) as found:
                yield found
        case bytes():
            yield drafts_of(source, options), options
        case list() | tuple() if source and all(isinstance(one, Mapping) for one in source):
            yield drafts_of(orjson.dumps(source, default=str), options), options
        case Iterable():
            yield drafts_of_lines(_checked(source), options), options
        case _:
            raise InvalidInputError("ingest takes a path, bytes, lines or messages")


@contextmanager
def _file_drafts(
    path: Path, options: IngestOptions
) -> Iterator[tuple[Iterator[Draft | ItemError], IngestOptions]]:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head.strip() and len(head) < HEAD_BYTES:
                raise InvalidInputError("the input is empty", reason="empty")
            chosen = options.format or detect_format(path.name, head)
            settled = options.model_copy(
                update={"name": options.name or path.name, "format": chosen}
            )
            file.seek(0)
            if chosen in _LINES:
                yield drafts_of_lines(file, settled), settled
            else:
                yield drafts_of(file.read(), settled), settled
    except FileNotFoundError:
        raise NotFoundError("there is no such file", path=str(path)) from None
    except OSError as error:
        raise InvalidInputError(
            "the file cannot be read", path=str(path), reason=error.strerror
        ) from None


def _checked(lines: Iterable[object]) -> Iterator[bytes]:
    for line in lines:
        if not isinstance(line, bytes):
            raise InvalidInputError("lines are given as bytes", field="source")
        yield line
