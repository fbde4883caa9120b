"""The attribute frame: facets of all memories in columns, and filters over them.

`mask` answers for every slot what `core.cube.predicate.evaluate` answers for one memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import numpy as np
import numpy.typing as npt

from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, FacetValue, Kind
from memos_ray.core.cube.predicate import (
    AllOf,
    AnyOf,
    Between,
    Everything,
    HasAny,
    Not,
    Nothing,
    OneOf,
    Predicate,
    Present,
)
from memos_ray.core.retrieval.columns import (
    CodeColumn,
    Column,
    Mask,
    NumberColumn,
    SetColumn,
)
from memos_ray.core.retrieval.query import IndexedMemory

IntArray = npt.NDArray[np.int64]


class AttributeFrame:
    """Facets by slot.

    Invariants: `live[slot]` tells whether a memory is there; all columns have one capacity; a
    column exists from the first memory that has its field. `high` bounds the slots ever used.
    Complexity: `put` is linear in the facets of the memory and those of its predecessor in the
    slot; `mask` in the slots times the leaves of the predicate.
    """

    def __init__(self) -> None:
        self.capacity = 0
        self.high = 0
        self.live: Mask = np.zeros(0, np.bool_)
        self.slot_of: dict[str, int] = {}
        self.ids: list[str] = []
        self._free: list[int] = []
        self._columns: dict[str, Column] = {}
        self._named: list[tuple[str, ...]] = []
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.slot_of)

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""
        more = capacity - self.capacity
        self.live = np.concatenate((self.live, np.zeros(more, np.bool_)))
        self.ids.extend([""] * more)
        self._named.extend([()] * more)
        for column in self._columns.values():
            column.grow(capacity)
        self.capacity = capacity

    @property
    def full(self) -> bool:
        """Whether the next new memory needs `grow` first."""
        return not self._free and self.high == self.capacity

    def put(self, memory: IndexedMemory) -> int:
        """Enters or replaces the facets of a memory; returns its slot."""
        slot = self.slot_of.get(memory.id)
        if slot is None:
            slot = self._free.pop() if self._free else self.high
            self.high = max(self.high, slot + 1)
            self.slot_of[memory.id] = slot
            self.ids[slot] = memory.id
            self.live[slot] = True
        facets = memory.facets
        names = tuple(facets)
        held = self._named[slot]
        if held != names:
            for name in held:
                if name not in facets:
                    self._put(name, slot, None)
            # Memories of one kind share one tuple of names.
            self._named[slot] = self._shapes.setdefault(names, names)
        for name, value in facets.items():
            self._put(name, slot, value)
        return slot

    def remove(self, id: str) -> int | None:
        """Forgets a memory; returns the slot that it leaves."""
        slot = self.slot_of.pop(id, None)
        if slot is None:
            return None
        for name in self._named[slot]:
            self._put(name, slot, None)
        self._named[slot] = ()
        self.ids[slot] = ""
        self.live[slot] = False
        self._free.append(slot)
        return slot

    def mask(self, predicate: Predicate) -> Mask:
        """Decides a predicate for all slots below `high`; false where there is no memory."""
        if isinstance(predicate, Everything):
            return self.live[: self.high]
        return self._decide(predicate) & self.live[: self.high]

    def coded(self, name: str) -> CodeColumn | None:
        """The column of a text facet, if any memory has had it."""
        column = self._columns.get(name)
        return column if isinstance(column, CodeColumn) else None

    def times(self, slots: IntArray, names: Iterable[str], absent: int) -> IntArray:
        """The first present of some time facets at `slots`, `absent` where there is none."""
        found = np.full(len(slots), absent, np.int64)
        for name in reversed(tuple(names)):
            column = self._columns.get(name)
            if isinstance(column, NumberColumn):
                values = column.numbers(slots, absent)
                found = np.where(values == absent, found, values)
        return found

    def memory_bytes(self) -> int:
        """Estimated size."""
        columns = sum(column.memory_bytes() for column in self._columns.values())
        return columns + 17 * self.capacity + 200 * len(self.slot_of)

    def _put(self, name: str, slot: int, value: FacetValue | None) -> None:
        if name == "id":
            return
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = _column_for(name, self.capacity)
        column.put(slot, value)

    def _decide(self, predicate: Predicate) -> Mask:
        match predicate:
            case Everything():
                return np.ones(self.high, np.bool_)
            case Nothing():
                return np.zeros(self.high, np.bool_)
            case OneOf(name) | Between(name) | HasAny(name) | Present(name):
                if name == "id":
                    return self._decide_id(predicate)
                column = self._columns.get(name)
                if column is None:
                    return np.zeros(self.high, np.bool_)
                return column.mask(predicate, self.high)
            case Not(part):
                return ~self._decide(part)
            case AllOf(parts):
                mask = np.ones(self.high, np.bool_)
                for part in parts:
                    mask &= self._decide(part)
                return mask
            case AnyOf(parts):
                mask = np.zeros(self.high, np.bool_)
                for part in parts:
                    mask |= self._decide(part)
                return mask
            case _ as never:
                assert_never(never)

    def _decide_id(self, leaf: OneOf | Between | HasAny | Present) -> Mask:
        mask = np.zeros(self.high, np.bool_)
        match leaf:
            case Present():
                mask[:] = True
            case OneOf(_, values):
                for value in values:
                    slot = self.slot_of.get(value) if isinstance(value, str) else None
                    if slot is not None:
                        mask[slot] = True
            case _:
                pass
        return mask


def _column_for(name: str, capacity: int) -> Column:
    match None if name.startswith(ATTRIBUTE_PREFIX) else FIELDS.get(name):
        case Kind.INTEGER | Kind.TIME:
            return NumberColumn(capacity)
        case Kind.SET:
            return SetColumn(capacity)
        case _:
            return CodeColumn(capacity)
