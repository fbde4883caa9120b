"""Postings: which memories hold a term, and how often.

One growing array per term, as in the in-memory indexes of Büttcher, Clarke & Cormack (2010, ch. 7).
Entries point at a document number, not at a slot: a changed or removed text only unhooks its
number, the dead entries are skipped, and they are swept out once they outnumber the live ones.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.spelling import Vocabulary

IntArray = npt.NDArray[np.int64]
_COUNT_BITS = 16
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_SWEEP_FROM = 1024
_NONE = -1
_NO_TERMS = array("i")
_NO_ENTRIES = array("q")


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

    Invariants: a slot has at most one document number, and a term one number; neither is reused
    between sweeps. Complexity: `add` is linear in the terms of the text, `drop` constant, a sweep
    linear in everything and at most once per as many drops as there are live texts. Memory: twelve
    bytes an entry and some 270 a distinct term.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []
        self._lists: list[array[int]] = []
        # How long each of them is: taken for all terms of the best memories in every search.
        self._sizes = array("i")
        self.vocabulary = Vocabulary()
        self._slot_of = np.empty(256, np.int64)
        self._numbers = array("q")
        self._terms: list[array[int]] = []
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
            self._terms.append(_NO_TERMS)
        if number == len(self._slot_of):
            self._slot_of.resize(2 * number, refcheck=False)
        self._slot_of[number] = slot
        self._numbers[slot] = number
        self._entries += len(terms)
        base = number << _COUNT_BITS
        ids, lists, sizes = self._ids, self._lists, self._sizes
        held: list[int] = []
        for term, count in terms.items():
            entry = base | (count if count <= _COUNT_MASK else _COUNT_MASK)
            id = ids.get(term)
            if id is None:
                id = ids[term] = len(lists)
                self._words.append(term)
                lists.append(array("q", (entry,)))
                sizes.append(1)
                self.vocabulary.add(term)
            else:
                lists[id].append(entry)
                sizes[id] += 1
            held.append(id)
        self._terms[slot] = array("i", held)

    def drop(self, slot: int) -> None:
        """Forgets the text of a slot, if it has one."""
        number = self._numbers[slot] if slot < len(self._numbers) else _NONE
        if number == _NONE:
            return
        self._numbers[slot] = _NONE
        self._terms[slot] = _NO_TERMS
        self._slot_of[number] = _NONE
        self._live -= 1
        if self._next - self._live > max(_SWEEP_FROM, self._live):
            self.sweep()

    def find(self, terms: Iterable[str]) -> Occurrences:
        """Collects the live entries of `terms`."""
        return self._collect([self._ids.get(term, _NONE) for term in terms])

    def find_numbered(self, terms: IntArray) -> Occurrences:
        """Collects the live entries of terms by their numbers."""
        return self._collect(terms.tolist())

    def _collect(self, terms: list[int]) -> Occurrences:
        lists = self._lists
        held = [lists[term] if term != _NONE else _NO_ENTRIES for term in terms]
        # Joined as bytes: a NumPy call for each term would cost more than all that follows.
        entries = np.frombuffer(b"".join(held), np.int64)
        sizes = np.fromiter(map(len, held), np.int64, len(held))
        which = np.repeat(np.arange(len(held)), sizes)
        slots = self._slot_of[entries >> _COUNT_BITS]
        counts = entries & _COUNT_MASK
        if self._next > self._live:
            live = slots >= 0
            which, slots, counts = which[live], slots[live], counts[live]
        return Occurrences(which, slots, counts)

    def terms_of(self, slots: Sequence[int]) -> tuple[IntArray, IntArray]:
        """Numbers of the terms of slots, `[n]`, and for each the place of its slot, `[n]`."""
        held = [self._terms[slot] for slot in slots]
        numbers = np.frombuffer(b"".join(held), np.int32).astype(np.int64)
        sizes = np.fromiter(map(len, held), np.int64, len(held))
        return numbers, np.repeat(np.arange(len(held)), sizes)

    def sizes(self, terms: IntArray) -> npt.NDArray[np.int32]:
        """In how many memories terms occur, by their numbers; dead entries may count, too."""
        return np.frombuffer(self._sizes, np.int32)[terms]

    @property
    def dead(self) -> int:
        """How many texts still have entries, though they are gone."""
        return self._next - self._live

    def word(self, term: int) -> str:
        """The term of a number."""
        return self._words[term]

    def rarer(self, slot: int, most: int) -> list[str]:
        """Terms of a slot, without those that more than `most` live memories are known to hold."""
        limit, lists = most + self.dead, self._lists
        return [self._words[term] for term in self._terms[slot] if len(lists[term]) <= limit]

    def frequencies(self) -> dict[str, int]:
        """In how many live memories each term occurs."""
        self.sweep()
        return dict(zip(self._words, map(len, self._lists), strict=True))

    def sweep(self) -> None:
        """Removes dead entries and renumbers; every trace of a removed text is gone after it."""
        if self._next == self._live:
            return
        alive = self._slot_of[: self._next] >= 0
        renumbered = np.cumsum(alive) - 1
        places = np.full(len(self._lists), _NONE, np.int32)
        words: list[str] = []
        lists: list[array[int]] = []
        self._entries = 0
        for term, entries in enumerate(self._lists):
            held = np.frombuffer(entries, np.int64)
            numbers = held >> _COUNT_BITS
            mask = alive[numbers]
            if mask.any():
                packed = (renumbered[numbers[mask]] << _COUNT_BITS) | (held[mask] & _COUNT_MASK)
                places[term] = len(lists)
                words.append(self._words[term])
                lists.append(array("q", packed.tobytes()))
                self._entries += len(packed)
        self._words, self._lists = words, lists
        self._sizes = array("i", map(len, lists))
        self._ids = {word: term for term, word in enumerate(words)}
        self.vocabulary = Vocabulary(words)
        slots = self._slot_of[: self._next][alive]
        self._next = len(slots)
        self._slot_of = np.empty(max(256, 2 * len(slots)), np.int64)
        self._slot_of[: len(slots)] = slots
        for number, slot in enumerate(slots.tolist()):
            self._numbers[slot] = number
            held = np.frombuffer(self._terms[slot], np.int32)
            self._terms[slot] = array("i", places[held].tobytes())

    def memory_bytes(self) -> int:
        """Estimated size: entries, terms, numbers."""
        return (
            13 * self._entries
            + 284 * len(self._lists)
            + self._slot_of.nbytes
            + 17 * len(self._numbers)
            + 80 * self._live
        )
