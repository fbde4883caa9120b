"""Request bodies that only the REST door has."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from memos_ray.gateway.fields import Key, Model, Reason, Version
from memos_ray.gateway.memories.models import NewMemory, WriteResult


class NewMemories(Model):
    """Several memories to store; each is validated, judged and stored by itself."""

    memories: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            description="Items as in `NewMemory`.",
            json_schema_extra={"items": {"$ref": "#/components/schemas/NewMemory"}},
        ),
    ]


class Plain(Model):
    """What a write says that has no content of its own."""

    reason: Reason | None = None
    idempotency_key: Key | None = None


class RollbackBody(Plain):
    """Which version's content becomes the newest again."""

    to: Version
    expected_version: Version | None = None


class IngestBody(Model):
    """An input to read, inside JSON: either parsed (`content`) or as text (`text`)."""

    content: Annotated[
        list[Any] | dict[str, Any] | None,
        Field(description="A dialogue: messages, the neutral layout, or LoCoMo's."),
    ] = None
    text: Annotated[str | None, Field(description="The input, in the stated format.")] = None


class IngestItem(WriteResult):
    """The outcome of one input item.

    Attributes:
        position: place of the item among those read, from 1; for one that could not be read, its
            line or place in the input.
        item: its id in the source, when it has one.
    """

    position: int
    item: str | None = None


class IngestReport(Model):
    """What became of an input. `replayed` items were there already, from an earlier run.

    `results` lists every item, or only the failed ones where the caller asked for that.
    """

    total: int
    stored: int
    replayed: int
    failed: int
    unkept_attachments: int = 0
    results: list[IngestItem]
    token: str


EXAMPLE = NewMemory(
    text="I moved to Lisbon last month.",
    tags=["home"],
    conversation="chat-7",
    session="s3",
    position=41,
    speaker="Ana",
    role="user",
).model_dump(mode="json", exclude_defaults=True)
