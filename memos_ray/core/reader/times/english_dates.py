"""English times that name a month, a season, a year or a decade."""

from __future__ import annotations

import re
from datetime import date, timedelta

from memos_ray.core.reader.times.calendar import (
    Atom,
    day_atom,
    month_atom,
    months_atom,
    season_atom,
    span,
    year_atom,
)
from memos_ray.core.reader.times.grammar import Rule, Scan, rule, settle_year
from memos_ray.core.reader.times.mention import Granularity

_MONTHS = (
    "january february march april may june july august september october november december"
).split()
_NUMBER = {name[:3]: index for index, name in enumerate(_MONTHS, 1)}
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_MONTH_WORDS = " ".join([*_MONTHS, *(m[:3] for m in _MONTHS), "sept"])
_YEAR = r"(?:1[0-9]|20|21)\d{2}"
_DAY_NUMBER = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_GAP = r"(?:\s*,\s*|\s+|-|\.\s*)"
# These are names of people, verbs or other words too, and bare they prove nothing.
_AMBIGUOUS = frozenset({"march", "april", "may", "june", "august"})
_SAFE_BEFORE = re.compile(
    r"\b(?:in|since|until|till|during|by|between|early|late|mid|of|every|next|last|"
    r"around|this past|end of|start of)[\s-]+$"
)
_RANGE_BEFORE = re.compile(
    rf"\b{MONTH}(?:\s+\d{{4}})?\s*(?:to|and|through|thru|until|till|-|\u2013)\s*$"
)
_RANGE_AFTER = re.compile(rf"\s*(?:to|through|thru|until|till|-|\u2013)\s*{MONTH}\b|\s+onwards?\b")
_VERB_AFTER = re.compile(r"\s+(?:be|have|not|or|also|need|want|take|get|on|out|off|up|in)\b")
_SEASONS = {"spring": 0, "summer": 1, "autumn": 2, "fall": 2, "winter": 3}
_SEASON = "spring|summer|autumn|fall|winter"
# Nouns that make of "in 1500 words" a quantity.
_QUANTITY = (
    r"(?!\s*(?:%|[€$£¥]|words?\b|people\b|persons?\b|dollars?\b|euros?\b|pounds?\b|steps?\b|"
    r"characters?\b|tokens?\b|lines?\b|items?\b|miles?\b|km\b|kilometers?\b|meters?\b|metres?\b|"
    r"feet\b|calories\b|units?\b|copies\b|users?\b|ms\b|seconds?\b|minutes?\b|hours?\b|days?\b|"
    r"samples?\b|pieces\b|square\b|or so\b))"
)


def month_number(name: str) -> int:
    """Returns 1..12 for the name of a month, short or long, in lower case."""
    return _NUMBER[name[:3]]


def _day_number(words: str) -> int:
    return int(words.rstrip("stndrh"))


def _one_day(match: re.Match[str], scan: Scan) -> Atom:
    return _days(match, scan, _day_number(match["day"]), _day_number(match["day"]))


def _some_days(match: re.Match[str], scan: Scan) -> Atom:
    return _days(match, scan, _day_number(match["day"]), _day_number(match["last"]))


def _days(match: re.Match[str], scan: Scan, first: int, last: int) -> Atom:
    month, place = month_number(match["month"]), match.span()
    if match["year"]:
        return _within_month(place, int(match["year"]), month, first, last)
    year = scan.calendar.today.year
    if (month, first) == (2, 29):
        year -= year % 4
    return settle_year(_within_month(place, year, month, first, last), scan)


def _within_month(place: tuple[int, int], year: int, month: int, first: int, last: int) -> Atom:
    if first == last:
        return day_atom(place, date(year, month, first))
    after = date(year, month, last) + timedelta(days=1)
    return span(place, date(year, month, first), after, Granularity.RANGE)


def _month_of_year(match: re.Match[str], scan: Scan) -> Atom:
    return month_atom(match.span(), int(match["year"]), month_number(match["month"]))


