"""Calendar arithmetic in one time zone, seen from one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from memos_ray.core.reader.times.mention import EARLIEST, LATEST, Granularity, TimeMention

_DAY = timedelta(days=1)
_SUB_DAY = frozenset({Granularity.MINUTE, Granularity.HOUR})


class UnanchoredError(LookupError):
    """A relative time was met, and no moment is known that it could be relative to."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One expression found in a text: where it stands and which local span it names.

    Attributes:
        begin: offset of its first character.
        end: offset after its last character.
        start: naive local time, inclusive.
        stop: naive local time, exclusive.
    """

    begin: int
    end: int
    start: datetime
    stop: datetime
    granularity: Granularity
    year_guessed: bool = False


@dataclass(frozen=True, slots=True)
class Calendar:
    """Makes atoms; weeks begin on Monday (ISO 8601), seasons are those of the northern hemisphere.

    Args:
        tz: the zone in which days begin and end.
        anchor: the moment that "yesterday" is relative to; None when unknown.
    """

    tz: tzinfo
    anchor: datetime | None

    @property
    def now(self) -> datetime:
        """Naive local time of the anchor.

        Raises:
            UnanchoredError: there is no anchor.
        """
        if self.anchor is None:
            raise UnanchoredError
        return self.anchor.astimezone(self.tz).replace(tzinfo=None)

    @property
    def today(self) -> date:
        """Local date of the anchor; raises `UnanchoredError` without one."""
        return self.now.date()

    def shifted(self, delta: timedelta) -> datetime:
        """Returns the naive local time that is `delta` of real time after the anchor."""
        if self.anchor is None:
            raise UnanchoredError
        moved = self.anchor.astimezone(UTC) + delta
        return moved.astimezone(self.tz).replace(tzinfo=None)

    def mention(self, atom: Atom, text: str) -> TimeMention | None:
        """Turns an atom into UTC; None when a clock change leaves nothing of its span."""
        start = self._utc(atom.start)
        end = self._utc(atom.stop)
        if atom.granularity in _SUB_DAY and start < LATEST - _DAY:
            end = start + (atom.stop - atom.start)
        if start >= end:
            return None
        words = text[atom.begin : atom.end]
        return TimeMention(start, end, words, atom.granularity, atom.year_guessed)

    def _utc(self, moment: datetime) -> datetime:
        if moment.year <= 1:
            return EARLIEST
        if moment.year >= 9999:
            return LATEST
        return moment.replace(tzinfo=self.tz).astimezone(UTC)


def midnight(day: date) -> datetime:
    """Returns the naive start of a day."""
    return datetime(day.year, day.month, day.day)


def span(place: tuple[int, int], first: date, after: date, granularity: Granularity) -> Atom:
    """Makes an atom of whole days, `after` exclusive."""
    return Atom(place[0], place[1], midnight(first), midnight(after), granularity)


def day_atom(place: tuple[int, int], day: date) -> Atom:
    """Makes the atom of one day."""
    return span(place, day, day + _DAY, Granularity.DAY)


def week_atom(place: tuple[int, int], day: date) -> Atom:
    """Makes the atom of the week that holds `day`."""
    monday = day - timedelta(days=day.weekday())
    return span(place, monday, monday + timedelta(days=7), Granularity.WEEK)


def weekend_atom(place: tuple[int, int], day: date) -> Atom:
    """Makes the atom of Saturday and Sunday of the week that holds `day`."""
    saturday = day + timedelta(days=5 - day.weekday())
    return span(place, saturday, saturday + timedelta(days=2), Granularity.WEEKEND)


def months_atom(
    place: tuple[int, int], year: int, month: int, count: int, granularity: Granularity
) -> Atom:
    """Makes an atom of `count` months; `month` may lie outside 1..12 and carries over."""
    return span(
        place, first_of_month(year, month), first_of_month(year, month + count), granularity
    )


def month_atom(place: tuple[int, int], year: int, month: int) -> Atom:
    """Makes the atom of one month; `month` may lie outside 1..12."""
    return months_atom(place, year, month, 1, Granularity.MONTH)


def year_atom(place: tuple[int, int], year: int) -> Atom:
    """Makes the atom of one year."""
    return months_atom(place, year, 1, 12, Granularity.YEAR)


def season_atom(place: tuple[int, int], year: int, season: int) -> Atom:
    """Makes the atom of a season: 0 spring (March to May) … 3 winter (December to February)."""
    return months_atom(place, year, 3 + 3 * season, 3, Granularity.SEASON)


def first_of_month(year: int, month: int) -> date:
    """Returns the first day of a month, `month` counted on past 12 or below 1."""
    carry, index = divmod(month - 1, 12)
    return date(year + carry, index + 1, 1)


def add_months(day: date, count: int) -> date:
    """Moves a day by months; a day that the month lacks becomes its last day."""
    first = first_of_month(day.year, day.month + count)
    last = first_of_month(first.year, first.month + 1) - _DAY
    return first.replace(day=min(day.day, last.day))


def add_years(atom: Atom, count: int) -> Atom:
    """Moves an atom by whole years."""
    if count == 0:
        return atom
    start = midnight(add_months(atom.start.date(), 12 * count)) + _clock(atom.start)
    stop = midnight(add_months(atom.stop.date(), 12 * count)) + _clock(atom.stop)
    return replace(atom, start=start, stop=stop)


def _clock(moment: datetime) -> timedelta:
    return moment - midnight(moment.date())
