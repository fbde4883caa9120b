"""Ranking metrics with binary relevance, averaged over questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, log2
from statistics import fmean

DEPTH = 10
RECALL_AT = (1, 5, 10)


def score(ranked: Sequence[str], gold: Iterable[str]) -> dict[str, float]:
    """Scores one ranking: recall@k, nDCG@10 (Järvelin and Kekäläinen 2002), reciprocal rank.

    Args:
        ranked: distinct ids, best first; ranks beyond those given count as misses.
        gold: ids that should be found; at least one.
    """
    wanted = set(gold)
    places = [rank for rank, found in enumerate(ranked) if found in wanted]
    ideal = sum(1 / log2(rank + 2) for rank in range(min(DEPTH, len(wanted))))
    gain = sum(1 / log2(rank + 2) for rank in places if rank < DEPTH)
    scores = {f"recall@{k}": sum(rank < k for rank in places) / len(wanted) for k in RECALL_AT}
    scores["ndcg@10"] = gain / ideal
    scores["mrr"] = 1 / (places[0] + 1) if places else 0.0
    return scores


def average(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Averages scores metric by metric; empty for none."""
    if not scores:
        return {}
    return {name: round(fmean(one[name] for one in scores), 4) for name in scores[0]}


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the nearest-rank percentile of at least one value: the smallest value that at least
    this share of the values does not exceed.
    """
    ordered = sorted(values)
    # The product of a share and a count may come out a hair above a whole number.
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


def spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Returns how durations are spread, in milliseconds."""
    return {
        f"p{round(share * 100)}_ms": round(percentile(seconds, share) * 1e3, 3)
        for share in (0.5, 0.95, 0.99)
    }
