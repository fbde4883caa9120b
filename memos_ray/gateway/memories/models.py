"""The public data model: what REST bodies, SDK calls and `--json` output are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import Origin, SemanticType, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.gateway.fields import (
    NO_ENTRIES,
    NO_ITEMS,
    AttributeName,
    AttributeValue,
    Key,
    MemoryId,
    Model,
    Moment,
    Name,
    NamespaceName,
    Reason,
    Saying,
    Subject,
    Text,
    Uri,
    Version,
    printable,
)
from memos_ray.gateway.memories.turn_models import EarlierTurns
from memos_ray.gateway.problem_model import Problem


class Span(Model):
    """A half-open span of time: `start <= t < end`."""

    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.end <= self.start:
            raise ValueError("the span must end after it starts")
        return self


class Source(Model):
    """Where a memory came from: an outside item, or another memory at a version."""

    uri: Uri | None = None
    item: Uri | None = None
    memory_id: MemoryId | None = None
    version: Version | None = None


class AttachmentRef(Model):
    """An image, sound or file that belongs to a memory, by content hash."""

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]*$", max_length=128)]
    media_type: Name
    size_bytes: Annotated[int, Field(ge=0, lt=2**62)] = 0
    uri: Uri | None = None


class NewMemory(Model):
    """One memory to store.

    `conversation`, `session` and `position` place it among its neighbours, whose words help to find
    it; `event_time` is when it was said or happened. Who may see it follows from `visibility`, the
    named scopes and the policy of the namespace; `watermark` names whose content it is, and texts
    made of it bear it, too. With `extract`, a model reads it for facts, behind the answer; see
    `docs/extraction.md`. With `known_by_key`, what the idempotency key has stored in the namespace
    is the answer, whatever else is said of it; it is a conflict otherwise.
    """

    text: Saying
    id: MemoryId | None = None
    idempotency_key: Key | None = None
    semantic_type: SemanticType = SemanticType.FACT
    origin: Origin = Origin.USER_INPUT
    tags: list[Name] = NO_ITEMS
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")] | None = (
        None
    )
    conversation: Name | None = None
    session: Name | None = None
    position: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    speaker: Name | None = None
    role: Name | None = None
    event_time: Moment | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    mentions: list[Span] = NO_ITEMS
    sources: list[Source] = NO_ITEMS
    attachments: list[AttachmentRef] = NO_ITEMS
    attributes: dict[AttributeName, AttributeValue] = NO_ENTRIES
    visibility: Visibility | None = None
    readers: list[Subject] = NO_ITEMS
    writers: list[Subject] = NO_ITEMS
    sharers: list[Subject] = NO_ITEMS
    expires_at: Moment | None = None
    half_life_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    sensitivity: list[Name] = NO_ITEMS
    compliance: list[Name] = NO_ITEMS
    watermark: Name | None = None
    legal_hold: bool = False
    reason: Reason | None = None
    extract: bool = False
    known_by_key: bool = False

    @model_validator(mode="after")
    def _lasting(self) -> NewMemory:
        _check_times(self)
        return self


def _check_times(given: NewMemory | MemoryChange) -> None:
    if given.expires_at is not None and given.half_life_s is not None:
        raise ValueError("give either expires_at or half_life_s")
    if given.valid_from is not None and given.valid_to is not None:
        _check_order("valid_from", given.valid_from, "valid_to", given.valid_to)


def _check_order(first: str, start: datetime, last: str, end: datetime) -> None:
    if end <= start:
        raise ValueError(f"{last} must lie behind {first}")


class MemoryChange(Model):
    """An update: which fields change, and how (see `mode`).

    Labels (`sensitivity`, `compliance`) are added in every mode; no update takes one away. A field
    that is absent stays as it is; `event_time`, `valid_from`, `valid_to`, `expires_at` and
    `half_life_s` are cleared by an explicit null.
    """

    mode: UpdateMode = UpdateMode.MERGE
    text: Text | None = None
    semantic_type: SemanticType | None = None
    tags: list[Name] | None = None
    attributes: dict[AttributeName, AttributeValue] | None = None
    event_time: Moment | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    expires_at: Moment | None = None
    half_life_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    sensitivity: list[Name] = NO_ITEMS
    compliance: list[Name] = NO_ITEMS
    expected_version: Version | None = None
    idempotency_key: Key | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _lasting(self) -> MemoryChange:
        _check_times(self)
        return self


class Sharing(Model):
    """A change of who may reach a memory: names added to its scopes, and names removed."""

    visibility: Visibility | None = None
    readers: list[Subject] = NO_ITEMS
    writers: list[Subject] = NO_ITEMS
    sharers: list[Subject] = NO_ITEMS
    remove: list[Subject] = NO_ITEMS
    expected_version: Version | None = None
    idempotency_key: Key | None = None
    reason: Reason | None = None


class UsageStats(Model):
    """How a memory has been used."""

    access_count: int = 0
    last_access_at: datetime | None = None
    frequency: float = 0.0
    cache_hits: int = 0
    usefulness: float = 0.0
    tasks: list[str] = NO_ITEMS
    agents: list[str] = NO_ITEMS


class Memory(Model):
    """A stored memory at one version."""

    id: str
    provenance_id: str
    namespace: str
    form: Form
    text: str
    version: int
    digest: str
    state: State
    frozen: bool
    semantic_type: SemanticType
    origin: Origin
    tags: list[str]
    language: str | None
    conversation: str | None
    session: str | None
    position: int | None
    speaker: str | None
    role: str | None
    created_at: datetime
    updated_at: datetime
    event_time: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    mentions: list[Span]
    sources: list[Source]
    attachments: list[AttachmentRef]
    attributes: dict[str, AttributeValue]
    owner: str
    visibility: Visibility
    readers: list[str]
    writers: list[str]
    sharers: list[str]
    expires_at: datetime | None
    half_life_s: float | None
    priority: int
    sensitivity: list[str]
    compliance: list[str]
    watermark: str | None
    legal_hold: bool
    simhash: str
    usage: UsageStats


class WriteResult(Model):
    """The outcome of one write: `error` is set when, and only when, it failed.

    `replayed` says that an earlier call with the same idempotency key had the effect.
    """

    id: str | None = None
    version: int | None = None
    replayed: bool = False
    error: Problem | None = None

    @property
    def ok(self) -> bool:
        """Whether the write is durable."""
        return self.error is None


class WriteReport(Model):
    """The outcomes of a bulk write, in order, and a token that later reads may wait for."""

    results: list[WriteResult]
    token: str

    @property
    def failed(self) -> list[WriteResult]:
        """The results that carry an error."""
        return [result for result in self.results if result.error is not None]


class SearchQuery(Model):
    """A search.

    `filter` is an expression such as `tags:work and event_time >= 2023-05-01`, or its JSON form
    (see `docs/filters.md`). `parse` lets the reader take names, times and limits from the query.
    `turns` are the messages before the query, oldest first: what the query leaves to them ("where
    does she live?", "and in March?") is filled in (see `docs/reader.md`). `token` (from a write)
    makes that write visible to this search; `wait_indexed` also waits until it is embedded.
    `min_relevance` leaves out what is unlikely to matter (see `docs/retrieval.md`).
    What has ceased to hold (`valid_to`) is left out unless `include_ended` is set; with `as_of`,
    what had ceased to hold then. What has been put away is left out unless `include_archived` is
    set. `route` looks in all namespaces that the caller may read, those first that are about what
    is asked; it is for queries without `namespaces`.
    """

    query: Annotated[str, StringConstraints(max_length=32_768), AfterValidator(printable)] = ""
    namespaces: Annotated[list[NamespaceName], Field(max_length=64)] | None = None
    filter: str | dict[str, Any] | None = None
    tags: list[Name] = NO_ITEMS
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 10
    cursor: str | None = None
    as_of: Moment | None = None
    explain: bool = False
    parse: bool = True
    token: str | None = None
    wait_indexed: bool = False
    min_relevance: Annotated[float, Field(ge=0, le=1)] = 0.0
    include_ended: bool = False
    include_archived: bool = False
    turns: EarlierTurns = NO_ITEMS
    route: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> SearchQuery:
        if self.since is not None and self.until is not None:
            _check_order("since", self.since, "until", self.until)
        return self


class Signal(Model):
    """One signal's share in a score; `contribution = weight * normalised`."""

    signal: str
    raw: float
    normalised: float
    weight: float
    contribution: float
    note: str = ""


class SearchHit(Model):
    """A memory that was found.

    Scores order one answer and mean nothing across answers; `relevance` estimates how likely the
    memory matters to the query, and is absent when the query gives nothing to go by.
    """

    memory: Memory
    score: float
    relevance: float | None = None
    signals: list[Signal] = NO_ITEMS


class SearchResult(Model):
    """The answer to a search.

    `unembedded` counts memories so new that only their words could be matched; `partial` says that
    memories may be missing, because the index of a large namespace has not caught up; `understood`
    says what the reader took from the query, and why.
    """

    hits: list[SearchHit]
    cursor: str | None = None
    unembedded: int = 0
    partial: bool = False
    understood: dict[str, Any] = NO_ENTRIES
    request_id: str = ""


class MemoryPage(Model):
    """One page of a list, newest first; `cursor` fetches the next one.

    `unreadable` are the ids of memories of the page whose content is in a file of the archive that
    cannot be read now; they are not among `memories`.
    """

    memories: list[Memory]
    cursor: str | None = None
    unreadable: list[str] = NO_ITEMS
