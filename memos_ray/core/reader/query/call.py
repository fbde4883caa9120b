"""The structured form of a request to memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.times import TimeMention


class Intent(StrEnum):
    """What is to be done with memory."""

    RETRIEVE = "retrieve"
    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"
    SUMMARISE = "summarise"
    COMPARE = "compare"
    AUDIT = "audit"
    LIST = "list"
    SHARE = "share"


class EntityKind(StrEnum):
    """How a name was recognised, the surest first."""

    PARTICIPANT = "participant"
    HANDLE = "handle"
    QUOTED = "quoted"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Entity:
    """Someone or something named in the request."""

    text: str
    kind: EntityKind


class Reach(StrEnum):
    """Whose memories are meant, among those that the caller may read at all."""

    MINE = "mine"
    SHARED = "shared"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look; without `namespaces`, everywhere within `reach`."""

    reach: Reach = Reach.ALL
    namespaces: tuple[str, ...] = ()


class Target(StrEnum):
    """The form in which the answer is wanted."""

    TEXT = "text"
    LIST = "list"
    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCall:
    """A request to memory with its slots filled.

    Attributes:
        text: the request without the words that only steer it: commands ("please remember that"),
            limits, scopes and output formats. Times and names stay, since they help the search.
        time_range: the span that the request restricts itself to ("in May 2023", "last month"). If
            several are named it covers them all; with `year_guessed` it is a preference only. None
            when the times belong to what is to be stored.
        times: every time that the request names.
        time_asked: whether the answer is a time ("when did", "how long", 哪天).
        topics: what it is about, as far as that is marked ("about X", 关于X, `#tag`, known tags).
        semantic_types: kinds of memory that the words point to, to be preferred and not to be
            filtered by: what she likes may have been said in an episode only. Empty when the words
            point to none.
        anchors: references to a shared past that only the context can resolve ("our last meeting").
        limit: how many memories are asked for.
        language: ISO 639-1.
        confidence: 0 to 1, how sure the intent is; an order of trust, not a probability.
        reasons: which rule filled which slot, as `slot: rule`.
    """

    intent: Intent
    text: str
    time_range: TimeMention | None = None
    times: tuple[TimeMention, ...] = ()
    time_asked: bool = False
    entities: tuple[Entity, ...] = ()
    topics: tuple[str, ...] = ()
    semantic_types: frozenset[SemanticType] = frozenset()
    anchors: tuple[str, ...] = ()
    scope: Scope = Scope()
    target: Target = Target.TEXT
    limit: int | None = None
    language: str = "en"
    confidence: float = 0.5
    reasons: tuple[str, ...] = ()
