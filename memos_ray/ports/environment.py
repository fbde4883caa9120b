"""What every part takes from its surroundings: time, and what it knows of its process."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class ClockPort(Protocol):
    """Time, injected so that tests decide it."""

    def now(self) -> datetime:
        """Returns the wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Returns seconds on a clock that never goes back."""
        ...


class ProcessProbePort(Protocol):
    """What a process knows of itself."""

    def rss_bytes(self) -> int:
        """Returns the resident set size."""
        ...
