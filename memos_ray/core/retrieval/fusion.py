"""Fusion: normalise the evidence, weigh it, add the priors, follow the best into the graph, take
the best again, explain them.

A signal's z-score is its distance from its mean in standard deviations, taken over the permitted
memories of this search; a memory about which it has no opinion counts as average. Unlike reciprocal
ranks, z-scores keep how far ahead of the rest the best are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from math import sqrt

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval import graph, relevance
from memos_ray.core.retrieval.query import Scored, SignalPart
from memos_ray.core.retrieval.scope import Scope
from memos_ray.core.retrieval.signals import EVIDENCE, PRIORS, Measured, Signal

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_FLAT = 1e-6
_DIGITS = 9
_SLACK = 1e-8
_BLOCK = 64
_NEVER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A signal's values at the permitted rows, and how they count."""

    name: str
    weight: float
    measured: Measured
    mean: float = 0.0
    deviation: float = 1.0
    prior: bool = False

    def add_to(self, totals: FloatArray, spare: FloatArray) -> float:
        """Adds the weighed values; 0 where nothing is known.

        Args:
            spare: as large as `totals`; overwritten, so that nothing is allocated.

        Returns:
            What every total still lacks for the values to be normalised.
        """
        if not self.deviation:
            return 0.0
        factor = self.weight / self.deviation
        np.multiply(self.measured.values, factor, out=spare)
        shift, known = -self.mean * factor, self.measured.known
        if known is not None:
            spare += shift
            spare[~known] = 0.0
            shift = 0.0
        totals += spare
        return shift

    def parts(self, places: IntArray, slots: Sequence[int]) -> list[SignalPart | None]:
        """What the signal says about some rows; nothing where it has no say."""
        values, known = self.measured.values[places], self.measured.known
        normalised = (values - self.mean) / self.deviation if self.deviation else values * 0.0
        told = values != 0 if self.prior else None if known is None else known[places]
        notes = self.measured.notes(slots)
        return [
            SignalPart(self.name, value, level, self.weight, self.weight * level, note)
            if says
            else None
            for value, level, note, says in zip(
                values.tolist(),
                normalised.tolist(),
                notes,
                [True] * len(slots) if told is None else told.tolist(),
                strict=True,
            )
        ]


def rank(scope: Scope) -> list[Scored]:
    """Ranks the permitted memories of a search and explains the page that was asked for.

    Every signal is exact for every memory, so that there is no choice of candidates to go wrong.
    """
    query = scope.query
    wanted = min(query.offset + query.k, len(scope.rows))
    if wanted <= query.offset:
        return []
    weighed = [
        _normalise(signal.name, weight, measured)
        for signal, weight in _weights(scope, EVIDENCE)
        if (measured := signal.measure(scope, scope.rows)) is not None
    ]
    if not weighed:
        return [] if query.min_relevance else _newest(scope, wanted)
    weighed += [
        _Weighed(signal.name, weight, measured, prior=True)
        for signal, weight in _weights(scope, PRIORS)
        if (measured := signal.measure(scope, scope.rows)) is not None
    ]
    totals, spare = np.zeros(len(scope.rows)), np.empty(len(scope.rows))
    totals += sum(one.add_to(totals, spare) for one in weighed)
    ids = scope.store.frame.ids
    # Neither company nor praise makes a memory relevant: they rank, and what was said decides.
    judged, behind = totals, (_expand(scope, totals), _worth(scope))
    for one in behind:
        if one is not None:
            totals = totals.copy()
            one.add_to(totals, spare)
            weighed.append(one)
    if not query.min_relevance:
        best = _best(totals, scope.rows, ids, wanted)[query.offset :]
        return _explain(scope, weighed, np.array(best, np.int64), totals, judged)
    likely = relevance.of_scores(scope, scope.rows, judged.round(_DIGITS))
    kept = (likely >= query.min_relevance).nonzero()[0]
    wanted = min(wanted, len(kept))
    if wanted <= query.offset:
        return []
    best = _best(totals[kept], scope.rows[kept], ids, wanted)[query.offset :]
    return _explain(scope, weighed, kept[best], totals, judged)


def _expand(scope: Scope, totals: FloatArray) -> _Weighed | None:
    """What the best so far lead to in the graph; nothing when that is switched off."""
    weight = scope.weights.graph
    if not weight:
        return None
    best = _best(totals, scope.rows, scope.store.frame.ids, min(graph.SEEDS, len(totals)))
    seeds = scope.rows[best].tolist()
    walked = graph.walk(scope, seeds, totals[best].round(_DIGITS))
    if walked is None:
        return None
    return _Weighed("graph", weight, Measured(walked.values, None, walked.notes), prior=True)


