"""What resolving the times of a text yields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.metadata import TimeSpan

# An open side of a span ("before 2020") ends here. One day inside the limits of `datetime`, so that
# conversion to any zone stays in range.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)


class Granularity(StrEnum):
    """How wide a span the words name; `RANGE` has bounds of its own, as in "since 2020"."""

    MINUTE = "minute"
    HOUR = "hour"
    DAYPART = "daypart"
    DAY = "day"
    WEEKEND = "weekend"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    SEASON = "season"
    YEAR = "year"
    DECADE = "decade"
    RANGE = "range"


@crossing
@dataclass(frozen=True, slots=True)
class TimeMention(TimeSpan):
    """A time that a text speaks of: `start <= t < end`, aware UTC.

    Attributes:
        text: the words that were read.
        granularity: how wide a span they name.
        year_guessed: the words name a day or a month without a year ("on 8 May"), and the span is
            the likeliest one. Use it to prefer memories, not to exclude them.
    """

    text: str
    granularity: Granularity
    year_guessed: bool = False
