"""Neighbours: who stands next to whom in a session, and the adaptive context of each memory.

The context of a memory is itself and the nearest neighbours on both sides, added nearest first,
the earlier one first, while the whole stays within a number of words. A context is kept as a row of
slots and inverted per offset, so that BM25 over contexts needs no postings of its own: the entries
of a memory's own text are spread to the contexts that hold it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SlotArray = npt.NDArray[np.int32]
NONE = -1
_NOWHERE = (0, "")


@dataclass(slots=True)
class _Session:
    """Slots of one session, in order."""

    key: Hashable
    members: list[int]


class Neighbours:
    """Contexts of all memories.

    Invariants (after `flush`): `included[i, c]` is the neighbour of `i` at offset `c - reach` when
    it belongs to the context of `i`, else -1; `reverse[j, c] == i` exactly when
    `included[i, c] == j`; `previous[i]` is the memory before `i`, in its context or not.
    Complexity: a change touches the memories within `reach` of it, plus a binary search and an
    insertion in its session.
    """

    def __init__(self, reach: int, words: int, max_gap: int | None = None) -> None:
        self.reach = reach
        self._limit = words
        self._max_gap = max_gap
        width = 2 * reach + 1
        self.included: SlotArray = np.full((0, width), NONE, np.int32)
        self.reverse: SlotArray = np.full((0, width), NONE, np.int32)
        self.previous: SlotArray = np.full(0, NONE, np.int32)
        self._sessions: dict[Hashable, _Session] = {}
        self._session_of: list[_Session | None] = []
        self._places: list[tuple[int, str]] = []
        self._words: list[int] = []
        self._dirty: dict[int, None] = {}

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""
        more = capacity - len(self.previous)
        width = self.included.shape[1]
        blank = np.full((more, width), NONE, np.int32)
        self.included = np.concatenate((self.included, blank))
        self.reverse = np.concatenate((self.reverse, blank))
        self.previous = np.concatenate((self.previous, blank[:, 0]))
        self._session_of.extend([None] * more)
        self._places.extend([_NOWHERE] * more)
        self._words.extend([NONE] * more)

    def put(
        self, slot: int, id: str, words: int, session: Hashable | None, position: int | None
    ) -> None:
        """Enters a memory, or takes notice that its text or its place has changed.

        Without a session or a position a memory stands alone.
        """
        self.remove(slot)
        self._words[slot] = words
        self._dirty[slot] = None
        if session is None or position is None:
            return
        place = (position, id)
        held = self._sessions.get(session)
        if held is None:
            held = self._sessions[session] = _Session(session, [])
        self._session_of[slot] = held
        self._places[slot] = place
        members = held.members
        if not members or self._places[members[-1]] < place:
            at = len(members)
            members.append(slot)
        else:
            at = bisect_left(members, place, key=self._places.__getitem__)
            members.insert(at, slot)
        self._touch(members[max(0, at - self._span) : at + self._span + 1])

    def remove(self, slot: int) -> None:
        """Takes a memory out, if it is there; its neighbours close ranks."""
        self._words[slot] = NONE
        self._dirty[slot] = None
        session = self._session_of[slot]
        if session is None:
            return
        members = session.members
        at = bisect_left(members, self._places[slot], key=self._places.__getitem__)
        del members[at]
        self._session_of[slot] = None
        self._places[slot] = _NOWHERE
        if members:
            self._touch(members[max(0, at - self._span) : at + self._span])
        else:
            del self._sessions[session.key]

    def flush(self) -> list[int]:
        """Recomputes what changed; returns the slots whose context or predecessor may differ."""
        changed = list(self._dirty)
        if not changed:
            return changed
        self._dirty.clear()
        slots = np.array(changed, np.int64)
        old = self.included[slots]
        for column in range(old.shape[1]):
            held = old[:, column]
            self.reverse[held[held != NONE], column] = NONE
        fresh, previous = self._contexts(changed)
        self.included[slots] = fresh
        self.previous[slots] = previous
        for column in range(fresh.shape[1]):
            held = fresh[:, column]
            valid = held != NONE
            self.reverse[held[valid], column] = slots[valid]
        return changed

    def context_of(self, slot: int) -> list[int]:
        """Slots in the context of a memory, in order, itself included."""
        return [other for other in self.included[slot].tolist() if other != NONE]

    def memory_bytes(self) -> int:
        """Estimated size."""
        arrays = self.included.nbytes + self.reverse.nbytes + self.previous.nbytes
        return arrays + 130 * len(self._words) + 250 * len(self._sessions)

    @property
    def _span(self) -> int:
        return max(1, self.reach)

    def _touch(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self._dirty[slot] = None

    def _contexts(self, slots: list[int]) -> tuple[SlotArray, SlotArray]:
        """Rows of `included` and entries of `previous` for `slots`."""
        width = self.included.shape[1]
        rows = [[NONE] * width for _ in slots]
        previous = [NONE] * len(slots)
        by_session: dict[int, list[int]] = {}
        for at, slot in enumerate(slots):
            session = self._session_of[slot]
            if self._words[slot] != NONE:
                rows[at][self.reach] = slot
            if session is not None:
                by_session.setdefault(id(session), []).append(at)
        for wanted in by_session.values():
            held = self._session_of[slots[wanted[0]]]
            members = held.members if held is not None else []
            # A binary search pays for a few changes, one pass over the session for many.
            order = {slot: at for at, slot in enumerate(members)} if len(wanted) > 8 else None
            for at in wanted:
                slot = slots[at]
                place = (
                    order[slot]
                    if order is not None
                    else bisect_left(members, self._places[slot], key=self._places.__getitem__)
                )
                if place and self._near(slot, members[place - 1]):
                    previous[at] = members[place - 1]
                self._expand(rows[at], members, place)
        return np.array(rows, np.int32).reshape(-1, width), np.array(previous, np.int32)

    def _expand(self, row: list[int], members: list[int], place: int) -> None:
        """Adds neighbours to a row, nearest first, until a side is too long or ends."""
        slot = members[place]
        total = self._words[slot]
        open_sides = [-1, 1]
        for distance in range(1, self.reach + 1):
            for side in tuple(open_sides):
                at = place + side * distance
                if 0 <= at < len(members):
                    other = members[at]
                    size = self._words[other]
                    if total + size <= self._limit and self._near(slot, other):
                        total += size
                        row[self.reach + side * distance] = other
                        continue
                open_sides.remove(side)

    def _near(self, slot: int, other: int) -> bool:
        if self._max_gap is None:
            return True
        return abs(self._places[slot][0] - self._places[other][0]) <= self._max_gap
