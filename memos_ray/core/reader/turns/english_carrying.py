"""Carries time, place, scope and topic over to an English question that begins with "and"."""

from __future__ import annotations

import re

from memos_ray.core.reader.query.slots import find_steering
from memos_ray.core.reader.times import resolve_times
from memos_ray.core.reader.turns.candidates import Known
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot
from memos_ray.core.reader.turns.english_fragments import LEAD, MARKER, VERBAL, appended
from memos_ray.core.reader.turns.english_pronouns import with_preposition
from memos_ray.core.reader.turns.phrases import Phrase

_GOES_ON = re.compile(r"^(?:and|also)\b", re.I)
_BEGINS = re.compile(rf"(?:{'|'.join(sorted(VERBAL))})\b", re.I)
_SELVES = re.compile(r"\b(?:i|me|my|we|us|our|you|your)\b", re.I)
_ASKS_TIME = re.compile(r"\bwhen\b|\bwhat (?:day|date|time|year|month)\b", re.I)
_MOST_TOPICS = 3


def carry(
    question: str, base: str, known: Known, moment: Moment
) -> tuple[str, list[Decision]] | None:
    """Adds what the question before has and this one lacks; None: it is no such question.

    Args:
        base: the question before, as it can be understood alone.
    """
    core = LEAD.sub("", question).strip()
    marker = MARKER.match(core)
    if marker is None or not _GOES_ON.match(core):
        return None
    rest = core[marker.end() :].strip()
    if not _BEGINS.match(rest):
        return None
    text, decisions = rest[:1].upper() + rest[1:], list[Decision]()
    named, before = known.phrases(rest), known.phrases(base)
    topic = _topic(rest, named, before)
    for slot, words in (
        (Slot.TOPIC, topic),
        (Slot.PLACE, _place(f"{rest} {topic}", named, before, base)),
        (Slot.TIME, _time(rest, base, moment)),
        (Slot.SCOPE, _scope(rest, base)),
    ):
        if words is not None:
            text = appended(text, words)
            decisions.append(Decision(slot, marker[0].strip(), words, "of the question before"))
    return (text, decisions) if decisions else None


def _topic(rest: str, named: tuple[Phrase, ...], before: tuple[Phrase, ...]) -> str | None:
    if any(one.name for one in named) or _SELVES.search(rest):
        return None
    topics = [one.text for one in before if one.name and not one.plural]
    return f"regarding {' and '.join(topics[:_MOST_TOPICS])}" if topics else None


def _place(
    rest: str, named: tuple[Phrase, ...], before: tuple[Phrase, ...], base: str
) -> str | None:
    place = next((one for one in before if one.place), None)
    if place is None or any(one.place for one in named) or "where" in rest.lower():
        return None
    if place.text in rest:
        return None
    put = re.search(r"\b([A-Za-z]+)\s+(?:the\s+)?$", base[: place.begin])
    at = put[1].lower() if put else "in"
    return f"{'in' if at in {'to', 'from'} else at} {place.text}"


def _time(rest: str, base: str, moment: Moment) -> str | None:
    times = resolve_times(base, moment.now, tz=moment.tz, language="en")
    if not times or _ASKS_TIME.search(rest):
        return None
    if resolve_times(rest, moment.now, tz=moment.tz, language="en"):
        return None
    return with_preposition(base, times[-1].text, times[-1].granularity)


def _scope(rest: str, base: str) -> str | None:
    names = find_steering(base).scope.namespaces
    return None if not names or find_steering(rest).scope.namespaces else f"in namespace {names[0]}"
