"""Fast pickling for the values that cross between processes.

A frozen dataclass with slots is pickled through `dataclasses.fields`, field by field in Python, on
both sides; for small values that costs more than everything else a call does. Here an instance is
its class and its fields in order, and unpickling is one call of the constructor.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def crossing(cls: C) -> C:
    """Decorates a dataclass whose constructor takes all of its fields, in order."""
    names: tuple[str, ...] = cls.__match_args__  # type: ignore[attr-defined]
    fields: Callable[[Any], tuple[Any, ...]]
    if len(names) > 1:
        fields = attrgetter(*names)
    else:
        # Of one name, `attrgetter` returns the value itself.
        def fields(one: Any) -> tuple[Any, ...]:
            return tuple(getattr(one, name) for name in names)

    def reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, fields(self)

    cls.__reduce__ = reduce  # type: ignore[assignment, method-assign]
    return cls
