"""An embedder for tests and benchmarks that measure everything but embedding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.ports import Vectors

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Signed feature hashing of words (Weinberger et al. 2009): fast, and similar where words are.

    Implements `ports.EmbedderPort`; deterministic on every machine.
    """

    def __init__(self, dim: int = 384) -> None:
        self._space = EmbeddingSpace(f"hashing-{dim}", dim, f"hashing-{dim}-1")
        self._slots: dict[str, tuple[int, float]] = {}

    @property
    def space(self) -> EmbeddingSpace:
        """The space of these vectors."""
        return self._space

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts: float32 `[len(texts), dim]`, L2-normalised; zero for a text of no words."""
        vectors = np.zeros((len(texts), self._space.dim), np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                slot, sign = self._slot(word)
                vectors[row, slot] += sign
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def legible(self, text: str) -> float:
        """Everything: a hash reads any language."""
        return 1.0

    def _slot(self, word: str) -> tuple[int, float]:
        found = self._slots.get(word)
        if found is None:
            value = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
            found = (value >> 1) % self._space.dim, 1.0 if value & 1 else -1.0
            if len(self._slots) < 1 << 18:
                self._slots[word] = found
        return found
