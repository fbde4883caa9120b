"""What a memory is worth by what became of it, and how far that moves it in a ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from memos_ray.core.retrieval.query import SignalPart
from memos_ray.core.retrieval.requests import Hit

LIFT = 0.25
"""Most by which a score is moved up or down.

Scores are sums of standard scores: this is a quarter of a deviation of one signal of weight 1.
"""

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


def lift(worth: float) -> float:
    """Returns what is added to a score: exactly 0 without worth, else within ± `LIFT`."""
    return 0.0 if abs(worth) < QUIET else LIFT * math.tanh(worth / _HALF)


def reweighted(
    hits: Sequence[Hit], worth: Mapping[str, float], *, explain: bool
) -> tuple[Hit, ...]:
    """Sorts hits anew by their scores and worth; as they are where nothing has any.

    Without evidence memories come by their age, and stay so.

    Args:
        explain: whether what the worth does is to be a part of the score.
    """
    moved = [_moved(hit, worth.get(hit.cube.id, 0.0), explain) for hit in hits]
    if all(one is other for one, other in zip(hits, moved, strict=True)):
        return tuple(hits)
    order = sorted(range(len(hits)), key=lambda place: (-moved[place].scored.score, place))
    return tuple(moved[place] for place in order)


def _moved(hit: Hit, worth: float, explain: bool) -> Hit:
    by = lift(worth)
    if by == 0.0 or hit.scored.relevance is None:
        return hit
    parts = hit.scored.parts
    if explain:
        parts = (*parts, SignalPart("worth", worth, by / LIFT, LIFT, by))
    return Hit(hit.cube, replace(hit.scored, score=hit.scored.score + by, parts=parts))