def _month_of_near_year(match: re.Match[str], scan: Scan) -> Atom:
    offset = {"last": -1, "this": 0, "next": 1}[match["which"]]
    year = scan.calendar.today.year + offset
    return month_atom(match.span(), year, month_number(match["month"]))


def _month(match: re.Match[str], scan: Scan) -> Atom | None:
    side, name = match["side"], match["month"]
    if side == "every" or _is_other_word(match, scan):
        return None
    number, today = month_number(name), scan.calendar.today
    place = match.span()
    if side is None:
        return settle_year(month_atom(place, today.year, number), scan)
    year = today.year
    if side == "last" and number >= today.month:
        year -= 1
    if side == "next" and number <= today.month:
        year += 1
    return month_atom(place, year, number)


def _is_other_word(match: re.Match[str], scan: Scan) -> bool:
    name, begin, end = match["month"], match.start("month"), match.end("month")
    # An abbreviation is held to the same proof: "Jan" and "Dec" are names, "mar" is a verb.
    if name == "july" or (len(name) > 4 and name not in _AMBIGUOUS):
        return False
    if name == "may" and _VERB_AFTER.match(scan.low, end):
        return True
    if match["side"]:
        return match["side"] == "this" and scan.text[begin].islower()
    before = scan.low[max(0, begin - 30) : begin]
    if _SAFE_BEFORE.search(before) or _RANGE_BEFORE.search(before):
        return False
    return not (_RANGE_AFTER.match(scan.low, end) and scan.text[begin].isupper())


def _season(match: re.Match[str], scan: Scan) -> Atom:
    season, side, today = _SEASONS[match["season"]], match["side"], scan.calendar.today
    atom = season_atom(match.span(), today.year, season)
    now = scan.calendar.now
    if side == "this":
        return atom
    year = today.year
    if side == "last" and atom.stop > now:
        year -= 1
    if side == "next" and atom.start <= now:
        year += 1
    return season_atom(match.span(), year, season)


def _recent_season(match: re.Match[str], scan: Scan) -> Atom:
    year = scan.calendar.today.year
    return settle_year(season_atom(match.span(), year, _SEASONS[match["season"]]), scan)


def _season_of_year(match: re.Match[str], scan: Scan) -> Atom:
    return season_atom(match.span(), int(match["year"]), _SEASONS[match["season"]])


def _season_of_near_year(match: re.Match[str], scan: Scan) -> Atom:
    offset = {"last": -1, "this": 0, "next": 1}[match["which"]]
    year = scan.calendar.today.year + offset
    return season_atom(match.span(), year, _SEASONS[match["season"]])


def _year(match: re.Match[str], scan: Scan) -> Atom:
    return year_atom(match.span("year"), int(match["year"]))


def _years(match: re.Match[str], scan: Scan) -> Atom:
    first, last = int(match["year"]), int(match["last"])
    return months_atom(match.span("years"), first, 1, 12 * (last - first + 1), Granularity.RANGE)


def _decade(match: re.Match[str], scan: Scan) -> Atom:
    digits = match["decade"]
    year = int(digits) if len(digits) == 4 else 1900 + int(digits)
    if len(digits) == 2 and year < 1930:
        year += 100
    return months_atom(match.span("decade_text"), year, 1, 120, Granularity.DECADE)


def _quarter(match: re.Match[str], scan: Scan) -> Atom:
    words = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": 4}
    index = words.get(match["ordinal"] or "") or int(match["number"])
    if match["year"]:
        year = int(match["year"])
        return months_atom(match.span(), year, 3 * index - 2, 3, Granularity.QUARTER)
    year = scan.calendar.today.year
    atom = months_atom(match.span(), year, 3 * index - 2, 3, Granularity.QUARTER)
    return settle_year(atom, scan)


