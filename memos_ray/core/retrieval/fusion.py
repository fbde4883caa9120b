"""Fusion: normalise the evidence, weigh it, add the priors, take the best, explain them.

A signal's z-score is its distance from its mean in standard deviations, taken over the permitted
memories of this search; a memory about which it has no opinion counts as average. Unlike reciprocal
ranks, z-scores keep how far ahead of the rest the best are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.query import Scored, SignalPart
from memos_ray.core.retrieval.scope import Scope
from memos_ray.core.retrieval.settings import ZScope
from memos_ray.core.retrieval.signals import EVIDENCE, PRIORS, Measured, Signal

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_FLAT = 1e-12
_DIGITS = 9
_BLOCK = 64
_NEVER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A signal's values for the pool of candidates, normalised."""

    signal: Signal
    weight: float
    measured: Measured
    raw: FloatArray
    normalised: FloatArray
    known: Mask | None


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
        _Weighed(signal, weight, measured, measured.values, measured.values, measured.known)
        for signal, weight in _weights(scope, PRIORS)
        if (measured := signal.measure(scope, slots)) is not None
    ]
    totals = np.zeros(len(slots))
    for one in weighed:
        totals += one.weight * one.normalised
    totals = np.round(totals, _DIGITS)
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
    # Not a dot product: BLAS would start threads that fight over the cores of the other actors.
    mean = float(sample.mean()) if len(sample) else 0.0
    spread = float(np.sqrt(np.square(sample - mean).mean())) if len(sample) else 0.0
    centred = raw - mean
    if known is not None:
        centred[~known] = 0.0
    if spread > _FLAT:
        centred *= 1.0 / spread
    else:
        centred[:] = 0.0
    return _Weighed(signal, weight, measured, raw, centred, known)


def _pool(scope: Scope, evidence: Sequence[Measured], wanted: int) -> IntArray | None:
    """Rows to rank, ascending; nothing for all of them.

    Nominates the best of each signal, and fills up with the newest when that is too few.
    """
    settings, size = scope.settings, len(scope.rows)
    if settings.z_scope is ZScope.PERMITTED or size <= max(settings.exhaustive_rows, wanted):
        return None
    nominated = np.zeros(size, np.bool_)
    for measured in evidence:
        floor = _floor(measured.values, max(settings.candidates, wanted))
        nominated |= measured.values >= floor
    chosen = np.flatnonzero(nominated)
    return chosen if len(chosen) >= wanted else None


def _floor(values: FloatArray, count: int) -> float:
    """The least of the `count` greatest values, ties included; never below what matches nothing."""
    at = len(values) - count
    return max(float(np.partition(values, at)[at]), float(np.nextafter(values.min(), np.inf)))


def _best(totals: FloatArray, slots: IntArray, ids: Sequence[str], wanted: int) -> list[int]:
    """Places of the `wanted` greatest totals, greatest first, equal ones by id."""
    places = np.arange(len(totals))
    if wanted < len(totals):
        places = np.flatnonzero(totals >= _kth_block(totals, wanted))
        held = totals[places]
        places = places[held >= np.partition(held, len(held) - wanted)[len(held) - wanted]]
    keyed = zip((-totals[places]).tolist(), slots[places].tolist(), places.tolist(), strict=True)
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
    scores = totals[list(places)].tolist()
    if not scope.query.explain:
        return [Scored(ids[slot], score) for slot, score in zip(picked, scores, strict=True)]
    parts: list[list[SignalPart]] = [[] for _ in picked]
    at = np.array(places, np.int64)
    for one in weighed:
        raws, values = one.raw[at].tolist(), one.normalised[at].tolist()
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
