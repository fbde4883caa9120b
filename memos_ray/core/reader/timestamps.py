"""Reads time fields: values that are known to be one moment, in many shapes."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from functools import lru_cache

from memos_ray.core.reader.times import resolve_times

# Epoch values are told apart by size: seconds reach 1e11 in the year 5138, and milliseconds pass
# 1e11 in 1973.
_SECONDS_BELOW = 1e11
_MILLISECONDS_BELOW = 1e14
_MICROSECONDS_BELOW = 1e17
# Anything closer to 1970 than three years is a counter or a year, not an epoch value.
_SMALLEST_EPOCH = 1e8
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_WITH_SECONDS = re.compile(r"\d:\d\d:\d\d")
_COMPACT_DATE = re.compile(r"(?:19|20)\d{6}")
_WEEKDAY = re.compile(
    r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+|(?:周|星期)[一二三四五六日天]\s*|[()\uff08\uff09]",
    re.I,
)
_MAX_CHARS = 100


def parse_timestamp(value: object, tz: tzinfo) -> datetime:
    """Reads one moment.

    Understood are ISO 8601, RFC 2822, epoch seconds, milliseconds, microseconds and nanoseconds,
    and written dates such as "1:56 pm on 8 May, 2023", "March-15-2024" and 2023年5月8日. A day
    without a time of day is its first moment, and so is a month or a year. 5/8/2023 is read as in
    the United States.

    Args:
        value: number or text.
        tz: the zone of values that name none.

    Returns:
        Aware UTC.

    Raises:
        ValueError: the value is no time, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a time is a number or a text")
    if isinstance(value, str):
        return _from_text(" ".join(value.split()), tz)
    return _from_number(value, tz)


def _from_number(value: float, tz: tzinfo) -> datetime:
    size = abs(value)
    if 1000 <= value < 3000 and value == int(value):
        return datetime(int(value), 1, 1, tzinfo=tz).astimezone(UTC)
    if not _SMALLEST_EPOCH <= size:
        raise ValueError("the number is no epoch value")
    limits = ((_SECONDS_BELOW, 1.0), (_MILLISECONDS_BELOW, 1e3), (_MICROSECONDS_BELOW, 1e6))
    for limit, unit in limits:
        if size < limit:
            return _since_epoch(value / unit)
    return _since_epoch(value / 1e9)


def _since_epoch(seconds: float) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError("the epoch value is out of range") from None


@lru_cache(maxsize=1024)
def _from_text(text: str, tz: tzinfo) -> datetime:
    if not text or len(text) > _MAX_CHARS:
        raise ValueError("a time is a short text")
    if _COMPACT_DATE.fullmatch(text):
        return _aware(datetime.strptime(text, "%Y%m%d"), tz)
    if _NUMBER.fullmatch(text):
        return _from_number(float(text), tz)
    for reader in (_iso, _mail, _written, _any_language):
        moment = reader(text, tz)
        if moment is not None:
            return _aware(moment, tz)
    raise ValueError("not a time that can be read")


def _aware(moment: datetime, tz: tzinfo) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=tz)).astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _iso(text: str, tz: tzinfo) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _mail(text: str, tz: tzinfo) -> datetime | None:
    # The mail parser takes almost anything with digits; only its own shape ends in a zone.
    if not re.search(r"\d:\d\d(?::\d\d)? (?:[+-]\d{4}|GMT|UT)$", text):
        return None
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _written(text: str, tz: tzinfo) -> datetime | None:
    # The grammar reads minutes; the finer clock is left to the last reader.
    if _WITH_SECONDS.search(text):
        return None
    mentions = resolve_times(text, None, tz=tz)
    if len(mentions) != 1:
        return None
    # Words around the date may only name its weekday; anything else has not been understood.
    rest = text.replace(mentions[0].text, "", 1)
    return None if _WEEKDAY.sub("", rest).strip(" ,.") else mentions[0].start


def _any_language(text: str, tz: tzinfo) -> datetime | None:
    import dateparser

    # Day, month and year must stand in the text, so that the base date never shows through.
    parsed: datetime | None = dateparser.parse(
        text,
        settings={
            "RELATIVE_BASE": datetime.combine(date(2000, 1, 1), datetime.min.time()),
            "REQUIRE_PARTS": ["day", "month", "year"],
            "PARSERS": ["absolute-time"],
            # Without a wish about awareness the result is aware only if the text states a zone.
            "TIMEZONE": "UTC",
        },
    )
    return parsed
