"""Times in filters: dates, date-times, and times relative to now, as spans of microseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from memos_ray.core.cube.facets import from_micros, to_micros

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_UNITS = {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND, "d": _DAY, "w": 7 * _DAY}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]"
    r"([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_RELATIVE = re.compile(r"now(?:\s*([+-])\s*((?:[0-9]{1,9}[smhdw])+))?")
_PART = re.compile(r"([0-9]+)([smhdw])")
_FIRST = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST = to_micros(datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Span:
    """What a time stands for: microseconds since 1970, `start <= t < end`."""

    start: int
    end: int


def read_span(text: str, now: datetime) -> Span | None:
    """Reads a time; a date spans its day in UTC, everything else one microsecond.

    Returns:
        Nothing when the text is no time, or lies outside the years 1 to 9999.
    """
    try:
        if _DATE.fullmatch(text):
            start = to_micros(datetime.combine(date.fromisoformat(text), time(), UTC))
            return Span(start, start + _DAY)
        micros = _instant(text, now)
    except ValueError:
        return None
    return Span(micros, micros + 1) if micros is not None and _FIRST <= micros <= _LAST else None


def write_moment(micros: int) -> str:
    """Writes a moment as `read_span` reads it: midnight as a date, which starts there.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    if micros % _DAY == 0:
        return from_micros(micros).date().isoformat()
    return write_instant(micros)


def write_instant(micros: int) -> str:
    """Writes a moment as a date and time, midnight included.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def is_day(start: int, end: int) -> bool:
    """Tells whether a span is one day in UTC."""
    return start % _DAY == 0 and end - start == _DAY


def _instant(text: str, now: datetime) -> int | None:
    if found := _DATETIME.fullmatch(text):
        day, clock, offset = found.groups()
        return to_micros(datetime.fromisoformat(f"{day}T{clock}{offset or 'Z'}"))
    if found := _RELATIVE.fullmatch(text):
        sign, parts = found.groups()
        away = sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(parts or ""))
        return to_micros(now) + (away if sign == "+" else -away)
    return None
