"""Fast pickling for the values that cross between processes.

A frozen dataclass with slots is pickled through `dataclasses.fields`, field by field in Python, on
both sides; for small values that costs more than everything else a call does. Here an instance is
its class and its fields in order, and unpickling is one call of the constructor.
"""

from __future__ import annotations

from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def crossing(cls: C) -> C:
    """Decorates a dataclass whose constructor takes all of its fields, in order."""
    names: tuple[str, ...] = cls.__match_args__  # type: ignore[attr-defined]

    def reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, tuple([getattr(self, name) for name in names])

    cls.__reduce__ = reduce  # type: ignore[assignment, method-assign]
    return cls
