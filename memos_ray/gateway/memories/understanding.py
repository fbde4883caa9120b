"""What a search query says besides its words: times, a limit, where to look; in a dialogue, what
earlier turns add to it.

Nothing that is understood here excludes a memory: times become a preference of the ranking, for
people misremember dates more often than facts. Filters are what the caller states as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.reader.query import EntityKind, Intent, MemoryCall, parse
from memos_ray.core.reader.query.anchored import AnchoredTime, beside, find_anchored
from memos_ray.core.reader.query.event_dates import EventDate, date_of
from memos_ray.core.reader.times import TimeMention
from memos_ray.core.reader.turns import Rewriting, rewrite
from memos_ray.core.retrieval.names import without_each
from memos_ray.core.retrieval.query import Nameless, QueryHints
from memos_ray.gateway.memories.completing import Attempt
from memos_ray.gateway.memories.models import SearchQuery
from memos_ray.gateway.memories.turn_models import said
from memos_ray.gateway.memories.understanding_models import (
    EntityRead,
    EventRead,
    Filling,
    TimeRead,
    Understanding,
)
from memos_ray.ports import EmbedderPort, Vectors

# Each is one more text to embed.
_MOST_NAMES = 4
# As many as a query may state outright: each is a search.
_MOST_NAMESPACES = 64
_STORING = frozenset({Intent.ADD, Intent.UPDATE})


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, taken apart.

    Attributes:
        text: what is matched against memories.
        limit: how many hits are wanted.
        namespaces: where to look; empty when the query does not say.
        nameless: names in the query, each with the query without it. Only the index knows which of
            them are participants, whose names say who spoke and not what about.
        call: the query as a request to memory; None when it was to be matched as it stands.
        rewriting: what earlier turns added.
        attempt: what became of asking a model for that, where one was asked.
        anchored: a time that counts from an event, whose date memories may tell.
        event: whether they do, once that was looked up.
    """

    text: str
    limit: int
    namespaces: tuple[str, ...] = ()
    hints: QueryHints = field(default_factory=QueryHints)
    nameless: dict[str, str] = field(default_factory=dict)
    call: MemoryCall | None = None
    rewriting: Rewriting = field(default_factory=lambda: Rewriting(""))
    attempt: Attempt | None = None
    anchored: AnchoredTime | None = None
    event: EventDate | None = None

    @property
    def report(self) -> dict[str, Any]:
        """What was understood and by which rules, for the caller."""
        return {} if self.call is None else _report(self, self.call)


def understand(
    query: SearchQuery, now: datetime, completed: tuple[Rewriting, Attempt] | None = None
) -> Understood:
    """Takes a query apart; without `parse` it is matched as it stands, whatever came before it.

    What the caller states outright (limit, namespaces) wins over what the words say.

    Args:
        completed: the question in full, where a model was asked for it, and what became of that;
            the rules complete it when absent.
    """
    namespaces = tuple(query.namespaces or ())
    if not query.parse or not query.query.strip():
        return Understood(query.query, query.limit, namespaces)
    turns = said(query.turns)
    rewriting, attempt = completed or (rewrite(query.query, turns, now, UTC), None)
    speakers = tuple(dict.fromkeys(turn.speaker for turn in turns if turn.speaker))
    call = parse(rewriting.text, now, UTC, speakers)
    stated = "limit" in query.model_fields_set
    text = call.text or rewriting.text
    names = [entity.text for entity in call.entities if entity.kind is not EntityKind.QUOTED]
    found = Understood(
        text=text,
        limit=query.limit if stated or call.limit is None else min(call.limit, 1000),
        namespaces=namespaces or call.scope.namespaces[:_MOST_NAMESPACES],
        hints=QueryHints(time_asked=call.time_asked or None),
        nameless=without_each(text, names[:_MOST_NAMES]),
        call=call,
        rewriting=rewriting,
        attempt=attempt,
        anchored=None if call.intent in _STORING else find_anchored(text, call.language),
    )
    return _timed(found, call)


def _timed(found: Understood, call: MemoryCall) -> Understood:
    span = call.time_range
    hints = replace(found.hints, time_range=span, yearly=span is not None and span.year_guessed)
    return replace(found, call=call, hints=hints)


