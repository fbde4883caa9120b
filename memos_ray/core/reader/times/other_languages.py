"""Times in languages without a grammar of their own, through `dateparser`.

It is over-eager, since it reads "mar" and "sat" as days, and takes milliseconds; so it is asked
only when the caller names the language, and a hit must hold a digit or be a longer word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from memos_ray.core.reader.times.calendar import (
    Atom,
    day_atom,
    month_atom,
    week_atom,
    year_atom,
)
from memos_ray.core.reader.times.grammar import Scan
from memos_ray.core.reader.times.mention import Granularity

# `search_dates` tries every split of a text; longer ones would take seconds.
_MAX_CHARS = 2_000
_SHORTEST_WORD = 4
_HAS_DIGIT = re.compile(r"\d")


def atoms(scan: Scan, language: str) -> Iterator[Atom]:
    """Yields the times that `dateparser` finds; nothing for a language that it does not know."""
    from dateparser.date import DateDataParser
    from dateparser.search import search_dates

    base = scan.calendar.now if scan.calendar.anchor is not None else datetime(2000, 1, 1)
    settings = {"RELATIVE_BASE": base, "TIMEZONE": "UTC", "PREFER_DATES_FROM": "past"}
    try:
        found = search_dates(scan.text[:_MAX_CHARS], languages=[language], settings=settings)
        parser = DateDataParser(languages=[language], settings=settings)
    except ValueError:
        return
    offset = 0
    for words, _ in found or ():
        begin = scan.text.find(words, offset)
        if begin < 0 or not (_HAS_DIGIT.search(words) or len(words) >= _SHORTEST_WORD):
            continue
        offset = begin + len(words)
        data = parser.get_date_data(words)
        stated = scan.calendar.anchor is not None or _HAS_DIGIT.search(words)
        if data.date_obj is not None and stated:
            yield _atom((begin, offset), data.date_obj.replace(tzinfo=None), data.period)


def _atom(place: tuple[int, int], moment: datetime, period: str | None) -> Atom:
    match period:
        case "year":
            return year_atom(place, moment.year)
        case "month":
            return month_atom(place, moment.year, moment.month)
        case "week":
            return week_atom(place, moment.date())
        case "time":
            start = moment.replace(second=0, microsecond=0)
            return Atom(*place, start, start + timedelta(minutes=1), Granularity.MINUTE)
    return day_atom(place, moment.date())