DATE_RULES: tuple[Rule, ...] = (
    rule(
        _MONTH_WORDS,
        rf"\b(?:the\s+)?(?P<day>{_DAY_NUMBER})(?:\s+of)?{_GAP}(?P<month>{MONTH})\b"
        rf"(?:{_GAP}(?:of\s+)?(?P<year>{_YEAR})\b)?",
        _one_day,
    ),
    rule(
        _MONTH_WORDS,
        rf"\b(?P<month>{MONTH}){_GAP}(?:the\s+)?(?P<day>{_DAY_NUMBER})\b(?![:.]\d)"
        rf"(?:{_GAP}(?P<year>{_YEAR})\b)?",
        _one_day,
    ),
    rule(
        _MONTH_WORDS,
        rf"\b(?P<day>{_DAY_NUMBER})\s*(?:-|\u2013|to|until|through)\s*(?P<last>{_DAY_NUMBER})(?:\s+of)?"
        rf"{_GAP}(?P<month>{MONTH})\b(?:{_GAP}(?P<year>{_YEAR})\b)?",
        _some_days,
    ),
    rule(
        _MONTH_WORDS,
        rf"\b(?P<month>{MONTH}){_GAP}(?P<day>{_DAY_NUMBER})\s*(?:-|\u2013|to|until|through)\s*"
        rf"(?P<last>{_DAY_NUMBER})\b(?:{_GAP}(?P<year>{_YEAR})\b)?",
        _some_days,
    ),
    rule(
        _MONTH_WORDS,
        rf"\b(?P<month>{MONTH})(?:{_GAP}|\s+of\s+)(?P<year>{_YEAR})\b",
        _month_of_year,
    ),
    rule(
        "last this next",
        rf"\b(?P<month>{MONTH})\s+(?:of\s+)?(?P<which>last|this|next)\s+year\b",
        _month_of_near_year,
    ),
    rule(
        _MONTH_WORDS,
        rf"\b(?<!\d[ -])(?:(?P<side>last|this|next|every)\s+)?(?P<month>{MONTH})\b"
        r"(?!\s*\d|\w|'(?!s\b))",
        _month,
    ),
    rule(
        _SEASON.replace("|", " "),
        rf"\b(?P<side>last|this|next)\s+(?P<season>{_SEASON})\b",
        _season,
    ),
    rule(
        "spring summer autumn winter",
        r"\b(?:in|over|during)\s+the\s+(?P<season>spring|summer|autumn|winter)\b(?!\s+of\b)",
        _recent_season,
    ),
    rule(
        _SEASON.replace("|", " "),
        rf"\b(?P<season>{_SEASON})\s+(?:of\s+)?(?P<year>{_YEAR})\b",
        _season_of_year,
    ),
    rule(
        _SEASON.replace("|", " "),
        rf"\b(?P<season>{_SEASON})\s+(?:of\s+)?(?P<which>last|this|next)\s+year\b",
        _season_of_near_year,
    ),
    rule(
        "q first second third fourth last quarter",
        r"\b(?:q(?P<number>[1-4])|(?:the\s+)?(?P<ordinal>first|second|third|fourth)\s+quarter)\b"
        rf"(?:\s+(?:of\s+)?(?P<year>{_YEAR})\b)?",
        _quarter,
    ),
)

YEAR_RULES: tuple[Rule, ...] = (
    rule(
        "in since of during by before after until till from year early late mid around between to",
        r"\b(?:in|since|of|during|by|before|after|until|till|from|year|early|late|mid|around|"
        rf"between)[\s-]+(?:the\s+year\s+)?(?P<year>(?:19|20)\d{{2}})\b(?![-/.:]?\d|s\b){_QUANTITY}",
        _year,
    ),
    rule(
        "from between in during",
        r"\b(?:from|between|in|during)\s+(?P<years>(?P<year>(?:19|20)\d{2})\s*"
        r"(?:-|\u2013|to|and|until|through)\s*(?P<last>(?:19|20)\d{2}))\b(?![-/.:]?\d)",
        _years,
    ),
    rule(
        "the in s",
        r"\b(?:the|in|early|late|mid)[\s-]+(?P<decade_text>'?(?P<decade>(?:19|20)?\d0)s)\b",
        _decade,
    ),
)
