"""When receipts that are pending are looked at."""

from __future__ import annotations

from dataclasses import dataclass

LOOK_MIN_S = 0.1
LOOK_MAX_S = 10.0


@dataclass(slots=True)
class LookPace:
    """Pauses between looks grow while nothing new is begun; what is begun is looked at soon.

    Attributes:
        pause_s: before the next look.
        least_s: the shortest pause: as long as the last look took, so that no more than half of
            the time goes into looks, however many receipts there are.
    """

    pause_s: float = LOOK_MIN_S
    least_s: float = LOOK_MIN_S

    def looked(self, took_s: float) -> None:
        """Hears of a look that has left something pending."""
        self.least_s = max(LOOK_MIN_S, took_s)
        self.pause_s = max(self.least_s, min(2 * self.pause_s, LOOK_MAX_S))

    def begun(self) -> None:
        """Hears of a new receipt."""
        self.pause_s = self.least_s
