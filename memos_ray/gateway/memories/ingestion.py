"""From an input of any known format to stored memories; the same for REST and the SDK.

    bytes ─ core.reader ─▶ drafts and item errors ─▶ batches of NewMemory ─▶ writes ─▶ report

Every item is written under a key made of its source and content, so that repeating an ingest, or
resuming one that was cut off, stores what is missing and nothing twice. What stands elsewhere in
its source by now, or is said there again, is known by its key, too: it stays as it was stored.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError

from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.reader.dialogue import read_jsonl
from memos_ray.core.reader.draft import Draft, ItemError, idempotency_key
from memos_ray.core.reader.events import read_events_csv, read_events_jsonl
from memos_ray.core.reader.formats import Format
from memos_ray.core.reader.options import ChunkSize, ReadOptions
from memos_ray.core.reader.read import read
from memos_ray.errors import IdempotencyConflictError, InvalidInputError, MemosError
from memos_ray.gateway.fields import AttributeName, AttributeValue, Model, Moment, Name
from memos_ray.gateway.memories.bodies import IngestItem, IngestReport
from memos_ray.gateway.memories.mapping import problem_of
from memos_ray.gateway.memories.models import (
    AttachmentRef,
    NewMemory,
    Source,
    Span,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.paging import decode_token, encode_token
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.problems import error_of_validation

_BATCH = 256

Keep = Callable[[bytes], str | None]
"""Stores the bytes of an attachment and returns their digest; nothing where it cannot."""
Writer = Callable[[Sequence[NewMemory]], Awaitable[WriteReport]]
Progress = Callable[[int], None]
"""Hears how many items have been dealt with so far."""


class IngestOptions(Model):
    """What a caller says about an input.

    `source` is the stable identity of the input (its URI, say): items of one source are written
    once, whatever their number of tries. The name of the file stands in for it.
    """

    format: Format | None = None
    name: Annotated[str, Field(max_length=1024)] = ""
    source: Annotated[str, Field(max_length=2048)] | None = None
    conversation: Name | None = None
    tz: Name = "UTC"
    event_time: Moment | None = None
    language: Name | None = None
    chunk_words: Annotated[int, Field(ge=8, le=4096)] = 180
    chunk_overlap: Annotated[int, Field(ge=0, le=2048)] = 0
    tags: list[Name] = Field(default_factory=list)
    attributes: dict[AttributeName, AttributeValue] = Field(default_factory=dict)
    visibility: Visibility | None = None
    extract: bool = False

    @property
    def identity(self) -> str:
        """What the idempotency keys are made with."""
        return self.source or self.name

    def reading(self) -> ReadOptions:
        """Makes the reader's options.

        Raises:
            InvalidInputError: there is no such time zone, or the overlap is too long.
        """
        try:
            zone = ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidInputError("there is no such time zone", field="tz") from None
        return ReadOptions(
            source_uri=self.source or self.name or None,
            conversation=self.conversation,
            tz=zone,
            event_time=self.event_time,
            language=self.language,
            chunks=ChunkSize(self.chunk_words, self.chunk_overlap),
        )


def drafts_of(data: bytes, options: IngestOptions) -> Iterator[Draft | ItemError]:
    """Reads a whole input.

    Raises:
        InvalidInputError: empty, damaged or not text.
        UnsupportedFormatError: no reader knows it.
        ConfigurationError: the format needs the extra `memos-ray[ingest]`.
    """
    return read(data, options.name, options.reading(), format=options.format)


def drafts_of_lines(lines: Iterable[bytes], options: IngestOptions) -> Iterator[Draft | ItemError]:
    """Reads an input line by line, for formats in which a line is an item.

    Raises:
        InvalidInputError: the format is not stated, or not one of lines.
    """
    reading = options.reading()
    match options.format:
        case Format.MESSAGES_JSONL:
            return read_jsonl(lines, reading)
        case Format.EVENTS_JSONL:
            return read_events_jsonl(lines, reading)
        case Format.EVENTS_CSV:
            return read_events_csv(lines, reading)
        case _:
            raise InvalidInputError(
                "lines need a line format: messages-jsonl, events-jsonl or events-csv",
                field="format",
            )


@dataclass(slots=True)
class _Tally:
    results: list[IngestItem] = field(default_factory=list)
    stored: int = 0
    replayed: int = 0
    failed: int = 0
    unkept: int = 0
    newest: dict[int, int] = field(default_factory=dict)

    def fail(self, position: int, problem: Problem, item: str | None) -> None:
        self.failed += 1
        self.results.append(IngestItem(position=position, item=item, error=problem))

    def note(self, position: int, item: str | None, result: WriteResult) -> None:
        if result.error is not None:
            self.fail(position, result.error, item)
            return
        self.stored += not result.replayed
        self.replayed += result.replayed
        self.results.append(
            IngestItem(
                position=position,
                item=item,
                id=result.id,
                version=result.version,
                replayed=result.replayed,
            )
        )


class Ingestion:
    """One input on its way into the store.

    Args:
        write: stores a batch.
        keep: stores inline attachments; without it only their digests are noted, and the report
            counts them as unkept.
        progress: called after each batch.
    """

    def __init__(
        self,
        options: IngestOptions,
        write: Writer,
        *,
        keep: Keep | None = None,
        progress: Progress | None = None,
        batch: int = _BATCH,
    ) -> None:
        self._options = options
        self._write = write
        self._keep = keep
        self._progress = progress
        self._batch = batch
        self._tally = _Tally()
        self._position = 0

    async def run(self, items: Iterator[Draft | ItemError]) -> IngestReport:
        """Writes everything that can be read.

        Raises:
            MemosError: a whole batch could not be written; run again to go on from there.
        """
        while batch := await asyncio.to_thread(lambda: list(islice(items, self._batch))):
            prepared = await asyncio.to_thread(self._prepare, batch)
            await self._store(prepared)
            if self._progress is not None:
                self._progress(len(self._tally.results))
        tally = self._tally
        return IngestReport(
            total=len(tally.results),
            stored=tally.stored,
            replayed=tally.replayed,
            failed=tally.failed,
            unkept_attachments=tally.unkept,
            results=tally.results,
            token=encode_token(tally.newest),
        )

    def _prepare(self, batch: Sequence[Draft | ItemError]) -> list[tuple[int, Draft, NewMemory]]:
        prepared = []
        for item in batch:
            self._position += 1
            if isinstance(item, ItemError):
                error = InvalidInputError(item.message, reason=item.code)
                self._tally.fail(item.position, problem_of(error), None)
                continue
            try:
                prepared.append((self._position, item, self._memory(item)))
            except ValidationError as error:
                problem = problem_of(error_of_validation(error))
                self._tally.fail(self._position, problem, item.source_item)
            except MemosError as error:
                self._tally.fail(self._position, problem_of(error), item.source_item)
        return prepared

    async def _store(self, prepared: Sequence[tuple[int, Draft, NewMemory]]) -> None:
        if not prepared:
            return
        results = await self._written([memory for _, _, memory in prepared])
        for (position, draft, _), result in zip(prepared, results, strict=True):
            self._tally.note(position, draft.source_item, result)

    async def _written(self, memories: Sequence[NewMemory]) -> list[WriteResult]:
        results = await self._outcomes(memories)
        again = {
            place: another
            for place, memory in enumerate(memories)
            if (another := _again(memory, results[place])) is not None
        }
        if again:
            outcomes = await self._outcomes(list(again.values()))
            for place, result in zip(again, outcomes, strict=True):
                results[place] = result
        return results

    async def _outcomes(self, memories: Sequence[NewMemory]) -> list[WriteResult]:
        report = await self._write(memories)
        for partition, lsn in decode_token(report.token).items():
            newest = self._tally.newest
            newest[partition] = max(newest.get(partition, 0), lsn)
        return list(report.results)

    def _memory(self, draft: Draft) -> NewMemory:
        options = self._options
        attachments = [self._attachment(uri) for uri in draft.attachments]
        kinds = ", ".join(dict.fromkeys(one.media_type for one in attachments))
        return NewMemory(
            # A memory is found by its words; a lone picture has at least its kind.
            text=draft.text or f"[{kinds}]",
            idempotency_key=idempotency_key(options.identity, draft),
            semantic_type=draft.semantic_type,
            origin=Origin.IMPORT,
            tags=list(dict.fromkeys((*draft.tags, *options.tags))),
            conversation=draft.conversation,
            session=draft.session,
            position=draft.position,
            speaker=draft.speaker,
            role=draft.role,
            event_time=draft.event_time,
            mentions=[Span(start=one.start, end=one.end) for one in draft.mentions],
            sources=_sources(draft),
            attachments=attachments,
            attributes={**draft.attributes, **options.attributes},
            visibility=options.visibility,
            extract=options.extract,
        )

    def _attachment(self, uri: str) -> AttachmentRef:
        if not uri.startswith("data:"):
            return AttachmentRef(digest="", media_type="application/octet-stream", uri=uri)
        media_type, content = _inline(uri)
        kept = self._keep(content) if self._keep is not None else None
        self._tally.unkept += kept is None
        found = kept or digest_of(content)
        return AttachmentRef(digest=found, media_type=media_type, size_bytes=len(content))


def _again(memory: NewMemory, result: WriteResult) -> NewMemory | None:
    """Returns how to write what conflicts with what is held of this source.

    In the namespace it is known by its key, wherever it stands by now; what another namespace of
    the same partition holds needs another key here.
    """
    earlier = _earlier(result)
    if earlier is None:
        return None
    changes: dict[str, Any] = {"known_by_key": True}
    if earlier["namespace"] != earlier["asked"]:
        key = (memory.idempotency_key or "").encode()
        changes["idempotency_key"] = digest(b"ingest/2", key, earlier["asked"].encode())
    return memory.model_copy(update=changes)


def _earlier(result: WriteResult) -> dict[str, Any] | None:
    problem = result.error
    if problem is None or problem.code != IdempotencyConflictError.code:
        return None
    # An older server does not say what the key has stored.
    return problem.details if "asked" in problem.details else None


def digest_of(content: bytes) -> str:
    """Returns the digest that the blob store gives these bytes: blake2b-256, hex."""
    return blake2b(content, digest_size=32).hexdigest()


def _inline(uri: str) -> tuple[str, bytes]:
    """Reads a `data:` URI (RFC 2397)."""
    head, comma, body = uri.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidInputError("an attachment is no data URI", field="attachments")
    media_type = head.removesuffix(";base64") or "text/plain"
    if not head.endswith(";base64"):
        return media_type, unquote_to_bytes(body)
    try:
        return media_type, b64decode(body, validate=True)
    except Base64Error:
        raise InvalidInputError("an attachment is not valid base64", field="attachments") from None


def _sources(draft: Draft) -> list[Source]:
    if draft.source_uri is None and draft.source_item is None:
        return []
    return [Source(uri=draft.source_uri, item=draft.source_item)]
