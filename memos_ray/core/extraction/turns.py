"""What a model is given to read: the memories of one job, each under a short name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memos_ray.core.cube.cube import MemCube

NAME_PREFIX = "t"


@dataclass(frozen=True, slots=True)
class SourceTurn:
    """A memory that is read.

    Attributes:
        name: what the model calls it, such as `t3`.
        cube: as it is when it is read; plaintext.
        background: whether it only helps to understand the others; nothing rests on it alone.
    """

    name: str
    cube: MemCube
    background: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Its id and version."""
        return self.cube.id, self.cube.version.number


def turns_of(before: Sequence[MemCube], window: Sequence[MemCube]) -> tuple[SourceTurn, ...]:
    """Names the memories of a job: those that were said before, and those that are to be read."""
    cubes = [*((cube, True) for cube in before), *((cube, False) for cube in window)]
    return tuple(
        SourceTurn(f"{NAME_PREFIX}{place}", cube, background)
        for place, (cube, background) in enumerate(cubes, start=1)
    )
