"""What a search query says besides its words: times, a limit, where to look.

Nothing that is understood here excludes a memory: times become a preference of the ranking, for
people misremember dates more often than facts. Filters are what the caller states as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from memos_ray.core.reader.query import MemoryCall, parse
from memos_ray.core.retrieval.query import QueryHints
from memos_ray.gateway.models import SearchQuery


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, taken apart.

    Attributes:
        text: what is matched against memories.
        limit: how many hits are wanted.
        namespaces: where to look; empty when the query does not say.
        report: what was understood and by which rules, for the caller.
    """

    text: str
    limit: int
    namespaces: tuple[str, ...] = ()
    hints: QueryHints = field(default_factory=QueryHints)
    report: dict[str, Any] = field(default_factory=dict)


def understand(query: SearchQuery, now: datetime) -> Understood:
    """Takes a query apart; without `parse` it is matched as it stands.

    What the caller states outright (limit, namespaces) wins over what the words say.
    """
    namespaces = tuple(query.namespaces or ())
    if not query.parse or not query.query.strip():
        return Understood(query.query, query.limit, namespaces)
    call = parse(query.query, now, UTC)
    stated = "limit" in query.model_fields_set
    return Understood(
        text=call.text or query.query,
        limit=query.limit if stated or call.limit is None else min(call.limit, 1000),
        namespaces=namespaces or call.scope.namespaces,
        hints=QueryHints(time_range=call.time_range, time_asked=call.time_asked or None),
        report=_report(call),
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
