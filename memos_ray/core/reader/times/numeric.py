"""Dates and clock times in digits, of any language."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

from memos_ray.core.reader.times.calendar import Atom, day_atom, month_atom
from memos_ray.core.reader.times.grammar import Rule, Scan, rule
from memos_ray.core.reader.times.mention import Granularity

_CLOCK = r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_ZONE = r"(?P<zone>z|[+-]\d{2}:?\d{2})?"
# "3pm", "3:05 p.m.", "15:05"; a bare number is no time of day.
_CLOCK_WORDS = (
    r"(?P<hour>[01]?\d|2[0-3])(?::(?P<minute>[0-5]\d))?(?::[0-5]\d)?"
    r"(?:\s*(?P<half>[ap]m\b|[ap]\.m\b\.?))?"
)
_CLOCK_AFTER = re.compile(rf"\s*,?\s*(?:at\s+|@\s*|around\s+)?{_CLOCK_WORDS}(?![\d:/%-]|\.\d)")
_CLOCK_BEFORE = re.compile(rf"(?<![\d:./-]){_CLOCK_WORDS}(?:\s*,)?\s+(?:on\s+)?$")
_CLOCK_REACH = 24


def _iso(match: re.Match[str], scan: Scan) -> Atom | None:
    day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    if not match["clock"]:
        return day_atom(match.span(), day)
    start = datetime(day.year, day.month, day.day) + timedelta(
        hours=int(match["hour"]), minutes=int(match["minute"])
    )
    if match["zone"]:
        start = start.replace(tzinfo=_offset(match["zone"]))
        start = start.astimezone(scan.calendar.tz).replace(tzinfo=None)
    return Atom(*match.span(), start, start + timedelta(minutes=1), Granularity.MINUTE)


def _offset(zone: str) -> timezone:
    if zone == "z":
        return UTC
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if zone[0] == "-" else offset)


def _iso_month(match: re.Match[str], scan: Scan) -> Atom:
    return month_atom(match.span(), int(match["year"]), int(match["month"]))


def _slashed(match: re.Match[str], scan: Scan) -> Atom:
    one, two, year = int(match["one"]), int(match["two"]), int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= 70 else 2000
    day_first = one > 12 or (scan.day_first and two <= 12) or match["mark"] == "."
    day, month = (one, two) if day_first else (two, one)
    return day_atom(match.span(), date(year, month, day))


def with_clock(atom: Atom, low: str) -> Atom:
    """Narrows a day to the time of day that stands right after or before it ("8 May at 3pm")."""
    if atom.granularity is not Granularity.DAY:
        return atom
    match = _CLOCK_AFTER.match(low, atom.end, atom.end + _CLOCK_REACH)
    if match is not None and (match["minute"] or match["half"]):
        return _at(replace(atom, end=match.end()), match)
    reach = max(0, atom.begin - _CLOCK_REACH)
    match = _CLOCK_BEFORE.search(low, reach, atom.begin)
    if match is not None and (match["minute"] or match["half"]):
        return _at(replace(atom, begin=match.start()), match)
    return atom


def _at(atom: Atom, match: re.Match[str]) -> Atom:
    hour, minute = int(match["hour"]), match["minute"]
    if match["half"] and hour <= 12:
        hour = hour % 12 + (12 if match["half"][0] == "p" else 0)
    start = atom.start + timedelta(hours=hour, minutes=int(minute or 0))
    if minute is None:
        return replace(
            atom, start=start, stop=start + timedelta(hours=1), granularity=Granularity.HOUR
        )
    return replace(
        atom, start=start, stop=start + timedelta(minutes=1), granularity=Granularity.MINUTE
    )


# Tried when the text holds a digit; they have no trigger words.
NUMERIC_RULES: tuple[Rule, ...] = (
    rule(
        "",
        r"(?<![\w.-])(?P<year>[12]\d{3})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
        rf"(?P<clock>[t ]{_CLOCK}{_ZONE}(?=\D|$))?(?![\d-]|\.\d)",
        _iso,
    ),
    rule("", r"(?<![\w./-])(?P<year>[12]\d{3})-(?P<month>0[1-9]|1[0-2])(?![\w-])", _iso_month),
    rule(
        "",
        r"(?<![\w./-])(?P<one>\d{1,2})(?P<mark>[/.-])(?P<two>\d{1,2})(?P=mark)"
        r"(?P<year>[12]\d{3}|(?<=/)\d{2})(?![\w/-]|\.\d)",
        _slashed,
    ),
)
