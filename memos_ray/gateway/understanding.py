"""What a search query says besides its words: names, times, a limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.retrieval.query import QueryHints
from memos_ray.gateway.models import SearchQuery


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, taken apart.

    Attributes:
        text: what is matched against memories.
        predicate: what the query restricts the search to.
        report: what was understood and by which rules, for the caller.
    """

    text: str
    hints: QueryHints = field(default_factory=QueryHints)
    predicate: Predicate = field(default_factory=Everything)
    report: dict[str, Any] = field(default_factory=dict)


def understand(query: SearchQuery, now: datetime) -> Understood:
    """Takes a query apart; without `parse` it is matched as it stands."""
    return Understood(query.query)
