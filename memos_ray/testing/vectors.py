"""Builders of vector records for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.ports import VectorRecord, Vectors
from memos_ray.testing.cubes import key_of


def make_space(dim: int = 8, name: str = "test") -> EmbeddingSpace:
    """Builds an embedding space; the digest follows from the name alone."""
    return EmbeddingSpace(name, dim, name.encode().hex())


def make_record(cube: MemCube, vector: Vectors | Sequence[float], partition: int) -> VectorRecord:
    """Builds the record of a cube's present version."""
    return VectorRecord(
        partition=partition,
        key=key_of(cube),
        namespace=cube.namespace,
        version=cube.version.number,
        facets=facets_of(cube),
        vector=np.asarray(vector, dtype=np.float32),
    )


def random_vectors(count: int, dim: int = 8, seed: int = 0) -> Vectors:
    """Draws unit vectors: float32 `[count, dim]`."""
    drawn: Vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn
