"""Relevance: how likely a memory matters to a query, from its score and the number of memories.

A z-score is a distance from what is usual, so the sum of the weighed signals grows with the odds
that a memory is one of those that the query is about, whatever the corpus. Against it stands
chance: the more memories there are, the further the best of the irrelevant ones stand out. One
memory in `n` is expected to matter:

    logit(relevance) = SLOPE * score + BASE - ln(n)

The score is taken without the signal `graph`: in whose company a memory is says how to order it,
and not whether it is meant. Both constants were fitted once to dialogues of friends, to chats with
an assistant, and to some in German and Chinese, each data set weighing the same. Fitted to one of
them alone, the slope stays between 0.7 and 1.05, so that it belongs to the scores rather than to a
data set. A memory that bears a tag which the query names competes with the other bearers only.

Small namespaces tell little about what is usual, and there relevance stays low unless a prior (a
name, a tag, a date) speaks for a memory.
"""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.scope import Scope

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SLOPE = 0.8
BASE = -1.3


def of_scores(scope: Scope, slots: IntArray, scores: FloatArray) -> FloatArray:
    """Relevance of permitted memories with these scores, `[n]`, each between 0 and 1."""
    logits = SLOPE * scores + BASE - log(max(len(scope.rows), 1))
    borne = scope.borne
    if borne is not None:
        rivals = int(np.count_nonzero(borne & scope.allowed))
        logits[borne[slots]] += log(max(len(scope.rows), 1)) - log(max(rivals, 1))
    shares: FloatArray = 1.0 / (1.0 + np.exp(-logits))
    return shares
