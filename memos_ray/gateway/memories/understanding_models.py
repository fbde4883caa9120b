"""What is understood of a question: `memos.understand`, `POST /v1/understand`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.query import EntityKind, Intent, Reach, Target
from memos_ray.core.reader.query.event_dates import Outcome
from memos_ray.core.reader.times import Granularity
from memos_ray.core.reader.turns import Slot
from memos_ray.gateway.fields import Model, NamespaceName, printable
from memos_ray.gateway.memories.completing import Attempt
from memos_ray.gateway.memories.models import SearchQuery
from memos_ray.gateway.memories.turn_models import EarlierTurns


def _worded(text: str) -> str:
    if not text.strip():
        raise ValueError("a question has words")
    return text


class Question(Model):
    """A question, with the messages before it.

    `namespaces` is where the date of an event is looked up ("the week before her birthday"): the
    caller's own home when absent. `token` (from a write) makes that write visible.
    """

    query: Annotated[
        str,
        StringConstraints(max_length=32_768),
        AfterValidator(printable),
        AfterValidator(_worded),
    ]
    turns: EarlierTurns = []
    namespaces: Annotated[list[NamespaceName], Field(min_length=1, max_length=64)] | None = None
    token: str | None = None

    def search(self) -> SearchQuery:
        """Returns the search that would be made for it."""
        return SearchQuery(
            query=self.query, turns=self.turns, namespaces=self.namespaces, token=self.token
        )


class Filling(Model):
    """A gap of the question: what was filled in (`meant`), or why nothing was."""

    slot: Slot
    words: str
    meant: str | None = None
    reason: str


class TimeRead(Model):
    """A time that the question names: `start <= t < end`."""

    words: str
    start: datetime
    end: datetime
    granularity: Granularity
    year_guessed: bool


class EntityRead(Model):
    """Somebody or something named, and how it was recognised."""

    text: str
    kind: EntityKind


class EventRead(Model):
    """An event that a time counts from, and whether memories tell its date.

    `memory_id` is the memory that does; `others` counts the days told where there are several.
    """

    words: str
    event: str
    outcome: Outcome
    memory_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    others: int = 0


class Understanding(Model):
    """A question as a request to memory, with the rule behind each slot in `reasons`.

    `model` says what became of asking a model for the question in full; but for `used`, the rules
    have completed it, as they do where no model is set up.

    `question` can be understood without the messages before it, as far as they allow; memories are
    searched for its `text`. `confidence` is an order of trust in the intent.
    """

    question: str
    rewritten: bool
    fillings: list[Filling]
    model: Attempt | None = None
    intent: Intent
    confidence: float
    text: str
    language: str
    time_range: TimeRead | None
    times: list[TimeRead]
    time_asked: bool
    entities: list[EntityRead]
    topics: list[str]
    semantic_types: list[SemanticType]
    anchors: list[str]
    reach: Reach
    namespaces: list[str]
    target: Target
    limit: int | None
    event: EventRead | None
    reasons: list[str]
