"""Values that cross between processes arrive as they were, however many fields they have."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from memos_ray.core.crossing import crossing
from memos_ray.testing.cubes import make_cube


@crossing
@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@crossing
@dataclass(frozen=True, slots=True)
class One:
    parts: tuple[int, ...]


@crossing
@dataclass(frozen=True, slots=True)
class Several:
    name: str
    one: One
    nothing: Nothing | None = None


@pytest.mark.parametrize(
    "value",
    [Nothing(), One((1, 2)), One(()), Several("a", One((3,)), Nothing()), make_cube("a text")],
    ids=lambda value: type(value).__name__,
)
def test_what_crosses_arrives_as_it_was(value: object) -> None:
    assert pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) == value
