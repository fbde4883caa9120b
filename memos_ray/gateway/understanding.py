"""What a search query says besides its words: times, a limit, where to look.

Nothing that is understood here excludes a memory: times become a preference of the ranking, for
people misremember dates more often than facts. Filters are what the caller states as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from memos_ray.core.reader.query import EntityKind, MemoryCall, parse
from memos_ray.core.retrieval.names import without_each
from memos_ray.core.retrieval.query import Nameless, QueryHints
from memos_ray.gateway.models import SearchQuery
from memos_ray.ports import EmbedderPort, Vectors

# Each is one more text to embed.
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, taken apart.

    Attributes:
        text: what is matched against memories.
        limit: how many hits are wanted.
        namespaces: where to look; empty when the query does not say.
        report: what was understood and by which rules, for the caller.
        nameless: names in the query, each with the query without it. Only the index knows which of
            them are participants, whose names say who spoke and not what about.
        call: the query as it was read, unless it is matched as it stands.
    """

    text: str
    limit: int
    namespaces: tuple[str, ...] = ()
    hints: QueryHints = field(default_factory=QueryHints)
    report: dict[str, Any] = field(default_factory=dict)
    nameless: dict[str, str] = field(default_factory=dict)
    call: MemoryCall | None = None


def understand(query: SearchQuery, now: datetime) -> Understood:
    """Takes a query apart; without `parse` it is matched as it stands.

    What the caller states outright (limit, namespaces) wins over what the words say.
    """
    namespaces = tuple(query.namespaces or ())
    if not query.parse or not query.query.strip():
        return Understood(query.query, query.limit, namespaces)
    call = parse(query.query, now, UTC)
    stated = "limit" in query.model_fields_set
    text = call.text or query.query
    names = [entity.text for entity in call.entities if entity.kind is not EntityKind.QUOTED]
    return Understood(
        text=text,
        limit=query.limit if stated or call.limit is None else min(call.limit, 1000),
        namespaces=namespaces or call.scope.namespaces,
        hints=QueryHints(
            time_range=call.time_range,
            time_asked=call.time_asked or None,
            yearly=call.time_range is not None and call.time_range.year_guessed,
        ),
        report=_report(call),
        nameless=without_each(text, names[:_MOST_NAMES]),
        call=call,
    )


def _report(call: MemoryCall) -> dict[str, Any]:
    span = call.time_range
    return {
        "intent": call.intent.value,
        "text": call.text,
        "language": call.language,
        "time_asked": call.time_asked,
        "time_range": [span.start.isoformat(), span.end.isoformat()] if span else None,
        "entities": [entity.text for entity in call.entities],
        "topics": list(call.topics),
        "semantic_types": sorted(call.semantic_types),
        "reasons": list(call.reasons),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embeddings of a query, as `SearchRequest` takes them; none without words."""

    vector: Vectors | None = None
    space: str = ""
    nameless: tuple[Nameless, ...] = ()
    legible: float = 1.0


def embed(understood: Understood, embedder: EmbedderPort) -> Embedded:
    """Embeds a query, and again without each of its names.

    Raises:
        EmbedderError: when the model is away or fails.
    """
    vectors = embedder.embed([understood.text, *understood.nameless.values()])
    nameless = map(Nameless, understood.nameless, vectors[1:])
    legible = embedder.legible(understood.text)
    return Embedded(vectors[0], embedder.space.digest, tuple(nameless), legible)
