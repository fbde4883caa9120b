"""Fusion: normalise the evidence, weigh it, add the priors, take the best, explain them.

A signal's z-score is its distance from its mean in standard deviations, taken over the permitted
memories of this search; a memory about which it has no opinion counts as average. Unlike reciprocal
ranks, z-scores keep how far ahead of the rest the best are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.query import Scored, SignalPart
from memos_ray.core.retrieval.scope import Scope
from memos_ray.core.retrieval.settings import ZScope
from memos_ray.core.retrieval.signals import EVIDENCE, PRIORS, Measured, Signal

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_FLAT = 1e-6
_DIGITS = 9
_SLACK = 1e-8
_BLOCK = 64
_NEVER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A signal's values for the pool of candidates, and how they are normalised."""

    signal: Signal
    weight: float
    measured: Measured
    raw: FloatArray
    known: Mask | None
    mean: float = 0.0
    deviation: float = 1.0

    def contributions(self) -> FloatArray:
        """Weighed and normalised values; 0 where nothing is known."""
        factor = self.weight / self.deviation if self.deviation else 0.0
        shares = self.raw * factor
        shares -= self.mean * factor
        if self.known is not None:
            shares[~self.known] = 0.0
        return shares

    def normalised(self, places: IntArray) -> FloatArray:
        """Normalised values at some places."""
        centred = self.raw[places] - self.mean
        return centred / self.deviation if self.deviation else centred * 0.0


def rank(scope: Scope) -> list[Scored]:
    """Ranks the permitted memories of a search and explains the page that was asked for."""
    wanted = min(scope.query.offset + scope.query.k, len(scope.rows))
    if wanted <= scope.query.offset:
        return []
    evidence = [
        (signal, weight, measured)
        for signal, weight in _weights(scope, EVIDENCE)
        if (measured := signal.measure(scope, scope.rows)) is not None
    ]
    if not evidence:
        return _newest(scope, wanted)
    pool = _pool(scope, [measured for _, _, measured in evidence], wanted)
    slots = scope.rows if pool is None else scope.rows[pool]
    weighed = [_normalise(*one, pool) for one in evidence]
    weighed += [
        _Weighed(signal, weight, measured, measured.values, measured.known)
        for signal, weight in _weights(scope, PRIORS)
        if (measured := signal.measure(scope, slots)) is not None
    ]
    totals = weighed[0].contributions()
    for one in weighed[1:]:
        totals += one.contributions()
    best = _best(totals, slots, scope.store.frame.ids, wanted)[scope.query.offset :]
    return _explain(scope, weighed, slots, best, totals)


def _weights(scope: Scope, signals: Sequence[Signal]) -> list[tuple[Signal, float]]:
    weights = scope.settings.weights
    pairs = [(signal, float(getattr(weights, signal.name))) for signal in signals]
    return [(signal, weight) for signal, weight in pairs if weight]


def _normalise(
    signal: Signal, weight: float, measured: Measured, pool: IntArray | None
) -> _Weighed:
    raw = measured.values if pool is None else measured.values[pool]
    known = measured.known
    if known is not None:
        known = None if known.all() else known if pool is None else known[pool]
    sample = raw if known is None else raw[known]
    if not len(sample):
        return _Weighed(signal, weight, measured, raw, known, 0.0, 0.0)
    mean = float(sample.mean())
    # Not a dot product: BLAS would start threads that fight over the cores of other actors.
    square = float(np.einsum("i,i->", sample, sample)) / len(sample)
    deviation = sqrt(max(square - mean * mean, 0.0))
    if deviation <= _FLAT * max(1.0, abs(mean)):
        deviation = 0.0
    return _Weighed(signal, weight, measured, raw, known, mean, deviation)


def _best(totals: FloatArray, slots: IntArray, ids: Sequence[str], wanted: int) -> list[int]:
    """Places of the `wanted` greatest totals, greatest first, equal ones by id.

    Totals are compared rounded, so that the order of summation decides nothing.
    """
    places = np.arange(len(totals))
    if wanted < len(totals):
        places = np.flatnonzero(totals >= _kth_block(totals, wanted) - _SLACK)
        held = totals[places]
        floor = np.partition(held, len(held) - wanted)[len(held) - wanted]
        places = places[held >= floor - _SLACK]
    keyed = zip((-np.round(totals[places], _DIGITS)).tolist(), slots[places].tolist(), places.tolist(), strict=True)
    order = sorted((total, ids[slot], place) for total, slot, place in keyed)
    return [place for _, _, place in order[:wanted]]


def _kth_block(totals: FloatArray, wanted: int) -> float:
    """A bound that at least `wanted` totals reach: cheaper to find than the exact one.

    The maxima of blocks are totals too, so `wanted` of them reach the `wanted`-th of them.
    """
    blocks = len(totals) // _BLOCK
    if blocks <= wanted:
        return float(totals.min())
    maxima = totals[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    return float(np.partition(maxima, blocks - wanted)[blocks - wanted])


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
    slots: IntArray,
    places: Sequence[int],
    totals: FloatArray,
) -> list[Scored]:
    ids = scope.store.frame.ids
    picked = slots[list(places)].tolist()
    scores = np.round(totals[list(places)], _DIGITS).tolist()
    if not scope.query.explain:
        return [Scored(ids[slot], score) for slot, score in zip(picked, scores, strict=True)]
    parts: list[list[SignalPart]] = [[] for _ in picked]
    at = np.array(places, np.int64)
    for one in weighed:
        raws, values = one.raw[at].tolist(), one.normalised(at).tolist()
        known = [True] * len(at) if one.known is None else one.known[at].tolist()
        notes = one.measured.notes(picked)
        for i, place in enumerate(parts):
            if known[i]:
                place.append(
                    SignalPart(
                        one.signal.name,
                        raws[i],
                        values[i],
                        one.weight,
                        one.weight * values[i],
                        notes[i],
                    )
                )
    return [
        Scored(ids[slot], score, tuple(held))
        for slot, score, held in zip(picked, scores, parts, strict=True)
    ]
