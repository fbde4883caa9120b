"""Merges the answers of several namespaces.

Scores are z-scores within one namespace and say nothing across namespaces, so that the raw
measurements (cosine, BM25 points) are normalised once more over all hits together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, pstdev

from memos_ray.core.retrieval.query import SignalPart
from memos_ray.core.retrieval.requests import Hit, SearchReply

_PRIORS_ARE_EQUAL = 1e-12


def merge(replies: Sequence[SearchReply]) -> list[Hit]:
    """Returns all hits in one order, best first; equal scores are ordered by id.

    Needs the parts of every score (`SearchRequest.explain`).
    """
    hits = [hit for reply in replies for hit in reply.hits]
    raws: dict[str, list[float]] = defaultdict(list)
    for hit in hits:
        for part in hit.scored.parts:
            raws[part.signal].append(part.raw)
    scales = {name: (fmean(values), pstdev(values)) for name, values in raws.items()}
    rescored = [_rescore(hit, scales) for hit in hits]
    return sorted(rescored, key=lambda hit: (-hit.scored.score, hit.cube.id))


def _rescore(hit: Hit, scales: dict[str, tuple[float, float]]) -> Hit:
    parts = tuple(_renormalise(part, *scales[part.signal]) for part in hit.scored.parts)
    score = sum(part.contribution for part in parts)
    return replace(hit, scored=replace(hit.scored, score=score, parts=parts))


def _renormalise(part: SignalPart, mean: float, deviation: float) -> SignalPart:
    if part.raw == part.normalised:
        # A prior is weighed as it is, in every namespace alike.
        return part
    value = (part.raw - mean) / deviation if deviation > _PRIORS_ARE_EQUAL else 0.0
    return replace(part, normalised=value, contribution=part.weight * value)
