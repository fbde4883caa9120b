"""Postings: which memories hold a term, and how often.

One growing array per term, as in the in-memory indexes of Büttcher, Clarke & Cormack (2010, ch. 7).
Entries point at a document number, not at a slot: a changed or removed text only unhooks its
number, the dead entries are skipped, and they are swept out once they outnumber the live ones.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.spelling import Vocabulary

IntArray = npt.NDArray[np.int64]
_COUNT_BITS = 16
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_SWEEP_FROM = 1024
_NONE = -1


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Occurrences of the terms of a query in live memories, grouped by term.

    Attributes:
        terms: index of the term in the query, `[n]`, ascending.
        slots: memory, `[n]`.
        counts: how often the term occurs there, `[n]`.
    """

    terms: IntArray
    slots: IntArray
    counts: IntArray


class Postings:
    """Terms to memories.

    Invariants: a slot has at most one document number; numbers are never reused between sweeps.
    Complexity: `add` is linear in the terms of the text, `drop` constant, a sweep linear in
    everything and at most once per as many drops as there are live texts. Memory: sixteen bytes an
    entry and some 250 a distinct term.
    """

    def __init__(self) -> None:
        self._lists: dict[str, array[int]] = {}
        self.vocabulary = Vocabulary()
        self._slot_of = np.empty(256, np.int64)
        self._numbers = array("q")
        self._terms: list[tuple[str, ...]] = []
        self._live = 0
        self._next = 0
        self._entries = 0

    def __len__(self) -> int:
        return self._live

    def add(self, slot: int, terms: Mapping[str, int]) -> None:
        """Enters the terms of a text; the slot must have none."""
        number = self._next
        self._next += 1
        self._live += 1
        while slot >= len(self._numbers):
            self._numbers.append(_NONE)
            self._terms.append(())
        if number == len(self._slot_of):
            self._slot_of.resize(2 * number, refcheck=False)
        self._slot_of[number] = slot
        self._numbers[slot] = number
        self._entries += len(terms)
        base = number << _COUNT_BITS
        lists = self._lists
        held = self._terms[slot] = tuple(map(sys.intern, terms))
        for term, count in zip(held, terms.values(), strict=True):
            entry = base | (count if count <= _COUNT_MASK else _COUNT_MASK)
            entries = lists.get(term)
            if entries is None:
                lists[term] = array("q", (entry,))
                self.vocabulary.add(term)
            else:
                entries.append(entry)

    def drop(self, slot: int) -> None:
        """Forgets the text of a slot, if it has one."""
        number = self._numbers[slot] if slot < len(self._numbers) else _NONE
        if number == _NONE:
            return
        self._numbers[slot] = _NONE
        self._terms[slot] = ()
        self._slot_of[number] = _NONE
        self._live -= 1
        if self._next - self._live > max(_SWEEP_FROM, self._live):
            self.sweep()

    def find(self, terms: Iterable[str]) -> Occurrences:
        """Collects the live entries of `terms`."""
        parts = [self._lists.get(term) for term in terms]
        held = [np.frombuffer(part, np.int64) for part in parts if part is not None]
        if not held:
            nothing = np.empty(0, np.int64)
            return Occurrences(nothing, nothing, nothing)
        entries = np.concatenate(held)
        which = np.repeat(
            np.arange(len(parts)), [0 if part is None else len(part) for part in parts]
        )
        slots = self._slot_of[entries >> _COUNT_BITS]
        counts = entries & _COUNT_MASK
        if self._next > self._live:
            live = slots >= 0
            which, slots, counts = which[live], slots[live], counts[live]
        return Occurrences(which, slots, counts)

    def rarer(self, slot: int, most: int) -> list[str]:
        """Terms of a slot, without those that more than `most` live memories are known to hold."""
        limit = most + self._next - self._live
        return [term for term in self._terms[slot] if len(self._lists[term]) <= limit]

    def frequencies(self) -> dict[str, int]:
        """In how many live memories each term occurs."""
        self.sweep()
        return {term: len(entries) for term, entries in self._lists.items()}

    def sweep(self) -> None:
        """Removes dead entries and renumbers; every trace of a removed text is gone after it."""
        if self._next == self._live:
            return
        alive = self._slot_of[: self._next] >= 0
        renumbered = np.cumsum(alive) - 1
        kept: dict[str, array[int]] = {}
        self._entries = 0
        for term, entries in self._lists.items():
            held = np.frombuffer(entries, np.int64)
            numbers = held >> _COUNT_BITS
            mask = alive[numbers]
            if mask.any():
                packed = (renumbered[numbers[mask]] << _COUNT_BITS) | (held[mask] & _COUNT_MASK)
                kept[term] = array("q", packed.tobytes())
                self._entries += len(packed)
        self._lists = kept
        self.vocabulary = Vocabulary(kept)
        slots = self._slot_of[: self._next][alive]
        self._next = len(slots)
        self._slot_of = np.empty(max(256, 2 * len(slots)), np.int64)
        self._slot_of[: len(slots)] = slots
        for number, slot in enumerate(slots.tolist()):
            self._numbers[slot] = number

    def memory_bytes(self) -> int:
        """Estimated size: entries, terms, numbers."""
        return (
            17 * self._entries
            + 260 * len(self._lists)
            + self._slot_of.nbytes
            + 65 * len(self._numbers)
        )
