"""Two halves of a set of vectors: spherical 2-means (Dhillon & Modha, 2001), without chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_ROUNDS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """The centres of two halves, `[dim]` each, and their cosine."""

    one: Vectors
    other: Vectors
    alike: float

    def in_other(self, rows: Vectors) -> npt.NDArray[np.bool_]:
        """Which rows `[n, dim]` belong to the other half, `[n]`."""
        nearer: npt.NDArray[np.bool_] = _along(rows, self.other) > _along(rows, self.one)
        return nearer


def halve(rows: Vectors) -> Halves | None:
    """Splits unit vectors `[n, dim]`; nothing when they do not fall apart.

    It starts from the row that is least like all, and from the one that is least like that one.
    """
    far = int(_along(rows, rows.sum(axis=0)).argmin())
    opposite = int(_along(rows, rows[far]).argmin())
    halves = _halves(rows[opposite], rows[far])
    for _ in range(_ROUNDS):
        other = halves.in_other(rows)
        if other.all() or not other.any():
            return None
        moved = _halves(_unit(rows[~other].sum(axis=0)), _unit(rows[other].sum(axis=0)))
        if np.array_equal(moved.one, halves.one) and np.array_equal(moved.other, halves.other):
            break
        halves = moved
    return halves


def _halves(one: Vectors, other: Vectors) -> Halves:
    return Halves(one, other, float(np.einsum("i,i->", one, other)))


def _along(rows: Vectors, vector: Vectors) -> Vectors:
    # Not a matrix product: BLAS would start threads that fight over the cores of other actors.
    products: Vectors = np.einsum("ij,j->i", rows, vector)
    return products


def _unit(vector: Vectors) -> Vectors:
    length = float(np.sqrt(np.einsum("i,i->", vector, vector)))
    unit: Vectors = vector / length if length else vector
    return unit
