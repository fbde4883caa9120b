"""Merges the answers of several namespaces.

Scores are z-scores within one namespace and say nothing across namespaces, so that the raw
measurements (cosine, BM25 points) are normalised once more over all hits together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import fmean, pstdev

from memos_ray.core.retrieval.query import SignalPart
from memos_ray.core.retrieval.requests import Hit, SearchReply

Scales = Mapping[str, tuple[float, float]]
"""Mean and deviation of what each signal has measured."""

_PRIORS_ARE_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Shown:
    """What earlier pages have shown of the hits of several places, each in its own order.

    Attributes:
        first: of each place, how many hits have been shown without a gap.
        ahead: of each place, those that have been shown behind these, counted from there.
        scales: what the first page was ranked by; none before it.
    """

    first: tuple[int, ...]
    ahead: tuple[tuple[int, ...], ...]
    scales: Scales = field(default_factory=dict)

    @classmethod
    def nothing(cls, places: int) -> Shown:
        """Stands before the first page."""
        return cls((0,) * places, ((),) * places)

    def wanted(self, place: int, limit: int) -> tuple[int, int]:
        """Returns from where on, and how many, hits of a place the next page may need."""
        return self.first[place], len(self.ahead[place]) + limit + 1

    def _with(self, hits: Iterable[tuple[int, int]], scales: Scales) -> Shown:
        first, ahead = list(self.first), [set(one) for one in self.ahead]
        for place, at in hits:
            ahead[place].add(at)
        for place, seen in enumerate(ahead):
            start = next(at for at in count() if at not in seen)
            first[place] += start
            ahead[place] = {at - start for at in seen if at > start}
        return Shown(tuple(first), tuple(tuple(sorted(one)) for one in ahead), scales)


def page(
    replies: Sequence[SearchReply], shown: Shown, limit: int
) -> tuple[list[Hit], Shown | None]:
    """Returns the best hits that no page has shown, and what has been shown then, if any is left.

    Every hit is on exactly one page, as long as each place keeps its order.

    Args:
        replies: of each place, as `Shown.wanted` says; with the parts of every score
            (`SearchRequest.explain`), unless there is but one.
    """
    left = [
        (place, at, hit)
        for place, reply in enumerate(replies)
        for at, hit in enumerate(reply.hits)
        if at not in shown.ahead[place]
    ]
    scales = shown.scales
    if len(replies) > 1:
        scales = scales or _scales([hit for _, _, hit in left])
        left = [(place, at, _rescore(hit, scales)) for place, at, hit in left]
        left.sort(key=lambda one: (-one[2].scored.score, one[2].cube.id))
    best = left[:limit]
    hits = [hit for _, _, hit in best]
    if len(left) == len(best):
        return hits, None
    return hits, shown._with([(place, at) for place, at, _ in best], scales)


def merge(replies: Sequence[SearchReply]) -> list[Hit]:
    """Returns all hits in one order, best first; equal scores are ordered by id.

    Needs the parts of every score (`SearchRequest.explain`).
    """
    everything = sum(len(reply.hits) for reply in replies)
    return page(replies, Shown.nothing(len(replies)), everything)[0]


def _scales(hits: Sequence[Hit]) -> Scales:
    raws: dict[str, list[float]] = defaultdict(list)
    for hit in hits:
        for part in hit.scored.parts:
            raws[part.signal].append(part.raw)
    return {name: (fmean(values), pstdev(values)) for name, values in raws.items()}


def _rescore(hit: Hit, scales: Scales) -> Hit:
    parts = tuple(
        _renormalise(part, *scales.get(part.signal, (0.0, 0.0))) for part in hit.scored.parts
    )
    score = sum(part.contribution for part in parts)
    return replace(hit, scored=replace(hit.scored, score=score, parts=parts))


def _renormalise(part: SignalPart, mean: float, deviation: float) -> SignalPart:
    if part.raw == part.normalised:
        # A prior is weighed as it is, in every namespace alike.
        return part
    value = (part.raw - mean) / deviation if deviation > _PRIORS_ARE_EQUAL else 0.0
    return replace(part, normalised=value, contribution=part.weight * value)
