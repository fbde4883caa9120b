"""Times that a request counts from an event: "the week before her birthday", 婚礼后两天."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.reader.times import EARLIEST, LATEST, Granularity, TimeMention, resolve_times
from memos_ray.core.reader.times.numbers import ENGLISH_COUNT, chinese_number, english_count
from memos_ray.core.reader.turns.phrases import phrases

_MOST_COUNT = 1_000


class Way(StrEnum):
    """Where a time lies, seen from an event."""

    BEFORE = "before"
    AFTER = "after"
    SINCE = "since"
    UNTIL = "until"
    DURING = "during"


@dataclass(frozen=True, slots=True)
class AnchoredTime:
    """A time that only the date of an event tells.

    Attributes:
        words: as the request has them.
        event: what happened, in words to look for it.
        unit: `day`, `weekend`, `week`, `month`, `year` or a day of the week; None: everything
            before, or after.
        count: how many of them.
    """

    words: str
    event: str
    way: Way
    unit: str | None = None
    count: int = 1


_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNIT = rf"day|night|morning|evening|weekend|week|fortnight|month|year|{'|'.join(_WEEKDAYS)}"
_NAME = r"(?-i:[A-Z])[\w\u2019'-]*"
_EVENT = (
    rf"(?P<event>(?:(?:the|my|your|his|her|its|our|their)\s+|{_NAME}(?:\s{_NAME}){{0,3}}['\u2019]s\s+)"
    r"[^?.,;!\n]{2,80}"
    rf"|(?:i|you|he|she|it|we|they|{_NAME})\s+[a-z][^?.,;!\n]{{2,80}})"
)
_COUNTED = re.compile(
    rf"\b(?:the\s+)?(?:(?P<count>{ENGLISH_COUNT})\s+)?(?P<unit>{_UNIT})(?P<many>s?)\s+"
    rf"(?P<way>before|after|following|preceding|prior to|(?<=the day )of|(?<=the week )of|"
    rf"(?<=the weekend )of)\s+{_EVENT}",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"\b(?P<way>before|after|since|until|till|following|prior to)\s+{_EVENT}", re.IGNORECASE
)
_ON = re.compile(
    rf"\bon\s+(?P<event>(?:(?:the|my|your|his|her|our|their)\s+|{_NAME}['\u2019]s\s+)"
    r"(?:\w+\s+){0,2}?(?:birthday|wedding(?: day)?|anniversary|graduation|funeral|first day|"
    r"last day|day of (?:the|his|her|their|our|my) \w+))\b",
    re.IGNORECASE,
)
# What follows no longer says what happened.
_TAIL = re.compile(
    r"\s+(?:and|but|or|while|what|who|where|when|how|did|does|do|was|were|is|are|will|has|had)\s.*$",
    re.IGNORECASE | re.DOTALL,
)
_NO_EVENT = re.compile(
    r"^(?:that|this|it|the (?:day|week|month|year|morning|evening|night|weekend|summer|winter|"
    r"spring|fall|autumn|others?|rest|same|fact|time|end|age)\b.*|(?:i|you|we) (?:go|ask|say|know|"
    r"think|start(?:ed)?|continue|get)\b.*)$",
    re.IGNORECASE,
)
_DANGLING = re.compile(r"\s*\b(?:in|on|at|of|before|after|since|during|the|early|late)\s*$", re.I)
_WHOSE = re.compile(r"(?:he|she|they|his|her|their)\b", re.IGNORECASE)
_WAYS = {
    "before": Way.BEFORE,
    "preceding": Way.BEFORE,
    "prior to": Way.BEFORE,
    "after": Way.AFTER,
    "following": Way.AFTER,
    "of": Way.DURING,
    "since": Way.SINCE,
    "until": Way.UNTIL,
    "till": Way.UNTIL,
}
_LATER = frozenset({"after", "following"})
_CLAUSE = re.compile(rf"(?:i|you|he|she|it|we|they|{_NAME})\s+[a-z]", re.IGNORECASE)
_UNITS = {"night": "day", "morning": "day", "evening": "day"}

_ZH_NUMBER = r"[一两二三四五六七八九十半\d]{1,3}"
_ZH_EVENT = r"(?P<event>[^\s,\uff0c。.?\uff1f!\uff01;\uff1b]{2,24}?)的?"
_ZH_COUNTED = re.compile(
    rf"{_ZH_EVENT}(?P<way>之?[前后後]|以[前后後])的?第?(?P<count>{_ZH_NUMBER})个?(?P<unit>天|日|周|星期|礼拜|月|年)"
)
_ZH_BARE = re.compile(
    rf"{_ZH_EVENT}(?P<way>之前|之后|之後|以前|以后|以後|前(?=[,\uff0c\s]|[我你他她他们]|住|在|做|去|有|是|的)|"
    r"那天|当天|當天|那周|那个星期|当晚)"
)
_ZH_UNITS = {
    "天": "day",
    "日": "day",
    "周": "week",
    "星期": "week",
    "礼拜": "week",
    "月": "month",
    "年": "year",
}
# "Three days ago" counts from now, and 以前 alone from nothing.
_ZH_NO_EVENT = re.compile(
    r"^(?:.*?)(?:[\d一两二三四五六七八九十几半多]+个?(?:多)?(?:天|日|周|星期|礼拜|月|年|小时|分钟|点)|"
    r"在?(?:这|那|此|从|很久|不久|大|提|目|空|面|最|今|然|随|先))$"
)
_ZH_TRIM = re.compile(r"^(?:.*?[在自从]|.*?(?:什么|哪里|谁))?(?=.{2})")


def find_anchored(text: str, language: str) -> AnchoredTime | None:
    """Finds a time that counts from an event, the first of the text."""
    return _chinese(text) if language == "zh" else _english(text)


def _english(text: str) -> AnchoredTime | None:
    for pattern in (_COUNTED, _BARE, _ON):
        for match in pattern.finditer(text):
            event = _untimed(_without_tail(match["event"]))
            if _NO_EVENT.match(event) or len(event) < 4:
                continue
            found = match.groupdict()
            if pattern is _BARE and found["way"].lower() in _LATER and not _CLAUSE.match(event):
                # Of an event one mostly hears after it: "after the concert" restricts nothing.
                continue
            way = _WAYS[found["way"].lower()] if found.get("way") else Way.DURING
            unit, count = found.get("unit"), 1
            if found.get("many") and not found.get("count"):
                # "How many days after the wedding" asks, "the days after" is vague.
                continue
            if found.get("count"):
                least, most = english_count(str(found["count"]).lower())
                if least != most or not 0 < least <= _MOST_COUNT:
                    continue
                count = least
            if unit is not None:
                unit = unit.lower()
                count = 2 * count if unit == "fortnight" else count
                unit = "week" if unit == "fortnight" else _UNITS.get(unit, unit)
            end = match.start("event") + len(event)
            words = text[match.start() : end].strip()
            return AnchoredTime(words, _named(event, text[: match.start()]), way, unit, count)
    return None


def _without_tail(event: str) -> str:
    """Cuts off where the question goes on; the verb of "Bo was born" is not such a place."""
    kept = _CLAUSE.match(event)
    begin = kept.end() if kept else 0
    verb = re.match(r"\w*", event[begin:])
    begin += verb.end() if kept and verb else 0
    return (event[:begin] + _TAIL.sub("", event[begin:])).strip()


def _named(event: str, before: str) -> str:
    """Says who it was of, when the request names one person before: "did Ann call before she"."""
    match = _WHOSE.match(event)
    if match is None:
        return event
    people = [one for one in phrases(before) if one.person is not False and not one.place]
    outer = [
        one
        for one in people
        if not any(two.begin <= one.begin and one.end < two.end for two in people)
    ]
    if len(outer) != 1 or not (outer[0].name or outer[0].person):
        return event
    owned = "'s" if match[0].lower() in {"his", "her", "their"} else ""
    return f"{outer[0].text}{owned}{event[match.end() :]}"


def _chinese(text: str) -> AnchoredTime | None:
    for pattern in (_ZH_COUNTED, _ZH_BARE):
        match = pattern.search(text)
        if match is None:
            continue
        trimmed = _ZH_TRIM.match(match["event"])
        begin = match.start("event") + (trimmed.end() if trimmed else 0)
        event = text[begin : match.end("event")]
        if len(event) < 2 or _ZH_NO_EVENT.match(event) or _is_time(event, "zh"):
            continue
        found = match.groupdict()
        way = Way.BEFORE if "前" in match["way"] else Way.DURING
        if any(one in match["way"] for one in "后後"):
            way = Way.AFTER
        unit = _ZH_UNITS.get(found.get("unit") or "")
        if unit is None and match["way"] in {"那周", "那个星期"}:
            unit = "week"
        number = found.get("count") or "一"
        count = int(number) if number.isdecimal() else max(1, chinese_number(number))
        if count <= _MOST_COUNT:
            return AnchoredTime(text[begin : match.end()], event, way, unit, count)
    return None


_SOME_DAY = datetime(2020, 6, 15, 12, tzinfo=EARLIEST.tzinfo)


def _untimed(event: str) -> str:
    """Cuts off what says when by itself: "the wedding in May 2026"."""
    for one in resolve_times(event, _SOME_DAY, language="en"):
        return _DANGLING.sub("", event[: max(0, event.find(one.text))]).strip()
    return event


def _is_time(event: str, language: str) -> bool:
    times = resolve_times(event, _SOME_DAY, language=language)
    return any(len(one.text) >= 0.6 * len(event) for one in times)


def beside(asked: AnchoredTime, day: TimeSpan, now: datetime, tz: tzinfo) -> TimeMention | None:
    """Returns the time that lies so beside an event; None where the calendar has none.

    Args:
        day: when the event was: a day, or a few.
    """
    try:
        start, end = _bounds(asked, day, now, tz)
    except (ValueError, OverflowError):
        return None
    if end <= start:
        return None
    granularity = {
        "day": Granularity.DAY,
        "weekend": Granularity.WEEKEND,
        "week": Granularity.WEEK,
        "month": Granularity.MONTH,
        "year": Granularity.YEAR,
    }.get(asked.unit or "", Granularity.DAY if asked.unit in _WEEKDAYS else Granularity.RANGE)
    return TimeMention(start, end, asked.words, granularity)


def _bounds(
    asked: AnchoredTime, day: TimeSpan, now: datetime, tz: tzinfo
) -> tuple[datetime, datetime]:
    if asked.unit is None or asked.way in {Way.SINCE, Way.UNTIL}:
        match asked.way:
            case Way.BEFORE:
                return EARLIEST, day.start
            case Way.AFTER:
                return day.end, LATEST
            case Way.SINCE:
                return day.start, max(now, day.end)
            case Way.UNTIL:
                return EARLIEST, day.end
            case Way.DURING:
                return day.start, day.end
    first = day.start.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0)
    after = (day.end - timedelta(microseconds=1)).astimezone(tz).replace(
        hour=0, minute=0, second=0, microsecond=0
    ) + timedelta(days=1)
    if asked.way is Way.DURING:
        monday = first - timedelta(days=first.weekday())
        days = {"weekend": (5, 7), "week": (0, 7)}.get(asked.unit)
        if days is None:
            return first, after
        return monday + timedelta(days=days[0]), monday + timedelta(days=days[1])
    if asked.unit == "day":
        # "Two days after" is a day, and "the two days after" is rarely meant.
        at = first - timedelta(days=asked.count)
        if asked.way is Way.AFTER:
            at = after + timedelta(days=asked.count - 1)
        return at, at + timedelta(days=1)
    if asked.unit in _WEEKDAYS:
        wanted = _WEEKDAYS.index(asked.unit)
        if asked.way is Way.BEFORE:
            at = first - timedelta(days=(first.weekday() - wanted) % 7 or 7)
        else:
            at = after + timedelta(days=(wanted - after.weekday()) % 7)
        return at, at + timedelta(days=1)
    if asked.unit == "weekend":
        if asked.way is Way.BEFORE:
            sunday = first - timedelta(days=(first.weekday() + 1) % 7 or 7)
            return sunday - timedelta(days=1), sunday + timedelta(days=1)
        saturday = after + timedelta(days=(5 - after.weekday()) % 7)
        return saturday, saturday + timedelta(days=2)
    step = {"week": 7, "month": 30, "year": 365}[asked.unit]
    if asked.way is Way.BEFORE:
        return first - timedelta(days=step * asked.count), first - timedelta(
            days=step * (asked.count - 1)
        )
    return after + timedelta(days=step * (asked.count - 1)), after + timedelta(
        days=step * asked.count
    )
