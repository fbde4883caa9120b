"""The frame of the grammar: a rule is a pattern, the words that make it worth trying, a builder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from memos_ray.core.reader.times.calendar import Atom, Calendar, UnanchoredError, add_years

# How far back a sentence is searched for a sign of the future; longer gains nothing.
_LOOK_BACK = 60
_FUTURE = re.compile(
    r"\b(?:will|won't|shall|going to|gonna|about to|upcoming|coming up|plan(?:s|ning)?|"
    r"scheduled?|due(?! to)|deadline|looking forward|can't wait|let's|tomorrow|soon)\b|'ll\b|"
    r"(?<![开開机機社聚宴])[会會](?![议議面员員计計])|[将將]|要去|打算|计划|計劃|准备|準備|即将"
)
_CLAUSE_END = re.compile(r"[.!?;。\uff01\uff1f\uff1b\n]")
# An expression with no more than this before it opens its clause, and the sign may follow it.
_OPENING_CHARS = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """One text under examination.

    Attributes:
        text: as written.
        low: lower case, of the same length, so that offsets agree.
        calendar: zone and anchor.
        day_first: whether 5/8/2023 is the fifth of August.
    """

    text: str
    low: str
    calendar: Calendar
    day_first: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of expression.

    Attributes:
        triggers: lower-case words of which one must occur; empty when the caller gates otherwise.
        pattern: matched against the lower-case text; must run in linear time.
        build: makes the atom, or None when the words mean something else here.
    """

    triggers: frozenset[str]
    pattern: re.Pattern[str]
    build: Callable[[re.Match[str], Scan], Atom | None]


def rule(triggers: str, pattern: str, build: Callable[[re.Match[str], Scan], Atom | None]) -> Rule:
    """Makes a rule from a blank-separated list of triggers and the source of a pattern."""
    return Rule(frozenset(triggers.split()), re.compile(pattern), build)


def apply(one: Rule, scan: Scan) -> Iterator[Atom]:
    """Yields what a rule finds.

    Dates that do not exist ("30 February"), times out of range ("5000 years ago") and relative
    times without an anchor are no mentions.
    """
    for match in one.pattern.finditer(scan.low):
        try:
            atom = one.build(match, scan)
        except (ValueError, OverflowError, UnanchoredError):
            continue
        if atom is not None and atom.start < atom.stop:
            yield atom


def leans_future(scan: Scan, begin: int) -> bool:
    """Tells whether the clause around an expression speaks of the future.

    "I'll call on Friday" means the coming one. Without such a sign the past is likelier, since
    memory is mostly asked about, and told about, what has been.
    """
    before = _CLAUSE_END.split(scan.low[max(0, begin - _LOOK_BACK) : begin])[-1]
    if len(before.strip()) > _OPENING_CHARS:
        return _FUTURE.search(before) is not None
    after = _CLAUSE_END.split(scan.low[begin : begin + _LOOK_BACK])[0]
    return _FUTURE.search(before + after) is not None


def settle_year(atom: Atom, scan: Scan) -> Atom:
    """Moves a yearless atom, built in the anchor's year, to the likeliest year and marks it."""
    now = scan.calendar.now
    future = leans_future(scan, atom.begin)
    shift = 0
    if future and atom.stop <= now:
        shift = 1
    elif not future and atom.start > now:
        shift = -1
    return replace(add_years(atom, shift), year_guessed=True)
