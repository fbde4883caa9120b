"""Vectors computed once, looked up by every system: so that none of them pays for embedding.

A table is three files: `keys.npy`, the sorted 64-bit digests of the texts; `vectors.npy`, float32
`[n, dim]` rows of unit length, which processes map rather than read; and `legible.npy`, how much of
each text the embedder can read, which memos-ray asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """What a table is made with: the part of `memos_ray.ports.EmbedderPort` that it needs."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns vectors."""
        ...

    def legible(self, text: str) -> float:
        """Tells how much of a text the model can read."""
        ...


class VectorTable:
    """The vectors of all texts that a comparison embeds."""

    def __init__(self, folder: Path) -> None:
        """Opens a table that `build` has written."""
        self._keys = np.load(folder / "keys.npy")
        self._legible = np.load(folder / "legible.npy")
        self._vectors: Vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self.dim = int(self._vectors.shape[1])
        self.digest = blake2b(self._keys.tobytes(), digest_size=16).hexdigest()

    @staticmethod
    def build(folder: Path, texts: Iterable[str], embedder: Embedder) -> VectorTable:
        """Embeds the distinct texts and writes a table.

        Raises:
            ValueError: two texts have one digest.
        """
        distinct = list(dict.fromkeys(texts))
        keys = np.array([_key(text) for text in distinct], np.uint64)
        order = np.argsort(keys)
        if len(np.unique(keys)) < len(keys):
            raise ValueError("two texts have one digest")
        np.save(folder / "keys.npy", keys[order])
        np.save(folder / "vectors.npy", embedder.embed(distinct)[order])
        legible = np.array([embedder.legible(text) for text in distinct], np.float32)
        np.save(folder / "legible.npy", legible[order])
        return VectorTable(folder)

    def look_up(self, texts: Sequence[str]) -> Vectors:
        """Returns the vectors of texts, float32 `[len(texts), dim]`.

        Raises:
            KeyError: a text is not in the table.
        """
        return np.array(self._vectors[[self._row(text) for text in texts]])

    def legible(self, text: str) -> float:
        """Returns how much of a text the embedder can read.

        Raises:
            KeyError: the text is not in the table.
        """
        return float(self._legible[self._row(text)])

    def _row(self, text: str) -> int:
        key = _key(text)
        row = int(np.searchsorted(self._keys, np.uint64(key)))
        if row == len(self._keys) or int(self._keys[row]) != key:
            raise KeyError(f"a text was not embedded beforehand: {text[:80]!r}")
        return row


def _key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
