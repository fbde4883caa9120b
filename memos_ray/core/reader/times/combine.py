"""Composes what the rules found: the longest reading wins, and words around it make ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from memos_ray.core.reader.times.beside import beside
from memos_ray.core.reader.times.calendar import Atom, add_years
from memos_ray.core.reader.times.chinese import third, with_chinese_clock
from memos_ray.core.reader.times.grammar import Scan
from memos_ray.core.reader.times.mention import Granularity
from memos_ray.core.reader.times.numeric import with_clock

_DAY = timedelta(days=1)
_REACH = 40
_JOIN = re.compile(r"\s*(?:to|until|till|through|thru|[-\u2013—~\uff5e至到])\s*")
_AND = re.compile(r"\s*(?:and|和|与|與|跟|[-\u2013—~\uff5e至到])\s*")
_BETWEEN = re.compile(r"(?:\bbetween\s+|介于|在)$")
_BETWEEN_AFTER = re.compile(r"\s*之?(?:间|間)")
_FROM = re.compile(r"(?:\bfrom\s+|从|從|自)$")
_PORTION = re.compile(
    r"(?:\b(?P<early>early)|\b(?P<mid>mid|middle of|the middle of)|\b(?P<late>late)|"
    r"\b(?:the\s+)?(?P<half>first|second) half of|"
    r"\b(?:the\s+)?(?P<start>beginning|start) of|\b(?:the\s+)?(?P<stop>end) of)[\s-]+(?:in\s+)?"
    r"(?:the\s+)?$"
)
_OPEN = re.compile(
    r"\b(?P<way>since|ever since|after|before|until|till|up to|prior to)\s+"
    r"(?:the\s+)?$"
)
_OPEN_AFTER = re.compile(
    r"\s*(?P<way>以来|以來|至今|到现在|到現在|起|[之以]前|[之以][后後]|前|[后後](?!天|年))"
)
_WHOLE = frozenset({Granularity.WEEK, Granularity.MONTH, Granularity.SEASON, Granularity.YEAR})


def longest(atoms: Iterable[Atom]) -> list[Atom]:
    """Keeps, of readings that overlap, the longest; of equally long ones the earliest."""
    kept: list[Atom] = []
    for atom in sorted(atoms, key=lambda a: (a.begin - a.end, a.begin)):
        if all(atom.end <= other.begin or other.end <= atom.begin for other in kept):
            kept.append(atom)
    return sorted(kept, key=lambda a: a.begin)


def compose(atoms: list[Atom], scan: Scan) -> list[Atom]:
    """Attaches clock times, parts ("early May"), ranges and open sides ("since 2020")."""
    low = scan.low
    narrowed = [_with_portion(with_chinese_clock(with_clock(a, low), low), low) for a in atoms]
    joined: list[Atom] = []
    for atom in longest(narrowed):
        pair = _joined(joined[-1], atom, low) if joined else None
        if pair is None:
            joined.append(atom)
        else:
            joined[-1] = pair
    return longest(_opened(atom, scan) for atom in joined)


def _with_portion(atom: Atom, low: str) -> Atom:
    if atom.granularity not in _WHOLE:
        return atom
    match = _PORTION.search(low, max(0, atom.begin - _REACH), atom.begin)
    if match is None:
        return atom
    if match["half"]:
        middle = atom.start + _DAY * ((atom.stop - atom.start).days // 2)
        first = match["half"] == "first"
        start, stop = (atom.start, middle) if first else (middle, atom.stop)
        return replace(
            atom, begin=match.start(), start=start, stop=stop, granularity=Granularity.RANGE
        )
    index = 0 if match["early"] or match["start"] else 1 if match["mid"] else 2
    return replace(third(atom, index), begin=match.start())


def _joined(left: Atom, right: Atom, low: str) -> Atom | None:
    if not 0 <= right.begin - left.end <= 12:
        return None
    begin, end = left.begin, right.end
    if _JOIN.fullmatch(low, left.end, right.begin):
        match = _FROM.search(low, max(0, begin - 6), begin)
    elif _AND.fullmatch(low, left.end, right.begin):
        match = _BETWEEN.search(low, max(0, begin - 10), begin)
        after = _BETWEEN_AFTER.match(low, end)
        if match is None and after is None:
            return None
        end = after.end() if after else end
    else:
        return None
    left, right = _same_year(left, right)
    if left.start >= right.stop:
        return None
    begin = match.start() if match else begin
    guessed = left.year_guessed and right.year_guessed
    return Atom(begin, end, left.start, right.stop, Granularity.RANGE, guessed)


def _same_year(left: Atom, right: Atom) -> tuple[Atom, Atom]:
    """Lets the end that states its year lend it to the other: "between March and June 2021"."""
    try:
        if left.year_guessed and not right.year_guessed:
            left = add_years(left, right.start.year - left.start.year)
        elif right.year_guessed and not left.year_guessed:
            right = add_years(right, left.start.year - right.start.year)
            if right.start < left.start:
                right = add_years(right, 1)
        if left.year_guessed and left.start > right.start:
            left = add_years(left, -1)
    except (ValueError, OverflowError):
        pass
    return left, right


def _opened(atom: Atom, scan: Scan) -> Atom:
    """Opens one side of a span: "since 2020", "before 8 May", 2020年以来, 五月之前."""
    related = beside(atom, scan)
    if related is not None:
        return related
    before = _OPEN.search(scan.low, max(0, atom.begin - _REACH), atom.begin)
    if before is not None:
        opened = _open_side(atom, before["way"], scan)
        return replace(opened, begin=before.start())
    after = _OPEN_AFTER.match(scan.low, atom.end)
    if after is not None:
        return replace(_open_side(atom, after["way"], scan), end=after.end())
    return atom


def _open_side(atom: Atom, way: str, scan: Scan) -> Atom:
    start, stop = atom.start, atom.stop
    if way in {"since", "ever since", "以来", "以來", "至今", "到现在", "到現在", "起"}:
        stop = _end_of_today(scan, atom)
    elif way == "after" or way[-1] in "后後":
        start, stop = atom.stop, datetime.max
    elif way in {"before", "prior to"} or way[-1] == "前":
        start, stop = datetime.min, atom.start
    else:
        start = datetime.min
    return replace(atom, start=start, stop=stop, granularity=Granularity.RANGE)


def _end_of_today(scan: Scan, atom: Atom) -> datetime:
    if scan.calendar.anchor is None:
        return datetime.max
    tomorrow = scan.calendar.today + _DAY
    end = datetime(tomorrow.year, tomorrow.month, tomorrow.day)
    return end if end > atom.start else datetime.max
