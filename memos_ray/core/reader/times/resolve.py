"""Finds the times that a text speaks of, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from memos_ray.core.reader.times import other_languages
from memos_ray.core.reader.times.calendar import Atom, Calendar
from memos_ray.core.reader.times.chinese import CHINESE_RULES, GATE
from memos_ray.core.reader.times.combine import compose, longest
from memos_ray.core.reader.times.english_dates import DATE_RULES, YEAR_RULES
from memos_ray.core.reader.times.english_units import UNIT_RULES
from memos_ray.core.reader.times.grammar import Rule, Scan, apply
from memos_ray.core.reader.times.mention import TimeMention
from memos_ray.core.reader.times.numeric import NUMERIC_RULES

# Nobody says a hundred thousand characters in one breath; beyond that only time would be lost.
MAX_SCANNED_CHARS = 100_000

# Near the ends of the calendar, "the next decade" does not exist; nobody speaks from there.
_FIRST_YEAR, _LAST_YEAR = 100, 9900

_DIGIT = re.compile(r"\d")
_WORDS = re.compile(r"[a-z]+")
_WORD_RULES: tuple[Rule, ...] = (*UNIT_RULES, *DATE_RULES)
# These prove nothing alone: every rule that they trigger needs a unit or a name beside them.
_WEAK = frozenset({"back", "last", "this", "next", "now", "first", "second", "third", "fourth"})
_TRIGGERS = frozenset[str]().union(*(one.triggers for one in _WORD_RULES)) - _WEAK
_GROUNDED_LANGUAGES = frozenset({"en", "zh"})


def resolve_times(
    text: str,
    anchor: datetime | None,
    *,
    tz: tzinfo | None = None,
    language: str | None = None,
) -> tuple[TimeMention, ...]:
    """Finds times, absolute and relative, and resolves each to a span.

    Text without a time word costs some microseconds; other text, some tens.

    Args:
        text: what was said; its first `MAX_SCANNED_CHARS` characters are read.
        anchor: the moment it was said, aware, which "yesterday" is relative to. Without it only
            times that need none are found ("May 2023").
        tz: the zone in which days begin; that of the anchor when absent.
        language: BCP 47 hint, such as `en-GB`. A region outside the United States makes 5/8/2023
            the fifth of August; a language other than English and Chinese is read by `dateparser`
            in addition, which costs milliseconds.

    Returns:
        Mentions in the order of the text; they do not overlap.

    Raises:
        ValueError: the anchor is naive.
    """
    if anchor is not None and anchor.tzinfo is None:
        raise ValueError("the anchor needs a time zone")
    if anchor is not None and not _FIRST_YEAR <= anchor.year <= _LAST_YEAR:
        anchor = None
    zone = tz or (anchor.tzinfo if anchor is not None else None) or UTC
    text = text[:MAX_SCANNED_CHARS]
    scan = Scan(text, _lowered(text), Calendar(zone, anchor), _day_first(language))
    atoms = list(_atoms(scan))
    base = (language or "en").split("-")[0].lower()
    if base not in _GROUNDED_LANGUAGES:
        atoms.extend(other_languages.atoms(scan, base))
    if not atoms:
        return ()
    composed = compose(longest(atoms), scan)
    mentions = (scan.calendar.mention(atom, text) for atom in composed)
    return tuple(mention for mention in mentions if mention is not None)


def _atoms(scan: Scan) -> Iterator[Atom]:
    has_digit = _DIGIT.search(scan.low) is not None
    words = frozenset(_WORDS.findall(scan.low))
    if not words.isdisjoint(_TRIGGERS):
        for one in _WORD_RULES:
            if not one.triggers.isdisjoint(words):
                yield from apply(one, scan)
    if has_digit:
        for one in NUMERIC_RULES:
            yield from apply(one, scan)
        for one in YEAR_RULES:
            if not one.triggers.isdisjoint(words):
                yield from apply(one, scan)
    if not scan.low.isascii() and GATE.search(scan.low):
        for one in CHINESE_RULES:
            yield from apply(one, scan)


def _lowered(text: str) -> str:
    low = text.lower()
    if len(low) == len(text):
        return low
    # A few letters grow when lowered (İ); offsets must agree with the text.
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _day_first(language: str | None) -> bool:
    if language is None or language.lower() in {"en", "en-us", "zh"}:
        return False
    return not language.lower().startswith("zh")
