"""BM25 over the memories' own words and over their contexts.

Okapi BM25 as in Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
(2009), with the idf kept positive, `ln(1 + (N - df + 0.5) / (df + 0.5))`, as Lucene does. N, df and
the mean length are counted anew for each search over the memories that the caller may see, so that
nothing hidden moves a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.neighbours import NONE
from memos_ray.core.retrieval.postings import Occurrences
from memos_ray.core.retrieval.scope import Scope

FloatArray = npt.NDArray[np.float64]
_COUNT_BITS = 16
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_NOTED_WORDS = 8


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
    totals: FloatArray = np.bincount(found.slots, points, minlength=scope.high).astype(np.float64)
    return Bm25(totals if scope.dense else totals[scope.rows], found, points, words)


def spread(scope: Scope) -> Occurrences:
    """Carries the occurrences in own texts over to every context that holds the text.

    Sorting the (term, context) pairs, packed with their counts into one integer, gives the counts
    of each pair without a table of terms by slots.
    """
    found, high = scope.occurrences, scope.high
    targets = scope.store.neighbours.reverse[found.slots]
    held = targets != NONE
    if not scope.whole:
        held &= scope.basis[targets]
    pairs = (((found.terms * high)[:, None] + targets) << _COUNT_BITS) | found.counts[:, None]
    packed = pairs[held]
    if not len(packed):
        return Occurrences(packed, packed, packed)
    packed.sort()
    pair = packed >> _COUNT_BITS
    first = np.flatnonzero(np.concatenate((_FIRST, pair[1:] != pair[:-1])))
    counts = np.add.reduceat(packed & _COUNT_MASK, first)
    terms, slots = np.divmod(pair[first], high)
    return Occurrences(terms, slots, counts)


_FIRST = np.ones(1, np.bool_)
