"""Columns of the attribute frame: one facet of all memories, ready for vectorised filters.

Each column answers the four questions of the filter language (`OneOf`, `Between`, `HasAny`,
`Present`) with a mask over slots. Values of a type that a column was not made for are held aside
and decided one by one by `evaluate`, so that every answer is exactly the evaluator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, isnan
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memos_ray.core.cube.facets import FacetValue
from memos_ray.core.cube.predicate import Between, HasAny, OneOf, Present, evaluate

Mask = npt.NDArray[np.bool_]
Leaf = OneOf | Between | HasAny | Present
ABSENT = 0
"""The code of a slot without a value."""

_ABSENT_NUMBER = int(np.iinfo(np.int64).min)
_LOWEST = _ABSENT_NUMBER + 1
_HIGHEST = int(np.iinfo(np.int64).max)


class Column(Protocol):
    """One facet of all memories."""

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""

    def put(self, slot: int, value: FacetValue | None) -> None:
        """Sets or clears (`None`) the value of a slot."""

    def mask(self, leaf: Leaf, high: int) -> Mask:
        """Decides a leaf for the slots below `high`."""

    def memory_bytes(self) -> int:
        """Estimated size."""


class _Aside:
    """Values of unexpected type, decided by the evaluator."""

    def __init__(self) -> None:
        self.values: dict[int, FacetValue] = {}

    def settle(self, leaf: Leaf, mask: Mask) -> Mask:
        """Overwrites `mask` where a value is held here."""
        for slot, value in self.values.items():
            if slot < len(mask):
                mask[slot] = evaluate(leaf, {leaf.field: value})
        return mask


class NumberColumn:
    """Whole numbers and times: int64, with the lowest value for "absent"."""

    def __init__(self, capacity: int) -> None:
        self._numbers = np.full(capacity, _ABSENT_NUMBER, np.int64)
        self._aside = _Aside()

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""
        old = len(self._numbers)
        self._numbers.resize(capacity, refcheck=False)
        self._numbers[old:] = _ABSENT_NUMBER

    def put(self, slot: int, value: FacetValue | None) -> None:
        """Sets or clears the value of a slot."""
        if self._aside.values:
            self._aside.values.pop(slot, None)
        if type(value) is int and _LOWEST <= value <= _HIGHEST:
            self._numbers[slot] = value
            return
        self._numbers[slot] = _ABSENT_NUMBER
        if value is not None:
            self._aside.values[slot] = value

    def numbers(self, slots: npt.NDArray[np.int64], absent: int) -> npt.NDArray[np.int64]:
        """Values at `slots`, `absent` where there is none."""
        found = self._numbers[slots]
        return np.where(found == _ABSENT_NUMBER, absent, found)

    def mask(self, leaf: Leaf, high: int) -> Mask:
        """Decides a leaf for the slots below `high`."""
        held = self._numbers[:high]
        match leaf:
            case Present():
                mask = held != _ABSENT_NUMBER
            case OneOf(_, values):
                wanted = [_as_int64(value) for value in values]
                mask = _equals_any(held, [value for value in wanted if value is not None])
            case Between(_, lower, upper):
                mask = held >= (_LOWEST if lower is None else _clamp(lower))
                if lower is not None and (_is_nan(lower) or lower > _HIGHEST):
                    mask[:] = False
                if upper is not None and (_is_nan(upper) or upper <= _HIGHEST):
                    mask &= held < _clamp(upper)
                    mask &= not _is_nan(upper)
            case HasAny():
                mask = np.zeros(high, np.bool_)
        return self._aside.settle(leaf, mask)

    def memory_bytes(self) -> int:
        """Estimated size."""
        return self._numbers.nbytes + 200 * len(self._aside.values)


def _as_int64(value: object) -> int | None:
    """The stored form of a value to compare with; nothing when no stored number can equal it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    whole = int(value)
    return whole if _LOWEST <= whole <= _HIGHEST else None


def _is_nan(bound: float) -> bool:
    return isinstance(bound, float) and isnan(bound)


def _clamp(bound: float) -> int:
    """The least storable number that is not below `bound`: exact where float64 is not."""
    if _is_nan(bound) or bound < _LOWEST:
        return _LOWEST
    return _HIGHEST if bound > _HIGHEST else ceil(bound)


def _equals_any(held: npt.NDArray[np.int64], values: list[int]) -> Mask:
    mask = np.zeros(len(held), np.bool_)
    if len(values) > 8:
        return np.isin(held, values)
    for value in values:
        mask |= held == value
    return mask


