"""Times beside a date: "two days before 8 May", "the week of 8 May", "the Friday after 8 May"."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta

from memos_ray.core.reader.times.calendar import Atom, day_atom, weekend_atom
from memos_ray.core.reader.times.english_units import WEEKDAYS, step
from memos_ray.core.reader.times.grammar import Scan
from memos_ray.core.reader.times.mention import Granularity
from memos_ray.core.reader.times.numbers import ENGLISH_COUNT, english_count

_REACH = 48
_BESIDE = re.compile(
    rf"\b(?:the\s+)?(?:(?P<count>{ENGLISH_COUNT})\s+)?"
    rf"(?P<unit>day|weekend|week|month|year|{'|'.join(WEEKDAYS)})s?\s+"
    r"(?P<way>before|after|following|of)\s+(?:the\s+)?$"
)


def beside(atom: Atom, scan: Scan) -> Atom | None:
    """Returns the span that the words before a day place beside it; None without such words."""
    if atom.granularity is not Granularity.DAY:
        return None
    match = _BESIDE.search(scan.low, max(0, atom.begin - _REACH), atom.begin)
    if match is None or (match["way"] == "of" and match["unit"] not in {"week", "weekend"}):
        return None
    least, greatest = english_count(match["count"] or "one")
    if least != greatest:
        return None
    count = {"before": -least, "of": 0}.get(match["way"], least)
    try:
        found = _moved((match.start(), atom.end), match["unit"], count, atom.start.date())
    except (OverflowError, ValueError):
        return None
    return replace(found, year_guessed=atom.year_guessed)


def _moved(place: tuple[int, int], unit: str, count: int, day: date) -> Atom:
    if unit in WEEKDAYS:
        distance = (WEEKDAYS.index(unit) - day.weekday()) % 7
        if count < 0:
            distance = distance - 7
        return day_atom(place, day + timedelta(days=distance or 7))
    if unit == "weekend" and count < 0:
        last_sunday = day - timedelta(days=day.weekday() + 1)
        return weekend_atom(place, last_sunday)
    return step(unit, count, place, day)
