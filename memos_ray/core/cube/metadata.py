"""The three metadata groups of a MemCube: descriptive, governance, usage (SPEC CUBE-2, -3, -4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from memos_ray.core.crossing import crossing

Attribute = str | int | float | bool


class Origin(StrEnum):
    """Where a memory came from."""

    USER_INPUT = "user_input"
    INFERENCE = "inference"
    RETRIEVAL = "retrieval"
    FINE_TUNING = "fine_tuning"
    CONVERSION = "conversion"
    IMPORT = "import"


class SemanticType(StrEnum):
    """What kind of thing a memory says."""

    FACT = "fact"
    PREFERENCE = "preference"
    EPISODE = "episode"
    EVENT = "event"
    TASK_PROMPT = "task_prompt"
    PROCEDURE = "procedure"
    DOCUMENT = "document"
    SKILL = "skill"


class Arrangement(StrEnum):
    """How a memory is organised: a plain item, a graph node, or a level of a hierarchy."""

    ITEM = "item"
    GRAPH_NODE = "graph_node"
    HIERARCHY = "hierarchy"


@crossing
@dataclass(frozen=True, slots=True)
class SourceRef:
    """One source of a memory: an outside item, or another cube at a version."""

    uri: str | None = None
    item: str | None = None
    cube_id: str | None = None
    version: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A half-open span of time, aware UTC: `start <= t < end`."""

    start: datetime
    end: datetime


@crossing
@dataclass(frozen=True, slots=True)
class Setting:
    """Where in a conversation or document a memory stands; neighbours share `session`.

    Attributes:
        conversation: id of the dialogue or document.
        session: id of the session or section inside it.
        position: 0-based order inside the conversation, across sessions.
        speaker: who said it, as named there.
        role: chat role, such as `user` or `assistant`.
    """

    conversation: str | None = None
    session: str | None = None
    position: int | None = None
    speaker: str | None = None
    role: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Descriptive:
    """Identifies a memory (CUBE-2).

    Attributes:
        event_time: when it was said or happened; `created_at` is when it was stored.
        valid_from: from when the statement holds; open when absent.
        valid_to: until when the statement holds, exclusive; open when absent.
        mentions: times that the text speaks of.
        attributes: the caller's own scalars, filterable as `attributes.<name>`.
    """

    created_at: datetime
    updated_at: datetime
    origin: Origin = Origin.USER_INPUT
    semantic_type: SemanticType = SemanticType.FACT
    arrangement: Arrangement = Arrangement.ITEM
    tags: tuple[str, ...] = ()
    setting: Setting = field(default_factory=Setting)
    event_time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    mentions: tuple[TimeSpan, ...] = ()
    sources: tuple[SourceRef, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Visibility(StrEnum):
    """Who may read a memory without being named in its scopes.

    `PRIVATE`: the owner and the named readers. `SHARED`: everyone whom the namespace admits.
    `READ_ONLY`: as shared, and nobody but the owner may change it, named writers included.
    """

    PRIVATE = "private"
    SHARED = "shared"
    READ_ONLY = "read_only"


@crossing
@dataclass(frozen=True, slots=True)
class Forever:
    """Lives until somebody deletes it."""

    kind: Literal["forever"] = "forever"


@crossing
@dataclass(frozen=True, slots=True)
class ExpiresAt:
    """Lives until a moment (TTL); unreadable from then on."""

    at: datetime
    kind: Literal["expires_at"] = "expires_at"


@crossing
@dataclass(frozen=True, slots=True)
class Decay:
    """Loses half of its heat in each half-life; the lifecycle archives it when cold."""

    half_life_s: float
    kind: Literal["decay"] = "decay"


Lifespan = Forever | ExpiresAt | Decay


@crossing
@dataclass(frozen=True, slots=True)
class Governance:
    """Who may do what, and for how long (CUBE-3).

    Subjects in `readers`, `writers` and `sharers` are written `user:…`, `agent:…`, `service:…` or
    `role:…`; they belong to the tenant of the memory.
    """

    owner: str
    visibility: Visibility = Visibility.PRIVATE
    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    sharers: tuple[str, ...] = ()
    lifespan: Lifespan = field(default_factory=Forever)
    priority: int = 0
    sensitivity: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    watermark: str | None = None
    legal_hold: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class Usage:
    """Behavioural indicators (CUBE-4), counted on every read path and flushed in batches.

    Attributes:
        frequency: exponentially decayed count of accesses, as of `last_access_at`.
        tasks: the most recent purposes that used it.
        agents: the most recent principals that used it.
        usefulness: sum of feedback, +1 helpful, -1 not.
    """

    access_count: int = 0
    last_access_at: datetime | None = None
    frequency: float = 0.0
    cache_hits: int = 0
    usefulness: float = 0.0
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