class CodeColumn:
    """Any scalar, interned: int32 codes, 0 for "absent"; a code is freed with its last use."""

    def __init__(self, capacity: int) -> None:
        self.codes = np.zeros(capacity, np.int32)
        self._code_of: dict[tuple[bool, FacetValue], int] = {}
        self._values: list[FacetValue | None] = [None]
        self._uses: list[int] = [0]
        self._free: list[int] = []
        self._aside = _Aside()

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""
        self.codes.resize(capacity, refcheck=False)

    def put(self, slot: int, value: FacetValue | None) -> None:
        """Sets or clears the value of a slot."""
        if self._aside.values:
            self._aside.values.pop(slot, None)
        code = 0
        if value is not None:
            if not self._fits(value):
                self._aside.values[slot] = value
            else:
                code = self._code_of.get((isinstance(value, bool), value)) or self._intern(value)
        old = int(self.codes[slot])
        if code == old:
            return
        self.codes[slot] = code
        self._uses[code] += 1
        if old:
            self._uses[old] -= 1
            if not self._uses[old]:
                self._retire(old)

    def code(self, value: FacetValue) -> int:
        """Code of a value; -1 when no memory holds it."""
        return self._code_of.get((isinstance(value, bool), value), -1)

    def values(self) -> Iterable[FacetValue]:
        """Distinct values in use."""
        return (value for _, value in self._code_of)

    def counts(self, where: Mask | None = None) -> dict[FacetValue, int]:
        """How often each value is in use: everywhere, or in the slots `[high]` that are true."""
        if where is None:
            return {value: self._uses[code] for (_, value), code in self._code_of.items()}
        found = np.bincount(self.codes[: len(where)][where], minlength=len(self._values))
        return {
            value: int(found[code]) for (_, value), code in self._code_of.items() if found[code]
        }

    def value(self, code: int) -> FacetValue | None:
        """The value of a code."""
        return self._values[code]

    def mask(self, leaf: Leaf, high: int) -> Mask:
        """Decides a leaf for the slots below `high`."""
        held = self.codes[:high]
        match leaf:
            case Present():
                mask = held != 0
            case OneOf(_, values):
                wanted = {self.code(value) for value in values if value == value}
                mask = _equals_codes(held, wanted - {-1})
            case Between():
                mask = self._tabled(held, lambda value: evaluate(leaf, {leaf.field: value}))
            case HasAny():
                mask = self._holders(held, leaf)
        return self._aside.settle(leaf, mask)

    def memory_bytes(self) -> int:
        """Estimated size."""
        return self.codes.nbytes + 250 * len(self._values) + 200 * len(self._aside.values)

    def _fits(self, value: FacetValue) -> bool:
        return not isinstance(value, tuple) and value == value

    def _holders(self, held: npt.NDArray[np.int32], leaf: HasAny) -> Mask:
        return np.zeros(len(held), np.bool_)

    def _tabled(self, held: npt.NDArray[np.int32], holds: Callable[[FacetValue], bool]) -> Mask:
        table = np.zeros(len(self._values), np.bool_)
        for (_, value), code in self._code_of.items():
            table[code] = holds(value)
        return table[held]

    def _intern(self, value: FacetValue) -> int:
        if self._free:
            code = self._free.pop()
            self._values[code] = value
        else:
            code = len(self._values)
            self._values.append(value)
            self._uses.append(0)
        self._code_of[isinstance(value, bool), value] = code
        return code

    def _retire(self, code: int) -> None:
        value = self._values[code]
        if value is not None:
            del self._code_of[isinstance(value, bool), value]
        self._values[code] = None
        self._free.append(code)


def _equals_codes(held: npt.NDArray[np.int32], codes: set[int]) -> Mask:
    mask = np.zeros(len(held), np.bool_)
    if len(codes) > 8:
        return np.isin(held, list(codes))
    for code in codes:
        mask |= held == code
    return mask


class SetColumn(CodeColumn):
    """Sets of text: each distinct set is interned, and each value points at the sets it is in."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._sets_with: dict[str, set[int]] = {}

    def _fits(self, value: FacetValue) -> bool:
        return isinstance(value, tuple)

    def _holders(self, held: npt.NDArray[np.int32], leaf: HasAny) -> Mask:
        codes = set[int]().union(*(self._sets_with.get(value, ()) for value in leaf.values))
        if len(codes) <= 8:
            return _equals_codes(held, codes)
        table = np.zeros(len(self._values), np.bool_)
        table[np.fromiter(codes, np.int64, len(codes))] = True
        return table[held]

    def _intern(self, value: FacetValue) -> int:
        code = super()._intern(value)
        if isinstance(value, tuple):
            for item in value:
                self._sets_with.setdefault(item, set()).add(code)
        return code

    def _retire(self, code: int) -> None:
        value = self._values[code]
        super()._retire(code)
        if isinstance(value, tuple):
            for item in value:
                holders = self._sets_with.get(item)
                if holders is not None:
                    holders.discard(code)
                    if not holders:
                        del self._sets_with[item]

    def memory_bytes(self) -> int:
        """Estimated size."""
        return super().memory_bytes() + 300 * len(self._sets_with)
