"""What concepts read of a resident index, by slot."""

from __future__ import annotations

import numkong
import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.columns import ABSENT
from memos_ray.core.retrieval.store import MemoryStore

IntArray = npt.NDArray[np.int64]
KeyArray = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.int8]

UNIT = float(1 << 24)
_AT_ONCE = 1024
_MIX = np.uint64(0x9E3779B97F4A7C15)
_NEVER = int(np.iinfo(np.int64).min)


def audiences_of(store: MemoryStore) -> KeyArray:
    """One number for those who may read each memory, by slot, `[high]`.

    Codes of facets are reused once nobody has the value any more, so that equal numbers mean equal
    audiences among the memories of one moment.
    """
    high = store.frame.high
    mixed = np.zeros(high, np.uint64)
    for name in store.settings.audience:
        column = store.frame.coded(name)
        codes = (
            np.full(high, ABSENT, np.uint64)
            if column is None
            else column.codes[:high].astype(np.uint64)
        )
        mixed = (mixed ^ (codes + np.uint64(1))) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return mixed


def keys_of(store: MemoryStore) -> KeyArray:
    """What each vector was computed from, `[high]`; 0 where there is none."""
    keys: KeyArray = store.own_keys()[: store.frame.high]
    return keys


def in_order(store: MemoryStore, slots: IntArray, most: int) -> tuple[IntArray, int]:
    """The first slots by when they were stored, and how many there are to choose from.

    What was stored behind a memory that still waits for its vector waits for it, too.
    """
    if not len(slots):
        return slots, 0
    times = store.frame.times(slots, ("created_at",), _NEVER)
    unread = np.array([slot for slot in store.stale if not store.own.held[slot]], np.int64)
    if len(unread):
        first = int(store.frame.times(unread, ("created_at",), _NEVER).min())
        slots, times = slots[times < first], times[times < first]
    ready = len(slots)
    if ready > most:
        latest = np.partition(times, most)[most]
        slots, times = slots[times <= latest], times[times <= latest]
    ids = store.frame.ids
    named = [(at, ids[slot], slot) for at, slot in zip(times.tolist(), slots.tolist(), strict=True)]
    return np.array([slot for _, _, slot in sorted(named)[:most]], np.int64), ready


def stored_first(store: MemoryStore, slots: IntArray) -> IntArray:
    """Slots by when they were stored: which slot a memory has depends on how it was loaded."""
    order = np.argsort(store.frame.times(slots, ("created_at",), _NEVER), kind="stable")
    ordered: IntArray = slots[order]
    return ordered


def total_of(store: MemoryStore, slots: IntArray) -> FloatArray:
    """The sum of vectors, `[dim]`, in units of `1 / UNIT`."""
    total = np.zeros(store.dim)
    for start in range(0, len(slots), _AT_ONCE):
        data, scales = store.own.rows(slots[start : start + _AT_ONCE])
        total += weighed(data, scales)
    return total


def weighed(data: RowArray, scales: npt.NDArray[np.float32]) -> FloatArray:
    """The sum of rows times their scales, `[dim]`, in whole numbers: exact in whatever order."""
    whole = np.rint(scales.astype(np.float64) * UNIT)
    total: FloatArray = np.einsum("ij,i->j", data.astype(np.float64), whole)
    return total


def cosines(
    data: RowArray,
    scales: npt.NDArray[np.float32],
    others: RowArray,
    other_scales: npt.NDArray[np.float32],
) -> FloatArray:
    """Cosines of rows with rows, `[n, m]`."""
    dots = np.asarray(numkong.cdist(np.ascontiguousarray(data), others, "dot"), np.float64)
    found: FloatArray = dots * scales[:, None] * other_scales[None, :]
    return found
