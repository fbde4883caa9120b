"""The date of an event, as the memories that were found for it tell it.

A date is taken only where it is plain: the memory speaks of the event by all of its words and tells
one day, and no other memory tells another. Memories that merely were said at some time count where
none tells a day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.reader.times import resolve_times
from memos_ray.core.retrieval.text import Analyzer

_LONGEST = timedelta(days=8)
_HAN_SHARE = 0.6
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。\uff01\uff1f;\uff1b])")
_PRONOUNS = re.compile(
    r"\b(?:i|you|he|she|it|we|they|my|your|his|her|its|our|their)\b|[他她它我你您的了]",
    re.IGNORECASE,
)


class Outcome(StrEnum):
    """Whether an event's date is known."""

    FOUND = "found"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class EventDate:
    """When an event was.

    Attributes:
        day: a day, or a few; None unless the outcome is `FOUND`.
        memory: id of the memory that tells it.
        others: how many other days are told.
    """

    outcome: Outcome
    day: TimeSpan | None = None
    memory: str | None = None
    others: int = 0


def date_of(
    event: str, found: Sequence[MemCube], tz: tzinfo, within: TimeSpan | None = None
) -> EventDate:
    """Settles on the date of an event.

    Args:
        event: its words, as they were searched for.
        found: the best memories for them, best first, all of which the caller may read.
        tz: the zone in which days begin.
        within: a time that the event lies in, where the request names one.
    """
    words = _Words(event)
    told: dict[datetime, tuple[TimeSpan, str]] = {}
    said: dict[datetime, tuple[TimeSpan, str]] = {}
    for cube in found:
        if not words.are_in(cube):
            continue
        days = [one for one in _days(cube, words, tz) if _lies_in(one, within)]
        for day in days:
            told.setdefault(_midnight(day.start, tz), (day, cube.id))
        moment = cube.descriptive.event_time
        if not days and moment is not None:
            start = _midnight(moment, tz)
            day = TimeSpan(start, start + timedelta(days=1))
            if _lies_in(day, within):
                said.setdefault(start, (day, cube.id))
    known = told or said
    if len(known) != 1:
        return EventDate(Outcome.AMBIGUOUS if known else Outcome.UNKNOWN, others=len(known))
    ((day, memory),) = known.values()
    return EventDate(Outcome.FOUND, day, memory)


def _days(cube: MemCube, words: _Words, tz: tzinfo) -> list[TimeSpan]:
    about = cube.descriptive
    days: list[TimeSpan] = [one for one in about.mentions if _is_short(one)]
    sentences = [one for one in _SENTENCE.split(cube.text) if one.strip()]
    if len(days) > 1 and len(sentences) > 1:
        # "We met on Monday. The wedding is on Friday."
        telling = " ".join(one for one in sentences if words.head_is_in(one))
        days = [
            one
            for one in resolve_times(telling, about.event_time, tz=tz, language=None)
            if _is_short(one)
        ] or days
    happened = about.event_time
    if not days and happened is not None and about.setting.conversation is None:
        # Of an event by itself the time is its own; of a turn it is when that was said.
        days = [TimeSpan(happened, happened + timedelta(microseconds=1))]
    return days


def _is_short(one: TimeSpan) -> bool:
    return one.end - one.start <= _LONGEST


def _lies_in(day: TimeSpan, within: TimeSpan | None) -> bool:
    return within is None or (day.start < within.end and within.start < day.end)


def _midnight(moment: datetime, tz: tzinfo) -> datetime:
    return moment.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0)


class _Words:
    """The words of an event that a memory must have, or its speaker's name."""

    def __init__(self, event: str) -> None:
        self._analyzer = Analyzer()
        terms = self._analyzer.analyse(_PRONOUNS.sub(" ", event)).terms
        self._terms = frozenset(terms)
        self._head = next(reversed(terms), "")

    def head_is_in(self, sentence: str) -> bool:
        """Whether a sentence has the last of the words, which mostly is the event."""
        return self._head in self._analyzer.analyse(sentence).terms

    def are_in(self, cube: MemCube) -> bool:
        """Whether a memory speaks of the event."""
        if not self._terms:
            return False
        speaker = cube.descriptive.setting.speaker or ""
        language = getattr(cube.payload, "language", None)
        held = self._analyzer.analyse(f"{speaker} {cube.text}", language).terms.keys()
        spaced = {term for term in self._terms if term.isascii()}
        if not spaced <= held:
            return False
        others = self._terms - spaced
        return len(others & held) >= _HAN_SHARE * len(others)