def with_date(found: Understood, memories: Sequence[MemCube], now: datetime) -> Understood:
    """Takes the date of the event that a time counts from, out of memories found for it.

    Where they tell none, or several, the query has no time at all: what its words alone would say
    ("the Friday" before which wedding?) is wrong.
    """
    call, anchored = found.call, found.anchored
    assert call is not None and anchored is not None
    inside = call.time_range is not None and call.time_range.text in anchored.words
    event = date_of(anchored.event, memories, UTC, within=None if inside else call.time_range)
    span = None if event.day is None else beside(anchored, event.day, now, UTC)
    reason = f"event: {anchored.event}, {event.outcome}"
    kept = call.time_range if span is None and not inside else span
    call = replace(call, time_range=kept, reasons=(*call.reasons, reason))
    return replace(_timed(found, call), event=event)


def steps(found: Understood) -> Iterator[tuple[str, str]]:
    """Yields what was done about a query besides taking its words apart, and how it came out."""
    if found.rewriting.decisions:
        yield "rewriting", "filled" if found.rewriting.filled else "open"
    if found.attempt is not None:
        yield "model", found.attempt.value
    if found.event is not None:
        yield "event_date", found.event.outcome.value


def _report(found: Understood, call: MemoryCall) -> dict[str, Any]:
    span = call.time_range
    report: dict[str, Any] = {
        "intent": call.intent.value,
        "confidence": call.confidence,
        "text": call.text,
        "language": call.language,
        "time_asked": call.time_asked,
        "time_range": [span.start.isoformat(), span.end.isoformat()] if span else None,
        "entities": [entity.text for entity in call.entities],
        "topics": list(call.topics),
        "semantic_types": sorted(call.semantic_types),
        "anchors": list(call.anchors),
        "scope": {"reach": call.scope.reach.value, "namespaces": list(call.scope.namespaces)},
        "target": call.target.value,
        "reasons": list(call.reasons),
    }
    if found.rewriting.decisions:
        report["question"] = found.rewriting.text
        report["fillings"] = [one.model_dump(mode="json") for one in _fillings(found)]
    if found.attempt is not None:
        report["model"] = found.attempt.value
    event = _event(found)
    if event is not None:
        report["event"] = event.model_dump(mode="json")
    return report


def understanding_of(found: Understood) -> Understanding:
    """Returns all that was understood of a question."""
    call = found.call
    assert call is not None
    times = [_time(one) for one in call.times]
    return Understanding(
        question=found.rewriting.text,
        rewritten=bool(found.rewriting.filled),
        fillings=_fillings(found),
        model=found.attempt,
        intent=call.intent,
        confidence=call.confidence,
        text=call.text,
        language=call.language,
        time_range=None if call.time_range is None else _time(call.time_range),
        times=times,
        time_asked=call.time_asked,
        entities=[EntityRead(text=one.text, kind=one.kind) for one in call.entities],
        topics=list(call.topics),
        semantic_types=sorted(call.semantic_types),
        anchors=list(call.anchors),
        reach=call.scope.reach,
        namespaces=list(call.scope.namespaces),
        target=call.target,
        limit=call.limit,
        event=_event(found),
        reasons=list(call.reasons),
    )


def _fillings(found: Understood) -> list[Filling]:
    return [
        Filling(slot=one.slot, words=one.words, meant=one.meant, reason=one.reason)
        for one in found.rewriting.decisions
    ]


def _time(one: TimeMention) -> TimeRead:
    return TimeRead(
        words=one.text,
        start=one.start,
        end=one.end,
        granularity=one.granularity,
        year_guessed=one.year_guessed,
    )


def _event(found: Understood) -> EventRead | None:
    if found.anchored is None or found.event is None:
        return None
    day = found.event.day
    return EventRead(
        words=found.anchored.words,
        event=found.anchored.event,
        outcome=found.event.outcome,
        memory_id=found.event.memory,
        start=None if day is None else day.start,
        end=None if day is None else day.end,
        others=found.event.others,
    )


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
