"""BM25 over the memories' own words and over their contexts.

Okapi BM25 as in Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
(2009), with the idf kept positive, `ln(1 + (N - df + 0.5) / (df + 0.5))`, as Lucene does. N, df and
the mean length are counted anew for each search over the memories that the caller may see, so that
nothing hidden moves a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.postings import Occurrences
from memos_ray.core.retrieval.scope import Scope

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_NOTED_WORDS = 8
_TABLE_CELLS = 1 << 16


@dataclass(frozen=True, slots=True)
class Bm25:
    """BM25 of one field.

    Attributes:
        values: points at the scope's rows, `[n]`.
        found: the occurrences they come from.
        points: points of each occurrence.
    """

    values: FloatArray
    found: Occurrences
    points: FloatArray
    words: tuple[str, ...]

    def notes(self, slots: Sequence[int]) -> list[str]:
        """For each slot the words that matched, with their points, best first."""
        matched: dict[int, list[tuple[float, str]]] = {slot: [] for slot in slots}
        for at in np.flatnonzero(np.isin(self.found.slots, slots)).tolist():
            word = self.words[self.found.terms[at]]
            matched[int(self.found.slots[at])].append((-float(self.points[at]), word))
        return [
            ", ".join(
                f"{word} {-points:.2f}" for points, word in sorted(matched[slot])[:_NOTED_WORDS]
            )
            for slot in slots
        ]


def bm25(scope: Scope, found: Occurrences, lengths: npt.NDArray[np.int32]) -> Bm25:
    """Scores the occurrences in a field whose texts have these `lengths`, by slot."""
    settings, given = scope.settings, scope.statistics
    words = tuple(scope.terms.values())
    if given is None:
        size = scope.basis_size
        held = lengths[: scope.high] if scope.whole else lengths[: scope.high][scope.basis]
        mean = float(held.sum()) / max(size, 1)
        frequencies = np.bincount(found.terms, minlength=len(words))
    else:
        size, mean = given.memories, given.mean_length
        frequencies = np.array([given.frequencies.get(term, 0) for term in scope.terms], np.int64)
        frequencies = np.minimum(frequencies, size)
    rarity = np.log1p((size - frequencies + 0.5) / (frequencies + 0.5))
    k1, b = settings.k1, settings.b
    room = k1 * (1 - b) + (k1 * b / mean if mean > 0 else 0.0) * lengths[found.slots]
    points = rarity[found.terms] * found.counts * (k1 + 1) / (found.counts + room)
    summed = np.bincount(found.slots, points, minlength=scope.high)
    totals: FloatArray = summed.astype(np.float64, copy=False)
    return Bm25(totals if scope.dense else totals[scope.rows], found, points, words)


def spread(scope: Scope) -> Occurrences:
    """Carries the occurrences in own texts over to every context that holds the text.

    A few terms at a time: counts are added up in a table of terms by slots, which stays small.
    """
    found, terms = scope.occurrences, len(scope.terms)
    # Of each row the last cell takes what has no target: -1 points there.
    width = scope.high + 1
    at_once = max(1, _TABLE_CELLS // width)
    bounds = np.searchsorted(found.terms, np.arange(0, terms + at_once, at_once)).tolist()
    reverse = scope.store.neighbours.reverse
    cells: list[IntArray] = []
    counts: list[IntArray] = []
    for block, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            continue
        targets = reverse[found.slots[start:end]]
        rows = (found.terms[start:end] - block * at_once) * width
        places = np.where(targets < 0, scope.high, targets) + rows[:, None]
        added = found.counts[start:end].repeat(targets.shape[1])
        sums = np.bincount(places.ravel(), added)
        sums[scope.high :: width] = 0
        held = (sums > 0).nonzero()[0]
        cells.append(held + block * at_once * width)
        counts.append(sums[held].astype(np.int64))
    if not cells:
        return found
    which, slots = np.divmod(np.concatenate(cells), width)
    summed = np.concatenate(counts)
    if scope.whole:
        return Occurrences(which, slots, summed)
    kept = scope.basis[slots]
    return Occurrences(which[kept], slots[kept], summed[kept])
