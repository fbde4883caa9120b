"""Chinese times, absolute and relative, in simplified and traditional characters."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, timedelta

from memos_ray.core.reader.times.calendar import (
    Atom,
    day_atom,
    midnight,
    month_atom,
    months_atom,
    season_atom,
    week_atom,
    weekend_atom,
    year_atom,
)
from memos_ray.core.reader.times.english_units import counted, rolling, step
from memos_ray.core.reader.times.grammar import Rule, Scan, leans_future, rule, settle_year
from memos_ray.core.reader.times.mention import Granularity
from memos_ray.core.reader.times.numbers import CHINESE_COUNT, chinese_count, chinese_number

_YEAR_WORDS = {"大前年": -3, "前年": -2, "去年": -1, "今年": 0, "明年": 1, "后年": 2, "後年": 2}
_YEAR_WORD = "|".join(_YEAR_WORDS)
_YEAR_DIGITS = r"(?<!\d)(?:1\d{3}|20\d{2}|21\d{2})|[一二][零〇一二三四五六七八九]{3}"
_YEAR = rf"(?:(?P<year>{_YEAR_DIGITS})\s*年|(?P<near>{_YEAR_WORD}))"
_MONTH = r"(?P<month>1[0-2]|0?[1-9]|十[一二]?|[一二三四五六七八九])\s*月份?"
_ONE_TO_NINE = "[一二三四五六七八九]"
_DAY_NUMBER = rf"3[01]|[12]\d|0?[1-9]|三十一?|二十{_ONE_TO_NINE}?|十{_ONE_TO_NINE}?|{_ONE_TO_NINE}"
_DAY = rf"(?P<day>{_DAY_NUMBER})\s*[日号號]"
_DAY_WORDS = {
    "大前天": -3,
    "前天": -2,
    "昨天": -1,
    "昨日": -1,
    "今天": 0,
    "今日": 0,
    "明天": 1,
    "明日": 1,
    "后天": 2,
    "後天": 2,
    "大后天": 3,
    "大後天": 3,
}
_DAY_WORD = "|".join(sorted(_DAY_WORDS, key=len, reverse=True))
_PART_WORDS = {
    "凌晨": (0, 5),
    "早上": (5, 6),
    "早晨": (5, 6),
    "上午": (6, 6),
    "中午": (11, 3),
    "下午": (12, 6),
    "傍晚": (17, 3),
    "晚上": (18, 6),
    "夜里": (20, 9),
    "夜裡": (20, 9),
    "晚": (18, 6),
    "夜": (20, 9),
    "早": (5, 6),
    "晨": (5, 6),
}
_PART = "凌晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里|夜裡"
_PART_AFTER = re.compile(rf"\s*的?(?P<part>{_PART})")
_CLOCK_AFTER = re.compile(
    r"\s*的?(?P<hour>\d{1,2}|十[一二]?|二十[一二三]?|[一二两三四五六七八九])"
    r"(?:[点點时時](?:(?P<minute>[0-5]?\d)分?|(?P<half>半))?|[:\uff1a](?P<colon>[0-5]\d))"
)
_UNITS = {
    "天": "day",
    "日": "day",
    "周": "week",
    "週": "week",
    "星期": "week",
    "礼拜": "week",
    "禮拜": "week",
    "月": "month",
    "季度": "quarter",
    "年": "year",
    "小时": "hour",
    "小時": "hour",
    "钟头": "hour",
    "分钟": "minute",
    "分鐘": "minute",
}
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_WEEK = "周|週|星期|礼拜|禮拜"
_SIDES = {"上上": -2, "上": -1, "这": 0, "這": 0, "本": 0, "下": 1, "下下": 2}
_SIDE = "上上|下下|上|下|这|這|本"
_WEEKDAYS = {day: index for index, day in enumerate("一二三四五六日")} | {"天": 6}
# What half of a unit is, in whole smaller ones.
_HALVES = {
    "year": ("month", 6),
    "quarter": ("week", 6),
    "month": ("day", 15),
    "week": ("day", 3),
    "day": ("hour", 12),
    "hour": ("minute", 30),
    "minute": ("minute", 1),
}
_SEASONS = {"春": 0, "夏": 1, "秋": 2, "冬": 3}
# First month of a part of the year, and months covered.
_PORTIONS = {"初": (1, 3), "底": (11, 2), "末": (11, 2), "上半年": (1, 6), "下半年": (7, 6)}


def _year_of(match: re.Match[str], scan: Scan) -> int | None:
    if match["year"]:
        return chinese_number(match["year"])
    if match["near"]:
        return scan.calendar.today.year + _YEAR_WORDS[match["near"]]
    return None


def _year_or_this(match: re.Match[str], scan: Scan) -> int:
    year = _year_of(match, scan)
    return scan.calendar.today.year if year is None else year


def _date(match: re.Match[str], scan: Scan) -> Atom:
    month = chinese_number(match["month"])
    day = chinese_number(match["day"]) if match["day"] else None
    year, place = _year_of(match, scan), match.span()
    guess = _year_or_this(match, scan)
    if day is None:
        atom = month_atom(place, guess, month)
    else:
        atom = day_atom(place, date(guess, month, day))
    return settle_year(atom, scan) if year is None else atom


def _year(match: re.Match[str], scan: Scan) -> Atom:
    year = _year_or_this(match, scan)
    if not match["portion"]:
        return year_atom(match.span(), year)
    return _part_of_year(match.span(), year, match["portion"])


def _part_of_this_year(match: re.Match[str], scan: Scan) -> Atom:
    return _part_of_year(match.span(), scan.calendar.today.year, match["portion"])


def _part_of_year(place: tuple[int, int], year: int, portion: str) -> Atom:
    first, count = _PORTIONS[portion]
    return months_atom(place, year, first, count, Granularity.RANGE)


def _near_month(match: re.Match[str], scan: Scan) -> Atom:
    today = scan.calendar.today
    atom = month_atom(match.span(), today.year, today.month + _SIDES[match["side"]])
    if match["day"]:
        first = atom.start.date()
        day = date(first.year, first.month, chinese_number(match["day"]))
        return day_atom(match.span(), day)
    if match["portion"]:
        return third(atom, {"初": 0, "中": 1, "底": 2, "末": 2}[match["portion"]])
    return atom


def third(atom: Atom, index: int) -> Atom:
    """Narrows an atom to its first, middle or last third, in whole days."""
    days = (atom.stop - atom.start).days
    cuts = [atom.start + timedelta(days=days * k // 3) for k in range(4)]
    return replace(atom, start=cuts[index], stop=cuts[index + 1], granularity=Granularity.RANGE)


def _week(match: re.Match[str], scan: Scan) -> Atom:
    offset = _SIDES[match["side"]]
    day = scan.calendar.today + timedelta(weeks=offset)
    if match["end"]:
        return weekend_atom(match.span(), day)
    if match["weekday"]:
        monday = day - timedelta(days=day.weekday())
        return day_atom(match.span(), monday + timedelta(days=_WEEKDAYS[match["weekday"]]))
    return week_atom(match.span(), day)


def _weekday(match: re.Match[str], scan: Scan) -> Atom:
    index, today = _WEEKDAYS[match["weekday"]], scan.calendar.today
    if leans_future(scan, match.start()):
        days = (index - today.weekday()) % 7 or 7
    else:
        days = -((today.weekday() - index) % 7)
    return day_atom(match.span(), today + timedelta(days=days))


def _weekend(match: re.Match[str], scan: Scan) -> Atom:
    today = scan.calendar.today
    past = today.weekday() < 5 and not leans_future(scan, match.start())
    return weekend_atom(match.span(), today - timedelta(weeks=1) if past else today)


def _near_day(match: re.Match[str], scan: Scan) -> Atom:
    offset = _DAY_WORDS[match["word"]]
    return day_atom(match.span(), scan.calendar.today + timedelta(days=offset))


def _near_part(match: re.Match[str], scan: Scan) -> Atom:
    offset = {"昨": -1, "今": 0, "明": 1, "当": 0}[match["day"]]
    atom = day_atom(match.span(), scan.calendar.today + timedelta(days=offset))
    return _part_of(atom, match["part"])


def _part_of(atom: Atom, part: str) -> Atom:
    first, hours = _PART_WORDS[part]
    start = atom.start + timedelta(hours=first)
    return replace(
        atom, start=start, stop=start + timedelta(hours=hours), granularity=Granularity.DAYPART
    )


def _away(match: re.Match[str], scan: Scan) -> Atom | None:
    # 三月前 is "before March"; months are counted with 个.
    if match["unit"] == "月" and not match["measure"]:
        return None
    unit, back = _UNITS[match["unit"]], match["way"] == "前"
    place = match.span()
    if match["count"] == "半":
        unit, number = _HALVES[unit]
        least = greatest = number
    else:
        least, greatest = chinese_count(match["count"])
    if back:
        least, greatest = -greatest, -least
    return counted(unit, least, greatest, place, scan)


def _rolling(match: re.Match[str], scan: Scan) -> Atom | None:
    # 这一天 points at a day of the story, not at the last one.
    if match["side"] in {"这", "這"} and match["count"] == "一":
        return None
    unit, words, place = _UNITS[match["unit"]], match["count"], match.span()
    ahead = match["side"].startswith(("未来", "未來", "接下"))
    if words == "半":
        unit, number = _HALVES[unit]
    else:
        number = 5 if words in {"几", "幾", "数", "數"} else chinese_number(words)
    return rolling(unit, -number if ahead else number, place, scan)


def _season(match: re.Match[str], scan: Scan) -> Atom:
    return season_atom(match.span(), _year_or_this(match, scan), _SEASONS[match["season"]])


def _quarter(match: re.Match[str], scan: Scan) -> Atom:
    year, guess = _year_of(match, scan), _year_or_this(match, scan)
    first = 3 * chinese_number(match["index"]) - 2
    atom = months_atom(match.span(), guess, first, 3, Granularity.QUARTER)
    return settle_year(atom, scan) if year is None else atom


def _near_quarter(match: re.Match[str], scan: Scan) -> Atom:
    return step("quarter", _SIDES[match["side"]], match.span(), scan.calendar.today)


def _decade(match: re.Match[str], scan: Scan) -> Atom:
    year = chinese_number(match["decade"])
    if year < 100:
        year += 1900 if year >= 30 else 2000
    return months_atom(match.span(), year - year % 10, 1, 120, Granularity.DECADE)


def with_chinese_clock(atom: Atom, text: str) -> Atom:
    """Narrows a day to the part of the day and the hour right after it (昨天下午三点半)."""
    if atom.granularity is Granularity.DAY:
        part = _PART_AFTER.match(text, atom.end)
        if part is not None:
            atom = _part_of(replace(atom, end=part.end()), part["part"])
    if atom.granularity not in {Granularity.DAY, Granularity.DAYPART}:
        return atom
    match = _CLOCK_AFTER.match(text, atom.end)
    if match is None:
        return atom
    hour, first = chinese_number(match["hour"]), atom.start.hour
    if hour < 12 and (first >= 12 or (first == 11 and hour < 11)):
        hour += 12
    if hour == 12 and first >= 18:
        hour = 24
    if hour > 24:
        return atom
    return _at(atom, match, midnight(atom.start.date()) + timedelta(hours=hour))


def _at(atom: Atom, match: re.Match[str], start: datetime) -> Atom:
    minute = 30 if match["half"] else int(match["minute"] or match["colon"] or 0)
    exact = bool(match["half"] or match["minute"] or match["colon"])
    start += timedelta(minutes=minute)
    width = timedelta(minutes=1) if exact else timedelta(hours=1)
    size = Granularity.MINUTE if exact else Granularity.HOUR
    return replace(atom, end=match.end(), start=start, stop=start + width, granularity=size)


# Tried when the text holds one of the characters of `GATE`; they have no trigger words.
GATE = re.compile(r"[年月日号號天周週星礼禮晚早晨夜季时時钟鐘]")

CHINESE_RULES: tuple[Rule, ...] = (
    rule("", rf"(?:{_YEAR}的?\s*)?(?<![\d个個]){_MONTH}(?:\s*{_DAY})?(?![\d个個])", _date),
    rule(
        "",
        rf"{_YEAR}(?:(?:度|的)?年?(?P<portion>[初底末]|[上下]半年))?(?![级級糕轻輕龄齡代])",
        _year,
    ),
    rule(
        "", r"(?<![\d去今明前后後年])年?(?P<portion>[上下]半年|(?<=年)[初底末])", _part_of_this_year
    ),
    rule(
        "",
        rf"(?<![晚早以之日])(?P<side>{_SIDE})(?:一?[个個])?月(?:(?P<portion>[初中底末])|{_DAY})?",
        _near_month,
    ),
    rule(
        "",
        rf"(?<![晚早以之日])(?P<side>{_SIDE})(?:一?[个個]|一)?(?:{_WEEK})"
        r"(?:(?P<weekday>[一二三四五六日天])|(?P<end>末))?",
        _week,
    ),
    rule(
        "",
        r"(?<![每上下这這本个個一])(?:[周週](?!天)|星期|礼拜|禮拜)(?P<weekday>[一二三四五六日天])"
        r"(?![年岁歲边邊])",
        _weekday,
    ),
    rule("", r"(?<![每上下这這本个個])[周週]末(?!愉快|快[乐樂])", _weekend),
    rule("", rf"(?<![以之先])(?P<word>{_DAY_WORD})", _near_day),
    rule("", r"(?P<day>[昨今明当])(?P<part>晚上|早上|晚|夜|早|晨)", _near_part),
    rule(
        "",
        rf"(?<![\d年月第])(?P<count>{CHINESE_COUNT})多?(?P<measure>[个個])?多?(?P<unit>{_UNIT})多?"
        r"[之以]?(?P<way>[前后後])",
        _away,
    ),
    rule(
        "",
        r"(?P<side>最近|过去|過去|近|这|這|未来|未來|接下来|接下來)的?这?"
        rf"(?P<count>{CHINESE_COUNT})[个個]?(?P<unit>{_UNIT})",
        _rolling,
    ),
    rule("", rf"{_YEAR}的?(?P<season>[春夏秋冬])[天季]?", _season),
    rule("", rf"(?:{_YEAR}的?)?第?(?P<index>[一二三四1-4])季度(?!假)", _quarter),
    rule("", rf"(?P<side>{_SIDE})[个個]?季度", _near_quarter),
    rule("", r"(?P<decade>(?:19|20)?\d0|[二三四五六七八九]十)年代", _decade),
)
