"""The real clock and the real process."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import psutil


class SystemClock:
    """The machine's clocks. Implements `ports.ClockPort`."""

    def now(self) -> datetime:
        """Returns the wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Returns seconds on a clock that never goes back."""
        return time.monotonic()


class OwnProcess:
    """The process that this runs in. Implements `ports.ProcessProbePort`."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def rss_bytes(self) -> int:
        """Returns the resident set size."""
        return int(self._process.memory_info().rss)
