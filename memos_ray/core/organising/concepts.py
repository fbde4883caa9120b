"""Concepts: memories of nearly one meaning, gathered one by one as they come.

A concept is what BIRCH (Zhang, Ramakrishnan & Livny, 1996) calls a clustering feature: how many
members it has, and the sum of their vectors, from which its centre follows. A memory joins the
concept whose centre is the most like it, or founds one when none is alike enough. Where there are
more concepts than a namespace of its size deserves, the bar is lowered and the nearest are merged;
a concept whose halves would not be merged is split.

Members are slots of a resident index. Each is held with the key of the vector that it was judged
by: a memory that was removed, changed, or opened to other people counts as gone before anything has
been told of it, so that nothing has to be done when memories are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isqrt

import numpy as np
import numpy.typing as npt

from memos_ray.core.organising.halves import halve
from memos_ray.core.organising.rows import (
    UNIT,
    audiences_of,
    cosines,
    in_order,
    keys_of,
    stored_first,
    total_of,
    weighed,
)
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.views import quantise_rows

IntArray = npt.NDArray[np.int64]
KeyArray = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

_FIRST_BAR = 0.5
_HIGHEST_SHARE, _LOWEST_SHARE, _LOWERED = 0.4, 0.08, 0.04
_SAME = 0.9
_LEAST_GROUP, _MOST_GROUP = 8, 256
_SPLIT_FROM, _LEAST_PART = 12, 3
_SAMPLE = 512
_SUMMED_FROM = 64
_NONE = np.zeros(0, np.int64)


@dataclass(slots=True)
class Work:
    """What has been done, and how many memories still wait for their turn."""

    joined: int = 0
    founded: int = 0
    left: int = 0
    split: int = 0
    merged: int = 0
    waiting: int = 0


class Concepts:
    """The concepts of one resident index.

    Invariants:
        - every memory with a vector is in exactly one concept, or waits for its turn;
        - a concept holds memories of one audience only (`RetrievalSettings.audience`), and its
          centre is made of their vectors and of nothing else;
        - the same memories in the same order make the same concepts, however many are taken at a
          time: centres move between groups of memories whose bounds follow from their number.

    Complexity: a memory costs a comparison with the concepts of its audience, at most
    `16 + 4 * sqrt(n)` after each group. Memory: 20 bytes a memory, a byte a dimension a concept.
    """

    def __init__(self, dim: int) -> None:
        self.codes: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.version = 0
        self._keys: KeyArray = np.zeros(0, np.uint64)
        self._audiences: KeyArray = np.zeros(0, np.uint64)
        # Code 0 is that of no concept.
        self._sizes: IntArray = np.zeros(1, np.int64)
        self._tried: IntArray = np.zeros(1, np.int64)
        self._whose: KeyArray = np.zeros(1, np.uint64)
        self._centres: RowArray = np.zeros((1, dim), np.int8)
        self._scales: npt.NDArray[np.float32] = np.zeros(1, np.float32)
        self._lengths: FloatArray = np.zeros(1)
        # Of the large ones; those of the others are quickly made.
        self._sums: dict[int, FloatArray] = {}
        self._free: list[int] = []
        self._shares: dict[int, float] = {}
        self._bars: dict[int, float] = {}
        self._moved: set[int] = set()
        self._since: dict[int, int] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self._sizes))

    def tend(self, store: MemoryStore, most: int) -> Work:
        """Lets go of what is gone, and takes up to `most` memories in, the oldest first.

        A memory waits for those before it that have no vector yet.
        """
        work = Work()
        self._grow(store.frame.capacity)
        keys, audiences = keys_of(store), audiences_of(store)
        self._release(store, keys, audiences, work)
        outside = np.flatnonzero((self.codes[: len(keys)] == 0) & (keys != 0))
        taken, ready = in_order(store, outside, most)
        for audience in dict.fromkeys(audiences[taken].tolist()):
            mine = taken[audiences[taken] == audience]
            while len(mine):
                room = self._group(audience) - self._since.get(audience, 0)
                self._enter(store, audience, mine[:room], keys, work)
                mine = mine[room:]
                if self._since[audience] >= self._group(audience):
                    self._settle(store, audience, work)
        work.waiting = ready - len(taken)
        self.version += bool(len(taken) or work.left)
        return work

    def standing(self, store: MemoryStore) -> npt.NDArray[np.int32]:
        """The concept of each slot as things are now, `[high]`; 0 where there is none."""
        keys, audiences = keys_of(store), audiences_of(store)
        known = min(len(keys), len(self.codes))
        codes = np.zeros(len(keys), np.int32)
        held = (self._keys[:known] == keys[:known]) & (self._audiences[:known] == audiences[:known])
        codes[:known] = np.where(held, self.codes[:known], 0)
        return codes

    def centre(self, code: int) -> FloatArray:
        """Where a concept's centre is, `[dim]`: of those it held when centres last moved, or when
        one of its members went."""
        centre: FloatArray = self._centres[code] * np.float64(self._scales[code])
        return centre

    def memory_bytes(self) -> int:
        """Size of everything held."""
        slots = self.codes.nbytes + self._keys.nbytes + self._audiences.nbytes
        tables = self._centres.nbytes + 44 * len(self._sizes) + 8 * self._dim * len(self._sums)
        return slots + tables

    def _grow(self, capacity: int) -> None:
        more = capacity - len(self.codes)
        if more > 0:
            self.codes = np.concatenate((self.codes, np.zeros(more, np.int32)))
            self._keys = np.concatenate((self._keys, np.zeros(more, np.uint64)))
            self._audiences = np.concatenate((self._audiences, np.zeros(more, np.uint64)))

    def _group(self, audience: int) -> int:
        """After how many memories centres move: few at first, for then each counts."""
        size = int(self._sizes[self._of(audience)].sum())
        return min(max(size // 4, _LEAST_GROUP), _MOST_GROUP)

    def _release(self, store: MemoryStore, keys: KeyArray, audiences: KeyArray, work: Work) -> None:
        high = len(keys)
        changed = (self._keys[:high] != keys) | (self._audiences[:high] != audiences)
        gone = np.flatnonzero((self.codes[:high] != 0) & changed)
        if not len(gone):
            return
        concerned = np.unique(self.codes[gone]).tolist()
        self.codes[gone] = 0
        self._centre(store, concerned, anew=True)
        work.left += len(gone)

    def _centre(self, store: MemoryStore, codes: Sequence[int], *, anew: bool = False) -> None:
        """Puts centres where the members are.

        Args:
            anew: reads the members again, so that nothing of those who have gone is left.
        """
        self._moved.difference_update(codes)
        totals = {code: self._sums[code] for code in codes if not anew and code in self._sums}
        unknown = [code for code in codes if code not in totals]
        slots = np.flatnonzero(np.isin(self.codes, unknown)) if unknown else _NONE
        slots = slots[np.argsort(self.codes[slots], kind="stable")]
        found, starts = np.unique(self.codes[slots], return_index=True)
        for code, members in zip(found.tolist(), np.split(slots, starts[1:]), strict=False):
            totals[code] = total_of(store, members)
            self._sizes[code] = len(members)
            self._sums.pop(code, None)
            if len(members) >= _SUMMED_FROM:
                self._sums[code] = totals[code]
        for code in set(codes) - totals.keys():
            self._retire(code)
        if totals:
            held, rows = list(totals), np.stack(list(totals.values())) / UNIT
            self._lengths[held] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            self._scales[held], self._centres[held] = quantise_rows(rows.astype(np.float32))

    def _enter(
        self, store: MemoryStore, audience: int, slots: IntArray, keys: KeyArray, work: Work
    ) -> None:
        data, scales = store.own.rows(slots)
        codes = np.array(self._judge(audience, data, scales, work), np.int64)
        np.add.at(self._sizes, codes, 1)
        for code in self._sums.keys() & set(codes.tolist()):
            mine = codes == code
            self._sums[code] += weighed(data[mine], scales[mine])
        self.codes[slots] = codes
        self._keys[slots] = keys[slots]
        self._audiences[slots] = np.uint64(audience)
        self._moved.update(codes.tolist())
        self._since[audience] = self._since.get(audience, 0) + len(slots)
        work.joined += len(slots)

    def _judge(
        self, audience: int, data: RowArray, scales: npt.NDArray[np.float32], work: Work
    ) -> list[int]:
        """Says which concept each of some memories belongs to, those that they found included."""
        known = self._of(audience)
        bar = self._bars.get(audience, _FIRST_BAR)
        best = np.zeros(len(data), np.int64)
        value = np.full(len(data), -1.0)
        if len(known):
            near = cosines(data, scales, self._centres[known], self._scales[known])
            best = near.argmax(axis=1)
            value = near[np.arange(len(data)), best]
        mutual = cosines(data, scales, data, scales)
        codes: list[int] = []
        founders: list[int] = []
        for place in range(len(data)):
            alike, code = float(value[place]), -1
            if founders:
                nearest = int(mutual[place, founders].argmax())
                if mutual[place, founders[nearest]] > alike:
                    alike, code = float(mutual[place, founders[nearest]]), codes[founders[nearest]]
            if alike < bar:
                code = self._found(audience, data[place], float(scales[place]))
                founders.append(place)
                work.founded += 1
            elif code < 0:
                code = int(known[best[place]])
            codes.append(code)
        return codes

    def _found(self, audience: int, row: RowArray, scale: float) -> int:
        code = heappop(self._free) if self._free else len(self._sizes)
        if code == len(self._sizes):
            # A quarter to spare: a table that grows by one is copied each time.
            spare = max(8, code // 4)
            self._centres = np.concatenate((self._centres, np.zeros((spare, self._dim), np.int8)))
            self._sizes = np.concatenate((self._sizes, np.zeros(spare, np.int64)))
            self._tried = np.concatenate((self._tried, np.zeros(spare, np.int64)))
            self._whose = np.concatenate((self._whose, np.zeros(spare, np.uint64)))
            self._scales = np.concatenate((self._scales, np.zeros(spare, np.float32)))
            self._lengths = np.concatenate((self._lengths, np.zeros(spare)))
            for free in range(code + 1, code + spare):
                heappush(self._free, free)
        self._whose[code] = audience
        self._centres[code] = row
        self._scales[code] = scale
        return code

    def _retire(self, code: int) -> None:
        audience = int(self._whose[code])
        self._sizes[code] = self._tried[code] = 0
        self._lengths[code] = 0.0
        self._sums.pop(code, None)
        self._whose[code] = 0
        self._centres[code] = 0
        self._scales[code] = 0.0
        heappush(self._free, code)
        if not len(self._of(audience)):
            self._shares.pop(audience, None)
            self._bars.pop(audience, None)
            self._since.pop(audience, None)

    def _of(self, audience: int) -> IntArray:
        return np.flatnonzero((self._whose == np.uint64(audience)) & (self._sizes > 0))

    @property
    def _dim(self) -> int:
        return int(self._centres.shape[1])

    def _settle(self, store: MemoryStore, audience: int, work: Work) -> None:
        """Moves centres to where their members are, splits what has drifted apart, and merges."""
        self._since[audience] = 0
        moved = sorted(code for code in self._moved if self._whose[code] == audience)
        self._centre(store, moved)
        limit = self._limit(audience)
        if 2 * len(self._of(audience)) < limit:
            # There is room for finer ones again: it grows with what there is to gather.
            share = self._shares.get(audience, _HIGHEST_SHARE)
            self._shares[audience] = min(share + _LOWERED, _HIGHEST_SHARE)
        self._set_bar(audience)
        for code in moved:
            if len(self._of(audience)) < limit:
                work.split += self._split(store, code)
        work.merged += self._merge(store, audience, limit)

    def _limit(self, audience: int) -> int:
        limit: int = 16 + 4 * isqrt(int(self._sizes[self._of(audience)].sum()))
        return limit

    def _split(self, store: MemoryStore, code: int) -> bool:
        """Splits a concept whose halves are less alike than what is gathered."""
        size = int(self._sizes[code])
        if size < _SPLIT_FROM or 2 * size < 3 * int(self._tried[code]):
            return False
        self._tried[code] = size
        members = stored_first(store, np.flatnonzero(self.codes == code))
        some = halve(_rows(store, members[:: max(1, size // _SAMPLE)]))
        if some is None or some.alike >= self._bars[int(self._whose[code])]:
            return False
        pieces = np.split(members, range(_SAMPLE, size, _SAMPLE))
        leaving = np.concatenate([some.in_other(_rows(store, piece)) for piece in pieces])
        if min(leaving.sum(), (~leaving).sum()) < _LEAST_PART:
            return False
        gone = members[leaving]
        row, scale = store.own.rows(gone[:1])
        made = self._found(int(self._whose[code]), row[0], float(scale[0]))
        self.codes[gone] = made
        self._centre(store, [code, made], anew=True)
        return True

    def _set_bar(self, audience: int) -> None:
        """Sets how alike a memory must be to join: more than any two of the audience are.

        An embedder finds all texts of a language that it cannot read alike, and those of a
        namespace with one subject, too.
        """
        codes = self._of(audience)
        size = int(self._sizes[codes].sum())
        weights = self._lengths[codes] * self._scales[codes]
        total = np.einsum("ij,i->j", self._centres[codes], weights)
        pairs = max(1, size * (size - 1))
        usual = max(0.0, (float(np.einsum("i,i->", total, total)) - size) / pairs)
        share = self._shares.get(audience, _HIGHEST_SHARE)
        self._bars[audience] = usual + share * (1.0 - usual)

    def _merge(self, store: MemoryStore, audience: int, limit: int) -> int:
        """Merges what is the same, and the nearest while there are too many."""
        bar = max(_SAME, self._bars[audience])
        merged = self._merge_alike(store, self._of(audience), bar)
        while (left := len(self._of(audience))) > limit:
            share = self._shares.get(audience, _HIGHEST_SHARE)
            if share > _LOWEST_SHARE:
                self._shares[audience] = share - _LOWERED
                self._set_bar(audience)
                merged += self._merge_alike(store, self._of(audience), self._bars[audience])
            else:
                merged += self._merge_alike(store, self._of(audience), -1.0, left - limit)
        return merged

    def _merge_alike(
        self, store: MemoryStore, codes: IntArray, bar: float, most: int | None = None
    ) -> int:
        """Merges pairs whose centres are so alike, the most alike first, each concept once."""
        centres, scales = self._centres[codes], self._scales[codes]
        alike = cosines(centres, scales, centres, scales)
        one, other = np.nonzero(np.triu(alike >= bar, 1))
        order = np.lexsort((other, one, -alike[one, other]))
        into = np.arange(len(self._sizes))
        met: set[int] = set()
        for place in order.tolist():
            kept, given = int(codes[one[place]]), int(codes[other[place]])
            if kept in met or given in met or (most is not None and len(met) >= 2 * most):
                continue
            met |= {kept, given}
            into[given] = kept
            if kept in self._sums and given in self._sums:
                self._sums[kept] = self._sums[kept] + self._sums[given]
            else:
                self._sums.pop(kept, None)
            self._sizes[kept] += self._sizes[given]
            self._retire(given)
        if met:
            self.codes = into[self.codes].astype(np.int32)
            self._centre(store, sorted(code for code in met if self._sizes[code]))
        return len(met) // 2


def _rows(store: MemoryStore, slots: IntArray) -> npt.NDArray[np.float32]:
    data, scales = store.own.rows(slots)
    rows: npt.NDArray[np.float32] = data.astype(np.float32) * scales[:, None]
    return rows
