"""The date of an event, as the memories that were found for it tell it.

A date is taken only where it is plain: the memory speaks of the event by all of its words and tells
one day in the sentence of the event, and no other memory tells another.
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
_LONG_RUN = 4
_HAN = re.compile(r"[\u4e00-\u9fff]+")
_CLAUSE = re.compile(r"(?<=[.!?;])\s+|(?<=[。\uff01\uff1f;\uff1b\uff0c])")
# What was to be is no date of what was.
_DOUBTFUL = re.compile(
    r"\b(?:should have|would have|could have|(?:was|were) (?:supposed|meant|going|due) to|not|"
    r"never|instead|postponed|cancell?ed|called off|put off)\b|n['\u2019]t\b"
    r"|本来|本該|原定|原本|取消|推迟|推遲|改期|改到|没有?|不",
    re.IGNORECASE,
)
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
    for cube in found:
        if words.are_in(cube):
            for day in _days(cube, words, tz):
                if _lies_in(day, within):
                    told.setdefault(_midnight(day.start, tz), (day, cube.id))
    if len(told) != 1:
        return EventDate(Outcome.AMBIGUOUS if told else Outcome.UNKNOWN, others=len(told))
    ((day, memory),) = told.values()
    return EventDate(Outcome.FOUND, day, memory)


def _days(cube: MemCube, words: _Words, tz: tzinfo) -> list[TimeSpan]:
    """Returns the days that a memory tells of the event; none where something else may be meant."""
    about = cube.descriptive
    # "We met on Monday. The wedding is on Friday."
    telling = " ".join(one for one in _CLAUSE.split(cube.text) if words.head_is_in(one))
    if _DOUBTFUL.search(telling):
        return []
    here = resolve_times(telling, about.event_time, tz=tz)
    everywhere = resolve_times(cube.text, about.event_time, tz=tz)
    if len(here) > 1:
        return list(here) if all(map(_is_short, here)) else []
    days: list[TimeSpan] = []
    if here and not _is_short(here[0]):
        return []
    if here or not everywhere:
        alone = len(about.mentions) == 1 and len(everywhere) <= 1
        days = list(about.mentions if alone or not everywhere else here)
    if not about.mentions and not everywhere and about.setting.conversation is None:
        # Of an event by itself the time is its own; of a turn it is when that was said.
        moment = about.event_time
        days = [] if moment is None else [TimeSpan(moment, moment + timedelta(microseconds=1))]
    return [one for one in days if _is_short(one)]


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
        self._runs = _HAN.findall(_PRONOUNS.sub(" ", event))
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
        text = f"{speaker} {cube.text}"
        held = self._analyzer.analyse(text, language).terms.keys()
        if not {term for term in self._terms if term.isascii()} <= held:
            return False
        return all(_covered(run, text) for run in self._runs)


def _covered(run: str, text: str) -> bool:
    """Whether a text has the pairs of characters that make up a run; of a long one, but for one."""
    if len(run) == 1:
        return run in text
    pairs = [at for at in range(len(run) - 1) if run[at : at + 2] in text]
    missing = len(run) - len({place for at in pairs for place in (at, at + 1)})
    return missing <= (1 if len(run) > _LONG_RUN else 0)
