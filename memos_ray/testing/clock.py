"""A clock that tests move."""

from __future__ import annotations

from datetime import datetime, timedelta

from memos_ray.testing.cubes import START


class ManualClock:
    """Implements `ports.ClockPort`; stands still until `advance` or `set`."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic_s = 0.0

    def now(self) -> datetime:
        """Returns the wall clock, aware UTC."""
        return self._now

    def monotonic(self) -> float:
        """Returns seconds on a clock that never goes back."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Lets time pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def set(self, now: datetime) -> None:
        """Steps the wall clock, back as well, as a time server may."""
        self._now = now
