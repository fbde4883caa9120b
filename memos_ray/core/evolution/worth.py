"""What a memory is worth by what became of it, and how far that moves it in a ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

QUIET = 1.0
"""Below this much worth a ranking stays as it is: one echo is chance, ten are not."""

IMPLICIT, IMPLICIT_MOST = 0.1, 2.0
"""What one implicit sign counts, and how far they all go: never further than two people do."""

_HALF = 3.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one principal, or the answers of models, say of a memory.

    Attributes:
        value: from a person 1 or -1, a share of it for an answer; of implicit signs their sum.
        parts: how often each part of the memory came back in an answer; of implicit signs alone.
    """

    value: float
    parts: Mapping[int, int] = field(default_factory=dict)

    def heard(self, step: float, parts: Iterable[int] = ()) -> Opinion:
        """Returns the opinion behind one more implicit sign; it stays within bounds."""
        counts = dict(self.parts)
        for part in parts:
            counts[part] = counts.get(part, 0) + 1
        value = min(max(self.value + step, -IMPLICIT_MOST), IMPLICIT_MOST)
        return Opinion(round(value, 6), counts)


def worth_of(opinions: Iterable[Opinion]) -> float:
    """Returns the sum of what is said of a memory."""
    return sum(one.value for one in opinions)


def level(worth: float) -> float:
    """Returns how far a worth moves a score, -1 to 1: exactly 0 where next to nothing is known."""
    return 0.0 if abs(worth) < QUIET else math.tanh(worth / _HALF)
