"""The public data model: what REST bodies, SDK calls and `--json` output are made of.

Pydantic models, frozen and closed: an unknown field is an error, never ignored.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from memos_ray.core.access import names
from memos_ray.core.cube.cube import Change, State
from memos_ray.core.cube.metadata import Origin, SemanticType, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.operations import UpdateMode

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt _]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def printable(text: str) -> str:
    """Lets a text pass that has no control characters."""
    if _CONTROL.search(text):
        raise ValueError("control characters and lone surrogates are not allowed")
    return text


def _finite(value: str | int | float | bool) -> str | int | float | bool:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must fit in 64 bits")
    return value


def _written_as_time(value: object) -> object:
    # A bare number would pass for seconds since 1970, and "2023" for half an hour after it.
    if isinstance(value, datetime) or (isinstance(value, str) and _TIMESTAMP.match(value)):
        return value
    raise ValueError("must be a date and time with an offset, as 2023-05-01T10:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999, in UTC") from None


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(printable)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(printable)]
Reason = Annotated[str, StringConstraints(max_length=1024), AfterValidator(printable)]
Uri = Annotated[str, StringConstraints(max_length=8192), AfterValidator(printable)]
MemoryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
NamespaceName = Annotated[
    str, StringConstraints(max_length=names.NAMESPACE_MAX, pattern=f"^{names.NAMESPACE}$")
]
Subject = Annotated[str, StringConstraints(pattern=f"^{names.SUBJECT}$")]
Version = Annotated[int, Field(ge=1, lt=2**31)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_as_time), AfterValidator(_in_utc)]
AttributeName = Name
AttributeValue = Annotated[
    bool | int | float | Annotated[str, StringConstraints(max_length=4096)],
    AfterValidator(_finite),
]
# What may travel in an HTTP header: printable ASCII.
Key = Annotated[str, StringConstraints(max_length=256, pattern=r"^[\x20-\x7e]+$")]
Label = Key


class Model(BaseModel):
    """Base of the public models."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


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
    named scopes and the policy of the namespace.
    """

    text: Text
    id: MemoryId | None = None
    idempotency_key: Key | None = None
    semantic_type: SemanticType = SemanticType.FACT
    origin: Origin = Origin.USER_INPUT
    tags: list[Name] = []
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
    mentions: list[Span] = []
    sources: list[Source] = []
    attachments: list[AttachmentRef] = []
    attributes: dict[AttributeName, AttributeValue] = {}
    visibility: Visibility | None = None
    readers: list[Subject] = []
    writers: list[Subject] = []
    sharers: list[Subject] = []
    expires_at: Moment | None = None
    half_life_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    sensitivity: list[Name] = []
    compliance: list[Name] = []
    legal_hold: bool = False
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_lifespan(self) -> NewMemory:
        _check_lifespan(self.expires_at, self.half_life_s)
        return self


def _check_lifespan(expires_at: datetime | None, half_life_s: float | None) -> None:
    if expires_at is not None and half_life_s is not None:
        raise ValueError("give either expires_at or half_life_s")


class MemoryChange(Model):
    """An update: which fields change, and how (see `mode`)."""

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
    expected_version: Version | None = None
    idempotency_key: Key | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_lifespan(self) -> MemoryChange:
        _check_lifespan(self.expires_at, self.half_life_s)
        return self


class Sharing(Model):
    """A change of who may reach a memory: names added to its scopes, and names removed."""

    visibility: Visibility | None = None
    readers: list[Subject] = []
    writers: list[Subject] = []
    sharers: list[Subject] = []
    remove: list[Subject] = []
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
    tasks: list[str] = []
    agents: list[str] = []


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
    legal_hold: bool
    simhash: str
    usage: UsageStats


class Problem(Model):
    """An error as an RFC 9457 problem document; members that are not known are left out."""

    model_config = ConfigDict(extra="ignore")

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool = False
    details: dict[str, Any] = {}
    request_id: str | None = None


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
    `token` (from a write) makes that write visible to this search; `wait_indexed` also waits until
    it is embedded. `min_relevance` leaves out what is unlikely to matter (see `docs/retrieval.md`).
    What has ceased to hold (`valid_to`) is left out unless `include_ended` is set; with `as_of`,
    what had ceased to hold then.
    """

    query: Annotated[str, StringConstraints(max_length=32_768), AfterValidator(printable)] = ""
    namespaces: Annotated[list[NamespaceName], Field(max_length=64)] | None = None
    filter: str | dict[str, Any] | None = None
    tags: list[Name] = []
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
    signals: list[Signal] = []


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
    understood: dict[str, Any] = {}
    request_id: str = ""


class MemoryPage(Model):
    """One page of a list, newest first; `cursor` fetches the next one."""

    memories: list[Memory]
    cursor: str | None = None


class VersionRecord(Model):
    """One entry of a memory's history."""

    number: int
    digest: str
    change: Change
    author: str
    created_at: datetime
    parents: list[Source]
    reason: str | None
    lsn: int


class History(Model):
    """The versions of a memory, newest first."""

    id: str
    versions: list[VersionRecord]
    cursor: str | None = None


class FieldChange(Model):
    """One field that differs between two versions."""

    field: str
    before: Any
    after: Any


class Diff(Model):
    """What changed from one version to another; `text` is a unified diff."""

    id: str
    from_version: int
    to_version: int
    changes: list[FieldChange]
    text: str


class LogEntry(Model):
    """One event of the audit log (writes, decisions) or of the access log (reads)."""

    position: str
    at: datetime
    namespace: str
    principal: str
    operation: str
    outcome: str
    memory_id: str | None = None
    version: int | None = None
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str = ""
    detail: dict[str, Any] = {}


class LogPage(Model):
    """One page of the log, oldest first."""

    entries: list[LogEntry]
    cursor: str | None = None


class Component(Model):
    """Health of one part of the cluster."""

    name: str
    status: Literal["ok", "degraded", "down"]
    detail: dict[str, Any] = {}


class Health(Model):
    """Health of the whole."""

    status: Literal["ok", "degraded", "down"]
    version: str
    components: list[Component] = []

    @classmethod
    def of(cls, version: str, components: list[Component]) -> Health:
        """Sums the parts up: the whole is as well as the part that is worst."""
        found = {component.status for component in components}
        if "down" in found:
            return cls(status="down", version=version, components=components)
        status: Literal["ok", "degraded"] = "degraded" if "degraded" in found else "ok"
        return cls(status=status, version=version, components=components)