def _worth(scope: Scope) -> _Weighed | None:
    """What memories have proved to be worth; nothing where nothing is known of any."""
    slot_of, weight = scope.store.frame.slot_of, scope.weights.worth
    known = {slot_of[id]: worth for id, worth in scope.query.worth.items() if id in slot_of}
    if not weight or not known:
        return None
    levels = np.zeros(scope.high)
    levels[list(known)] = list(known.values())
    values = levels[scope.rows]
    return _Weighed("worth", weight, Measured(values), prior=True) if values.any() else None


def _weights(scope: Scope, signals: Sequence[Signal]) -> list[tuple[Signal, float]]:
    weights = scope.weights
    pairs = [(signal, float(getattr(weights, signal.name))) for signal in signals]
    return [(signal, weight) for signal, weight in pairs if weight]


def _normalise(name: str, weight: float, measured: Measured) -> _Weighed:
    """Takes mean and deviation over the rows that the signal knows."""
    known = measured.known
    if known is not None and known.all():
        measured = replace(measured, known=None)
        known = None
    sample = measured.values if known is None else measured.values[known]
    if not len(sample):
        return _Weighed(name, weight, measured, 0.0, 0.0)
    # What `mean` does, at a third of its cost for a few hundred values.
    mean = float(np.add.reduce(sample)) / len(sample)
    # Not a dot product: BLAS would start threads that fight over the cores of other actors.
    square = float(np.einsum("i,i->", sample, sample)) / len(sample)
    deviation = sqrt(max(square - mean * mean, 0.0))
    if deviation <= _FLAT * max(1.0, abs(mean)):
        deviation = 0.0
    return _Weighed(name, weight, measured, mean, deviation)


def _best(totals: FloatArray, slots: IntArray, ids: Sequence[str], wanted: int) -> list[int]:
    """Places of the `wanted` greatest totals, greatest first, equal ones by id.

    Totals are compared rounded, so that the order of summation decides nothing.
    """
    places = np.arange(len(totals))
    if wanted < len(totals):
        held = _reaching(totals, wanted)
        floor = np.partition(held, len(held) - wanted)[len(held) - wanted]
        places = (totals >= floor - _SLACK).nonzero()[0]
    keys = (-totals[places].round(_DIGITS)).tolist()
    names = [ids[slot] for slot in slots[places].tolist()]
    order = sorted(zip(keys, names, places.tolist(), strict=True))
    return [place for _, _, place in order[:wanted]]


def _reaching(totals: FloatArray, wanted: int) -> FloatArray:
    """The totals that reach a bound which at least `wanted` of them do; all where they are few.

    The maxima of blocks are totals too, so `wanted` of them reach the `wanted`-th of them, which is
    cheaper to find than that of all.
    """
    blocks = len(totals) // _BLOCK
    if blocks <= wanted:
        return totals
    maxima = totals[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    bound = float(np.partition(maxima, blocks - wanted)[blocks - wanted])
    reaching: FloatArray = totals[totals >= bound]
    return reaching


def _newest(scope: Scope, wanted: int) -> list[Scored]:
    """The newest memories, by the time of the event or of storing; equal ones by id."""
    times = scope.store.frame.times(scope.rows, ("event_time", "created_at"), _NEVER)
    # Exact up to 2**53 microseconds, the year 2255; beyond, near ties fall to the id.
    best = _best(times.astype(np.float64), scope.rows, scope.store.frame.ids, wanted)
    slots = scope.rows[best[scope.query.offset :]].tolist()
    return [Scored(scope.store.frame.ids[slot], 0.0) for slot in slots]


def _explain(
    scope: Scope,
    weighed: Sequence[_Weighed],
    places: IntArray,
    totals: FloatArray,
    judged: FloatArray,
) -> list[Scored]:
    slots = scope.rows[places].tolist()
    ids = [scope.store.frame.ids[slot] for slot in slots]
    scores = totals[places].round(_DIGITS)
    evident = judged[places].round(_DIGITS)
    likely = relevance.of_scores(scope, scope.rows[places], evident).tolist()
    told: Iterable[tuple[SignalPart | None, ...]] = repeat(())
    if scope.query.explain:
        told = zip(*(one.parts(places, slots) for one in weighed), strict=True)
    return [
        Scored(id, score, tuple(part for part in parts if part is not None), relevant)
        for id, score, relevant, parts in zip(ids, scores.tolist(), likely, told, strict=False)
    ]
