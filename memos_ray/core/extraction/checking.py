"""Lets through what a model has found in the turns, and nothing that it has made up.

A model may answer anything, not least what somebody in a turn has told it to. So an item is taken
only when it names turns that were to be read, when its names and numbers are theirs, when at least
half of its other words are, when it denies nothing without a denial there, and when its time is one
that they speak of or were said at. What an item says goes where the job says; no part of an answer
names a place, a reader or an owner.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.extraction.answers import Item, Kind, Objection, SaidTime, items_of
from memos_ray.core.extraction.turns import SourceTurn
from memos_ray.core.reader.times import resolve_times
from memos_ray.core.retrieval import languages
from memos_ray.core.retrieval.text import Analyzer, fold, split_words

ITEMS_MAX = 64
SUPPORT_MIN = 0.5

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")
_DENIAL = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|cannot|without)\b|n['\u2019]t\b|[\u4e0d\u6ca1\u65e0\u672a]",
    re.IGNORECASE,
)
# Zones differ by less than that from the one that a text was read in.
_SLACK = timedelta(days=1)
_MONTHS = (
    ("january", "jan"),
    ("february", "feb"),
    ("march", "mar"),
    ("april", "apr"),
    ("may",),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sep"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """An item that may be stored, and the turns that it rests on."""

    item: Item
    turns: tuple[SourceTurn, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was taken of an answer, and why the rest was not."""

    taken: tuple[Taken, ...]
    objections: Counter[Objection]


def check(text: str, turns: Sequence[SourceTurn], most: int = ITEMS_MAX) -> Checked | None:
    """Checks an answer to `prompt_of`.

    Args:
        turns: those that the model was given.
        most: items, at most.

    Returns:
        Nothing when the answer as a whole is not of the schema.
    """
    items = items_of(text)
    if items is None:
        return None
    judge = _Judge({turn.name: turn for turn in turns})
    taken: list[Taken] = []
    objections: Counter[Objection] = Counter()
    known: set[tuple[str, ...]] = set()
    for place, item in enumerate(items):
        if len(taken) == most:
            objections[Objection.TOO_MANY] += len(items) - place
            break
        found = Objection.FORM if item is None else judge.judged(item)
        if isinstance(found, Taken):
            same = (found.item.kind, fold(found.item.text))
            if same in known:
                found = Objection.REPEATED
            known.add(same)
        if isinstance(found, Objection):
            objections[found] += 1
        else:
            taken.append(found)
    return Checked(tuple(taken), objections)


def rests_on(text: str, said: str, language: str | None = None) -> bool:
    """Tells whether a text has its names and numbers, and half of its words, from what was said,
    and denies nothing that is not denied there.
    """
    return _Judge({}).rests(text, said, language)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The words of turns: as they stand, and as they are looked up."""

    words: frozenset[str]
    terms: frozenset[str]


class _Judge:
    def __init__(self, turns: Mapping[str, SourceTurn]) -> None:
        self._turns = turns
        self._analyzer = Analyzer()

    def judged(self, item: Item) -> Taken | Objection:
        turns = [self._turns.get(name) for name in dict.fromkeys(item.sources)]
        named = tuple(turn for turn in turns if turn is not None)
        if len(named) < len(turns) or all(turn.background for turn in named):
            return Objection.SOURCE
        spans = tuple(_spans(named))
        if item.time is not None and not _within(item.time, spans):
            return Objection.TIME
        return Taken(item, named) if self._supported(item, named) else Objection.SUPPORT

    def _supported(self, item: Item, turns: Sequence[SourceTurn]) -> bool:
        said = "\n".join(_said(turn) for turn in turns)
        timed = _words_of_time(item.time) if item.time is not None else frozenset[str]()
        language, evidence = self._evidence(said, _language(turns), timed)
        if _denies(item.text, said):
            return False
        parts = [item.text, item.subject, item.object]
        if item.kind is not Kind.ENTITY:
            parts.append(item.predicate)
        return all(self._rests(part, language, evidence) for part in parts if part is not None)

    def rests(self, text: str, said: str, language: str | None) -> bool:
        language, evidence = self._evidence(said, language, frozenset())
        return not _denies(text, said) and self._rests(text, language, evidence)

    def _evidence(
        self, said: str, language: str | None, timed: frozenset[str]
    ) -> tuple[str, _Evidence]:
        words = split_words(fold(said))
        language = language or languages.guess(words)
        return language, _Evidence(
            frozenset((*words, *_numbers(said))) | timed,
            frozenset(self._analyzer.analyse(said, language).terms) | timed,
        )

    def _rests(self, text: str, language: str, evidence: _Evidence) -> bool:
        """Tells whether a text has the names and numbers of its evidence, and half of its words."""
        for name in _names(text):
            terms = set(self._analyzer.analyse(name, language).terms)
            if fold(name) not in evidence.words and not terms <= evidence.terms:
                return False
        if not _numbers(text) <= evidence.words:
            return False
        found = set(self._analyzer.analyse(text, language).terms)
        return len(found & evidence.terms) >= SUPPORT_MIN * len(found)


def _denies(text: str, said: str) -> bool:
    return bool(_DENIAL.search(text)) and not _DENIAL.search(said)


def _names(text: str) -> Iterable[str]:
    return (token for token in _TOKEN.findall(text) if token[0].isupper())


def _numbers(text: str) -> set[str]:
    return {token for token in _TOKEN.findall(text) if token[0].isdecimal()}


def _said(turn: SourceTurn) -> str:
    setting = turn.cube.descriptive.setting
    return f"{setting.speaker or ''} {setting.role or ''}\n{turn.cube.text}"


def _language(turns: Sequence[SourceTurn]) -> str | None:
    payload = turns[0].cube.payload
    return getattr(payload, "language", None)


def _spans(turns: Sequence[SourceTurn]) -> Iterable[TimeSpan]:
    for turn in turns:
        about = turn.cube.descriptive
        yield from about.mentions
        yield from resolve_times(turn.cube.text, about.event_time, language=_language([turn]))
        if about.event_time is not None:
            yield TimeSpan(about.event_time, about.event_time)


def _within(time: SaidTime, spans: Iterable[TimeSpan]) -> bool:
    """Tells whether a time lies in one that was spoken of, give or take a day."""
    if time.until < time.start:
        return False
    return any(
        time.start >= _shifted(span.start, -_SLACK) and time.until <= _shifted(span.end, 2 * _SLACK)
        for span in spans
    )


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment


def _words_of_time(time: SaidTime) -> frozenset[str]:
    """The words that a date is written with: an item may say when, where its turns said `today`."""
    words: set[str] = set()
    last = max(time.start, _shifted(time.until, -timedelta(days=1)))
    for moment in (time.start, last):
        year, month, day = str(moment.year), str(moment.month), str(moment.day)
        words |= {year, month, day, month.zfill(2), day.zfill(2), *_MONTHS[moment.month - 1]}
        words |= {f"{moment.hour:02}:{moment.minute:02}"}
    return frozenset(words)
