"""Two halves of a set of vectors: spherical 2-means (Dhillon & Modha, 2001), without chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_ROUNDS = 8
_SAMPLE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Which rows belong to the second half, `[n]`, and the cosine of the centres of both."""

    second: npt.NDArray[np.bool_]
    alike: float


def halve(rows: Vectors) -> Halves | None:
    """Splits unit vectors `[n, dim]`; nothing when they do not fall apart.

    It starts from the row that is least like all, and from the one that is least like that one; of
    many rows, an even sample settles where the centres are.
    """
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    far = int(_along(sample, sample.sum(axis=0)).argmin())
    opposite = int(_along(sample, sample[far]).argmin())
    centres = (sample[opposite], sample[far])
    for _ in range(_ROUNDS):
        second = _along(sample, centres[1]) > _along(sample, centres[0])
        if second.all() or not second.any():
            return None
        moved = (_unit(sample[~second].sum(axis=0)), _unit(sample[second].sum(axis=0)))
        if all(np.array_equal(new, old) for new, old in zip(moved, centres, strict=True)):
            break
        centres = moved
    second = _along(rows, centres[1]) > _along(rows, centres[0])
    if second.all() or not second.any():
        return None
    return Halves(second, float(_along(centres[0][None, :], centres[1])[0]))


def _along(rows: Vectors, vector: Vectors) -> Vectors:
    # Not a matrix product: BLAS would start threads that fight over the cores of other actors.
    products: Vectors = np.einsum("ij,j->i", rows, vector)
    return products


def _unit(vector: Vectors) -> Vectors:
    length = float(np.sqrt(np.einsum("i,i->", vector, vector)))
    unit: Vectors = vector / length if length else vector
    return unit
