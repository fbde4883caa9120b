"""English times that are relative to now: days, weekdays, and counted units."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from memos_ray.core.reader.times.calendar import (
    Atom,
    day_atom,
    first_of_month,
    midnight,
    month_atom,
    months_atom,
    span,
    week_atom,
    weekend_atom,
    year_atom,
)
from memos_ray.core.reader.times.grammar import Rule, Scan, leans_future, rule
from memos_ray.core.reader.times.mention import Granularity
from memos_ray.core.reader.times.numbers import ENGLISH_COUNT, english_count

_DAY = timedelta(days=1)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = "|".join(WEEKDAYS)
_SHORT_WEEKDAY = "mon|tues?|wed|thu(?:rs?)?|fri|sat|sun"
_DAYPART = r"morning|afternoon|evening|night"
_UNIT = r"minute|hour|day|weekend|week|fortnight|month|quarter|year|decade"
_UNIT_WORDS = (
    "minute minutes hour hours day days weekend weekends week weeks fortnight month months "
    "quarter quarters year years decade decades"
)
# First hour, and hours covered; a night runs past midnight.
_DAYPART_HOURS = {"morning": (5, 7), "afternoon": (12, 6), "evening": (18, 6), "night": (18, 11)}


def step(unit: str, count: int, place: tuple[int, int], today: date) -> Atom:
    """Makes the atom of the calendar unit that lies `count` units after the current one."""
    match unit:
        case "day":
            return day_atom(place, today + timedelta(days=count))
        case "week":
            return week_atom(place, today + timedelta(weeks=count))
        case "fortnight":
            return week_atom(place, today + timedelta(weeks=2 * count))
        case "weekend":
            return weekend_atom(place, today + timedelta(weeks=count))
        case "month":
            return month_atom(place, today.year, today.month + count)
        case "quarter":
            first = 3 * ((today.month - 1) // 3) + 1
            return months_atom(place, today.year, first + 3 * count, 3, Granularity.QUARTER)
        case "year":
            return year_atom(place, today.year + count)
        case "decade":
            first_year = today.year - today.year % 10 + 10 * count
            return months_atom(place, first_year, 1, 120, Granularity.DECADE)
    raise ValueError("not a calendar unit")


def counted(unit: str, least: int, greatest: int, place: tuple[int, int], scan: Scan) -> Atom:
    """Makes the atom that lies `least` to `greatest` units away; negative is the past.

    One number names a calendar unit ("two weeks ago" is that week), a vague count a range.
    """
    if unit in {"minute", "hour"}:
        return _counted_clock(unit, least, greatest, place, scan)
    today = scan.calendar.today
    if least == greatest:
        return step(unit, least, place, today)
    first, last = step(unit, least, place, today), step(unit, greatest, place, today)
    return Atom(*place, first.start, last.stop, Granularity.RANGE)


def _counted_clock(
    unit: str, least: int, greatest: int, place: tuple[int, int], scan: Scan
) -> Atom:
    size = timedelta(minutes=1) if unit == "minute" else timedelta(hours=1)
    start = scan.calendar.shifted(least * size).replace(second=0, microsecond=0)
    if unit == "hour" and least == greatest:
        start = start.replace(minute=0)
    width = size * (greatest - least + 1)
    return Atom(*place, start, start + width, Granularity(unit) if least == greatest else _RANGE)


_RANGE = Granularity.RANGE


def rolling(unit: str, count: int, place: tuple[int, int], scan: Scan) -> Atom:
    """Makes the atom of the last `count` units up to now, or the next ones when negative."""
    today = scan.calendar.today
    if unit in {"minute", "hour"}:
        size = timedelta(minutes=1) if unit == "minute" else timedelta(hours=1)
        return _between(place, scan.calendar.shifted(-count * size), scan.calendar.now)
    if unit in {"month", "quarter", "year", "decade"}:
        months = count * {"month": 1, "quarter": 3, "year": 12, "decade": 120}[unit]
        other = first_of_month(today.year, today.month - months)
        other = other + min(today.day - 1, 27) * _DAY
    else:
        days = count * {"day": 1, "week": 7, "weekend": 7, "fortnight": 14}[unit]
        other = today - timedelta(days=days)
    if count < 0:
        return span(place, today, other + _DAY, _RANGE)
    return span(place, other, today + _DAY, _RANGE)


def _between(place: tuple[int, int], one: datetime, other: datetime) -> Atom:
    return Atom(*place, min(one, other), max(one, other) + timedelta(minutes=1), _RANGE)


def daypart(atom: Atom, part: str, end: int) -> Atom:
    """Narrows a day to its morning, afternoon, evening or night."""
    first_hour, hours = _DAYPART_HOURS[part]
    start = atom.start + timedelta(hours=first_hour)
    return Atom(atom.begin, end, start, start + timedelta(hours=hours), Granularity.DAYPART)


def _ago(match: re.Match[str], scan: Scan) -> Atom:
    least, greatest = english_count(match["count"])
    return counted(match["unit"], -greatest, -least, match.span(), scan)


def _from_now(match: re.Match[str], scan: Scan) -> Atom:
    least, greatest = english_count(match["count"])
    return counted(match["unit"], least, greatest, match.span(), scan)


def _in_units(match: re.Match[str], scan: Scan) -> Atom | None:
    # "I built it in two days" is a duration; only a clause about the future makes it a time.
    if not (match["time"] or leans_future(scan, match.start())):
        return None
    return _from_now(match, scan)


def _half_ago(match: re.Match[str], scan: Scan) -> Atom:
    if match["unit"] == "year":
        return counted("month", -6, -6, match.span(), scan)
    return counted("minute", -30, -30, match.span(), scan)


def _rolling(match: re.Match[str], scan: Scan) -> Atom:
    _, greatest = english_count(match["count"])
    ahead = match["side"] in {"next", "coming"}
    return rolling(match["unit"], -greatest if ahead else greatest, match.span(), scan)


def _unit(match: re.Match[str], scan: Scan) -> Atom:
    unit, side, place = match["unit"], match["side"], match.span()
    if side == "past":
        return rolling(unit, 1, place, scan)
    offset = {"last": -1, "previous": -1, "this past": -1, "next": 1, "coming": 1, "upcoming": 1}
    if side == "this past" and unit == "weekend":
        return _recent_weekend(place, scan)
    return step(unit, offset.get(side, 0), place, scan.calendar.today)


def _recent_weekend(place: tuple[int, int], scan: Scan) -> Atom:
    today = scan.calendar.today
    return weekend_atom(place, today if today.weekday() >= 5 else today - timedelta(weeks=1))


def _weekend(match: re.Match[str], scan: Scan) -> Atom:
    if leans_future(scan, match.start()):
        return weekend_atom(match.span(), scan.calendar.today)
    return _recent_weekend(match.span(), scan)


def _before_last(match: re.Match[str], scan: Scan) -> Atom:
    offset = -2 if match["side"] == "before last" else 2
    return step(match["unit"], offset, match.span(), scan.calendar.today)


_DAY_OFFSETS = {
    "the day before yesterday": -2,
    "day before yesterday": -2,
    "yesterday": -1,
    "today": 0,
    "tomorrow": 1,
    "the day after tomorrow": 2,
    "day after tomorrow": 2,
}


def _named_day(match: re.Match[str], scan: Scan) -> Atom:
    day = scan.calendar.today + timedelta(days=_DAY_OFFSETS[match["day"]])
    atom = day_atom(match.span(), day)
    return daypart(atom, match["part"], match.end()) if match["part"] else atom


def _near_daypart(match: re.Match[str], scan: Scan) -> Atom:
    words = match[0]
    day = scan.calendar.today - (_DAY if words == "last night" else timedelta())
    part = "night" if words in {"tonight", "last night"} else words.split()[-1]
    return daypart(day_atom(match.span(), day), part, match.end())


def _weekday(match: re.Match[str], scan: Scan) -> Atom | None:
    side = match["side"] or ""
    # "Every Monday" and "on Mondays" recur; no single span is meant.
    if side in {"every", "each"} or match["plural"]:
        return None
    index = next(i for i, day in enumerate(WEEKDAYS) if day.startswith(match["weekday"][:3]))
    today = scan.calendar.today
    week = match["week_after"] or match["week_of"]
    if week:
        monday = midnight(today - timedelta(days=today.weekday()))
        offset = {"last": -7, "this": 0, "next": 7}[week] + index
        day = monday.date() + timedelta(days=offset)
    elif side == "this":
        day = today + timedelta(days=index - today.weekday())
    else:
        day = _nearest(index, side, today, match, scan)
    atom = day_atom(match.span(), day)
    return daypart(atom, match["part"], match.end()) if match["part"] else atom


def _nearest(index: int, side: str, today: date, match: re.Match[str], scan: Scan) -> date:
    behind = (today.weekday() - index) % 7 or 7
    ahead = (index - today.weekday()) % 7 or 7
    explicit = side in {"next", "coming", "this coming", "upcoming"}
    if explicit or (side == "" and leans_future(scan, match.start())):
        return today + timedelta(days=ahead)
    return today - timedelta(days=behind)


def _short_weekday(match: re.Match[str], scan: Scan) -> Atom | None:
    # "sat" and "sun" are words; the abbreviation is written with a capital.
    if not scan.text[match.start("weekday")].isupper():
        return None
    return _weekday(match, scan)


_WEEKDAY_TAIL = (
    rf"(?P<plural>s?)(?!\w)(?:\s+(?P<part>{_DAYPART})\b)?"
    r"(?:\s+(?P<week_after>last|this|next) week\b|\s+of\s+(?P<week_of>last|this|next) week\b)?"
)

UNIT_RULES: tuple[Rule, ...] = (
    rule(
        "ago back",
        rf"\b(?P<count>{ENGLISH_COUNT})\s+(?P<unit>{_UNIT})s?\s+"
        r"(?:ago|back(?!\s+(?:to|in|at|from|on|with|up)\b))\b",
        _ago,
    ),
    rule("ago", r"\bhalf\s+an?\s+(?P<unit>year|hour)\s+ago\b", _half_ago),
    rule(
        "now today",
        rf"\b(?P<count>{ENGLISH_COUNT})\s+(?P<unit>{_UNIT})s?\s+from\s+(?:now|today)\b",
        _from_now,
    ),
    rule(
        _UNIT_WORDS,
        rf"\bin\s+(?P<count>{ENGLISH_COUNT})\s+(?P<unit>{_UNIT})s?\b(?P<time>'?\s+time\b)?",
        _in_units,
    ),
    rule(
        _UNIT_WORDS,
        r"\b(?:the\s+|these\s+)?(?P<side>last|past|previous|next|coming)\s+"
        rf"(?P<count>{ENGLISH_COUNT})\s+(?P<unit>{_UNIT})s?\b",
        _rolling,
    ),
    rule(
        _UNIT_WORDS,
        r"\b(?P<side>last|this past|past|previous|this|current|next|coming|upcoming)\s+"
        r"(?P<unit>weekend|week|fortnight|month|quarter|year|decade)\b(?!\s+of\b|-)",
        _unit,
    ),
    rule("weekend", r"\b(?:over|at|on|during)\s+the\s+weekend\b", _weekend),
    rule(
        "last next",
        r"\bthe\s+(?P<unit>weekend|week|month|quarter|year)\s+(?P<side>before last|after next)\b",
        _before_last,
    ),
    rule(
        "yesterday today tomorrow",
        r"\b(?P<day>(?:the\s)?day before yesterday|(?:the\s)?day after tomorrow|"
        rf"yesterday|today|tomorrow)\b(?:\s+(?P<part>{_DAYPART})\b)?",
        _named_day,
    ),
    rule(
        "tonight night morning afternoon evening",
        r"\b(?:tonight|last night|this (?:morning|afternoon|evening))\b",
        _near_daypart,
    ),
    rule(
        " ".join((*WEEKDAYS, *(f"{day}s" for day in WEEKDAYS))),
        r"\b(?:(?P<side>last|this past|past|previous|this coming|this|next|coming|upcoming|every|"
        rf"each)\s+)?(?P<weekday>{_WEEKDAY}){_WEEKDAY_TAIL}",
        _weekday,
    ),
    rule(
        "mon tue tues wed thu thur thurs fri sat sun",
        rf"\b(?:(?P<side>last|this|next)\s+|on\s+)(?P<weekday>{_SHORT_WEEKDAY}){_WEEKDAY_TAIL}",
        _short_weekday,
    ),
)
