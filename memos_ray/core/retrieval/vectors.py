"""Quantised vectors of a namespace and their exact cosines with a query.

Products of int8 rows are summed in int32 by a SIMD kernel and then scaled, so that a score does not
depend on where in the table a row lies.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numkong
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_GATHER_BELOW = 4
_beside = ThreadPoolExecutor(1, "cosines")


def side_by_side(
    one: Callable[[], FloatArray], other: Callable[[], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Has another thread compute one of two arrays of cosines.

    Products leave the interpreter to others, and of large tables they wait for memory: on a second
    core both take little longer than one. Worth its switches from some ten thousand rows.
    """
    found = _beside.submit(other)
    return one(), found.result()


class Query:
    """A query vector, quantised like the rows."""

    def __init__(self, scale: float, data: npt.NDArray[np.int8]) -> None:
        self._scale = scale
        # The kernel for many rows at once: it waits less for memory than that for single ones.
        self._packed = numkong.dots_pack(np.ascontiguousarray(data).reshape(1, -1))

    def cosines(self, data: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> FloatArray:
        """Cosines with rows `[n, dim]` of these scales `[n]`, float64 `[n]`."""
        if not len(data):
            return np.empty(0)
        products = np.asarray(numkong.dots_packed(data, self._packed)).ravel()
        cosines: FloatArray = products * scales.astype(np.float64)
        cosines *= self._scale
        return cosines


class SlotVectors:
    """At most one vector for each slot; the rest is neutral.

    Memory: `dim + 5` bytes a slot.
    """

    def __init__(self, dim: int, capacity: int) -> None:
        self.held = np.zeros(capacity, np.bool_)
        self.count = 0
        self._data = np.zeros((capacity, dim), np.int8)
        self._scales = np.zeros(capacity, np.float32)

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`, in place: a copy would double the peak."""
        self._data.resize((capacity, self._data.shape[1]), refcheck=False)
        self._scales.resize(capacity, refcheck=False)
        self.held.resize(capacity, refcheck=False)

    def put(self, slot: int, scale: float, row: npt.NDArray[np.int8]) -> None:
        """Sets the vector of a slot."""
        self.count += not self.held[slot]
        self.held[slot] = True
        self._scales[slot] = scale
        self._data[slot] = row

    def drop(self, slot: int) -> None:
        """Forgets the vector of a slot, and overwrites it."""
        if self.held[slot]:
            self.count -= 1
            self.held[slot] = False
            self._scales[slot] = 0.0
            self._data[slot] = 0

    def rows(self, slots: IntArray) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
        """Copies of the vectors of slots, `[n, dim]`, and their scales, `[n]`."""
        return self._data[slots], self._scales[slots]

    def cosines(self, query: Query, rows: IntArray, high: int) -> FloatArray:
        """Cosines at `rows`, ascending and all below `high`; 0 where no vector is held."""
        if len(rows) * _GATHER_BELOW < high:
            return query.cosines(self._data[rows], self._scales[rows])
        every = query.cosines(self._data[:high], self._scales[:high])
        return every if len(rows) == high else every[rows]

    def memory_bytes(self) -> int:
        """Size of the arrays."""
        return self._data.nbytes + self._scales.nbytes + self.held.nbytes


class ExtraVectors:
    """Further vectors of slots that need several: the chunks of long texts after the first.

    Invariants: `_owners` is -1 exactly at the free rows.
    """

    def __init__(self, dim: int) -> None:
        self._data = np.zeros((0, dim), np.int8)
        self._scales = np.zeros(0, np.float32)
        self._owners = np.full(0, -1, np.int64)
        self._rows: dict[int, list[int]] = {}
        self._free: list[int] = []

    def put(self, slot: int, scales: npt.NDArray[np.float32], rows: npt.NDArray[np.int8]) -> None:
        """Sets the further vectors of a slot."""
        self.drop(slot)
        if not len(rows):
            return
        if len(self._free) < len(rows):
            self._grow(len(rows))
        taken = [self._free.pop() for _ in range(len(rows))]
        self._data[taken] = rows
        self._scales[taken] = scales
        self._owners[taken] = slot
        self._rows[slot] = taken

    def drop(self, slot: int) -> None:
        """Forgets the further vectors of a slot, and overwrites them."""
        taken = self._rows.pop(slot, None)
        if taken is not None:
            self._data[taken] = 0
            self._scales[taken] = 0.0
            self._owners[taken] = -1
            self._free.extend(taken)

    def raise_to_best(self, query: Query, best: FloatArray, rows: IntArray, high: int) -> None:
        """Raises `best`, the cosines at `rows`, to the best of the further vectors."""
        if not self._rows:
            return
        if len(rows) == high:
            places = self._owners
        else:
            place = np.full(high + 1, -1, np.int64)
            place[rows] = np.arange(len(rows))
            places = place[self._owners]
        wanted = np.flatnonzero(places >= 0)
        if len(wanted) * _GATHER_BELOW < len(self._owners):
            cosines = query.cosines(self._data[wanted], self._scales[wanted])
        else:
            cosines = query.cosines(self._data, self._scales)[wanted]
        np.maximum.at(best, places[wanted], cosines)

    def count_of(self, slot: int) -> int:
        """Number of further vectors of a slot."""
        return len(self._rows.get(slot, ()))

    def rows_of(self, slot: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
        """Scales and rows of a slot."""
        taken = self._rows.get(slot, [])
        return self._scales[taken], self._data[taken]

    def memory_bytes(self) -> int:
        """Estimated size."""
        arrays = self._data.nbytes + self._scales.nbytes + self._owners.nbytes
        return arrays + 36 * len(self._owners) + 200 * len(self._rows)

    def _grow(self, needed: int) -> None:
        old = len(self._owners)
        new = old + max(needed, old // 4, 16)
        self._data.resize((new, self._data.shape[1]), refcheck=False)
        self._scales.resize(new, refcheck=False)
        self._owners.resize(new, refcheck=False)
        self._owners[old:] = -1
        self._free.extend(range(new - 1, old - 1, -1))
