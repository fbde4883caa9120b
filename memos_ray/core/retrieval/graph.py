"""The graph of memories: what the best ones lead to by the uncommon words that they share.

Memories and words are the two sides of a sparse graph: names, places, things, whatever two
memories both speak of. Its edges are the postings in one direction and the terms of a memory in
the other, so it is up to date whenever the index is. A search walks it from its best memories to
their words and on to every memory that has them. This is personalised PageRank (Haveliwala, 2002)
cut after its first step, restarting at the best memories in the shares of their scores: longer
walks gave nothing more on any data, and edges between neighbours, or to the nearest by meaning,
made it worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.postings import Occurrences, Postings
from memos_ray.core.retrieval.scope import Scope

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
SEEDS = 20
_TEMPERATURE = 2.0
_COMMON_SHARE = 0.05
_COMMON_MOST = 300
_SMALL = 0.01
_NOTED_WORDS = 4


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the walks end.

    Attributes:
        values: 0 to 1 at the scope's rows, `[n]`: the logarithm of the share that arrives.
    """

    values: FloatArray
    _found: Occurrences
    _arriving: FloatArray
    _terms: IntArray
    _postings: Postings

    def notes(self, slots: Sequence[int]) -> list[str]:
        """For each slot the words that lead to it, the strongest first."""
        led: dict[int, list[tuple[float, str]]] = {slot: [] for slot in slots}
        for at in np.flatnonzero(np.isin(self._found.slots, slots)).tolist():
            term = int(self._found.terms[at])
            arriving = float(self._arriving[term])
            if arriving > 0:
                word = self._postings.word(int(self._terms[term]))
                led[int(self._found.slots[at])].append((-arriving, word))
        return [", ".join(word for _, word in sorted(led[one])[:_NOTED_WORDS]) for one in slots]


def walk(scope: Scope, seeds: Sequence[int], scores: FloatArray) -> Walk | None:
    """Walks from the best memories of a search; nothing when they share no uncommon word.

    How common a word is is counted over the visible memories, so that nothing hidden moves a score.

    Args:
        seeds: slots, at most a few dozen.
        scores: of the seeds.
    """
    postings = scope.store.postings
    common = min(max(2, int(_COMMON_SHARE * scope.basis_size)), _COMMON_MOST)
    unseen = len(scope.store.frame) - scope.basis_size + postings.dead
    terms, ends, starts = _edges(postings, seeds, common + unseen)
    if not len(terms):
        return None
    found = scope.find_numbered(terms)
    held = np.bincount(found.terms, minlength=len(terms))
    rarity = np.log1p((scope.basis_size - held + 0.5) / (held + 0.5))
    weights = np.where((held >= 2) & (held <= common), rarity * rarity, 0.0)
    leaving = _leaving(starts, ends, weights, scores)
    arriving = leaving / np.maximum(held, 1)
    if not arriving.any():
        return None
    arrived = np.bincount(found.slots, arriving[found.terms], minlength=scope.high)
    values: FloatArray = arrived.astype(np.float64, copy=False)
    reached = (values > 0).nonzero()
    values[reached] = np.log1p(values[reached] / _SMALL) / log1p(1 / _SMALL)
    return Walk(scope.at(values, scope.rows), found, arriving, terms, postings)


def _edges(
    postings: Postings, seeds: Sequence[int], most: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Numbers of the seeds' uncommon words, `[n]`; for each edge the places of word and seed."""
    numbers, starts = postings.terms_of(seeds)
    sizes = postings.sizes(numbers)
    # A word of one memory alone leads nowhere.
    uncommon = (sizes >= 2) & (sizes <= most)
    terms, ends = np.unique(numbers[uncommon], return_inverse=True)
    return terms, ends, starts[uncommon]


def _leaving(
    starts: IntArray, ends: IntArray, weights: FloatArray, scores: FloatArray
) -> FloatArray:
    """How much of the seeds' shares goes to each word."""
    shares = np.exp((scores - scores.max()) / _TEMPERATURE)
    shares /= shares.sum()
    pulls = weights[ends]
    sums = np.bincount(starts, pulls, minlength=len(scores))[starts]
    parts = np.divide(shares[starts] * pulls, sums, out=np.zeros(len(pulls)), where=sums > 0)
    leaving: FloatArray = np.bincount(ends, parts, minlength=len(weights)).astype(np.float64)
    return leaving
