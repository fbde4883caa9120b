"""What a caller may say about an input that is about to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Literal

from memos_ray.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How documents are cut.

    Args:
        size: the most that a chunk holds, overlap included. 180 words are about 240 tokens, which
            fits the usual small embedder.
        overlap: how much of a chunk is repeated in the next. Retrieval adds neighbours to a hit by
            itself, so none is needed.
        unit: what is counted; a Chinese or Japanese character counts as a word.

    Raises:
        InvalidInputError: the size is not positive, or the overlap not below it.
    """

    size: int = 180
    overlap: int = 0
    unit: Literal["words", "characters"] = "words"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInputError("a chunk holds at least one unit", field="size")
        if not 0 <= self.overlap < self.size:
            raise InvalidInputError("the overlap is less than the size", field="overlap")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Settings of one read.

    Attributes:
        source_uri: where the input came from; copied to every draft.
        conversation: id of the dialogue or document when the input names none.
        tz: the zone of times that state none, and in which "yesterday" begins.
        event_time: when the input was made, for items that state no time; aware.
        language: BCP 47 hint for times in the text; see `resolve_times`.
        chunks: how documents are cut.
    """

    source_uri: str | None = None
    conversation: str | None = None
    tz: tzinfo = UTC
    event_time: datetime | None = None
    language: str | None = None
    chunks: ChunkSize = field(default_factory=ChunkSize)

    def __post_init__(self) -> None:
        if self.event_time is not None and self.event_time.tzinfo is None:
            raise InvalidInputError("the event time needs a time zone", field="event_time")
