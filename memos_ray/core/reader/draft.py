"""What ingest makes of one input item before it becomes a stored memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import orjson

from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Attribute, SemanticType
from memos_ray.core.reader.times import TimeMention

Role = Literal["user", "assistant", "system", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One memory to be.

    Attributes:
        text: what was said or written; NFC, without NUL, never empty unless there are attachments.
        semantic_type: `episode` for turns, `document` for chunks, `event` for event records.
        speaker: who said it, as named in the source.
        role: chat role, when the source has one.
        conversation: id of the dialogue or document.
        session: id of the session inside it, or the section path of a document ("Setup > Linux").
        position: 0-based order inside the conversation, across sessions.
        event_time: when it was said or happened, aware UTC; inherited from the session if need be.
        mentions: times that the text speaks of.
        tags: labels that the source gives.
        source_uri: where the input came from.
        source_item: id of the item inside it, such as `D1:3` or `page=4`.
        attachments: URIs of images, audio and files. Content given inline is a `data:` URI
            (RFC 2397), which the shell moves to the blob store.
        attributes: scalars to filter by.
    """

    text: str
    semantic_type: SemanticType
    speaker: str | None = None
    role: Role | None = None
    conversation: str | None = None
    session: str | None = None
    position: int | None = None
    event_time: datetime | None = None
    mentions: tuple[TimeMention, ...] = ()
    tags: tuple[str, ...] = ()
    source_uri: str | None = None
    source_item: str | None = None
    attachments: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemError:
    """One input item that could not be read; the others go on.

    Attributes:
        position: 1-based place in the input: the line of a JSONL or CSV file, the item of a list,
            the page of a PDF.
        code: stable name of what is wrong, such as `invalid_json`.
        message: what is wrong, for a person; it quotes no content.
    """

    position: int
    code: str
    message: str


def idempotency_key(source: str, draft: Draft) -> str:
    """Returns the key under which a draft is written, so that ingest can be repeated and resumed.

    The same source read twice gives the same keys. A source that has grown gives new keys only for
    new items, which is why the place of an item counts only where nothing better tells it from an
    equal one: by its id if the source gives one; chunks and dated events by content alone (text
    that moves inside a document keeps its key); anything else by content and position.

    Args:
        source: stable identity of the source, such as its URI; not a digest of its content, which
            would change when the source grows.
        draft: the item.
    """
    place: str | int | None = draft.position
    if draft.semantic_type is SemanticType.DOCUMENT:
        place = None
    elif draft.source_item is not None:
        place = draft.source_item
    elif draft.semantic_type is SemanticType.EVENT and draft.event_time is not None:
        place = None
    content = [
        draft.text,
        draft.semantic_type.value,
        draft.speaker,
        draft.role,
        draft.conversation,
        draft.session,
        place,
        draft.event_time,
        list(draft.attachments),
        dict(draft.attributes) if draft.semantic_type is SemanticType.EVENT else None,
    ]
    canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return digest(b"ingest/1", source.encode(), canonical)
