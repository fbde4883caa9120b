"""Which texts of a memory are embedded, and the quantised vectors that come back.

A memory has *own* views (its text; chunks of a long one) and at most one *context* view (with its
predecessor in the conversation, or a long text as a whole). Planning is a pure function of the
texts, so a stored vector is fresh exactly when the digest of its view is in the current plan.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from hashlib import blake2b
from zlib import crc32

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.settings import Granularity, ViewSettings
from memos_ray.core.retrieval.text import count_words
from memos_ray.errors import DimensionMismatchError, InvalidInputError, StoreCorruptError

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+|(?<=[\u3002\uff01\uff1f])")
_HEADER = struct.Struct("<4sHHI")
_MAGIC = b"mvec"
_VERSION = 1
_LEVELS = 127


class ViewKind(IntEnum):
    """What a view shows: the memory alone, or the memory in its context."""

    OWN = 0
    CONTEXT = 1


@dataclass(frozen=True)
class View:
    """One text to embed."""

    kind: ViewKind
    text: str

    @cached_property
    def digest(self) -> int:
        """64 bits of blake2b over kind and text: tells whether a vector is of this view."""
        state = blake2b(bytes((self.kind,)), digest_size=8)
        state.update(self.text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "little")


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """A memory whose vectors are missing or stale, and every text to embed for it."""

    id: str
    views: tuple[View, ...]


def plan_views(
    text: str, predecessor: str | None, settings: ViewSettings | None = None
) -> tuple[View, ...]:
    """Says which texts to embed for a memory; none for a blank one.

    Args:
        predecessor: text of the memory before it in its session, when there is one.
    """
    settings = settings or ViewSettings()
    own = plan_own(text, settings)
    return own + plan_context(text, predecessor, len(own), settings)


def plan_own(text: str, settings: ViewSettings) -> tuple[View, ...]:
    """Own views: one, or one per chunk."""
    if not text.strip():
        return ()
    whole = settings.granularity is Granularity.CHUNK
    words = count_words(text)
    size = settings.chunk_words(words)
    if whole and words <= size:
        return (View(ViewKind.OWN, text),)
    pieces = _pack(_sentences(text, size), size if whole else 1)
    return tuple(View(ViewKind.OWN, piece) for piece in pieces[: settings.max_chunks])


def plan_context(
    text: str, predecessor: str | None, own: int, settings: ViewSettings
) -> tuple[View, ...]:
    """Context view: with the predecessor while both are short; else whole, when it was cut."""
    if not own:
        return ()
    if predecessor and predecessor.strip():
        joined = f"{predecessor}\n{text}"
        if count_words(joined) <= settings.context_words:
            return (View(ViewKind.CONTEXT, joined),)
    return (View(ViewKind.CONTEXT, text),) if own > 1 else ()


def _sentences(text: str, words: int) -> list[str]:
    """Cuts at sentence ends and line breaks; what is still too long is cut at `words` words."""
    pieces: list[str] = []
    for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
        size = count_words(sentence)
        if size <= words:
            pieces.append(sentence)
            continue
        parts = sentence.split()
        if len(parts) * 2 > size:
            groups = (parts[i : i + words] for i in range(0, len(parts), words))
            pieces.extend(map(" ".join, groups))
        else:
            # Scripts without spaces: two characters count as a word.
            pieces.extend(sentence[i : i + 2 * words] for i in range(0, len(sentence), 2 * words))
    return pieces


def _pack(sentences: Sequence[str], words: int) -> list[str]:
    """Joins successive sentences while they stay within `words` words."""
    packed: list[str] = []
    size = 0
    for sentence in sentences:
        more = count_words(sentence)
        if packed and size + more <= words:
            packed[-1] = f"{packed[-1]} {sentence}"
            size += more
        else:
            packed.append(sentence)
            size = more
    return packed


@dataclass(frozen=True, slots=True, eq=False)
class VectorSet:
    """Vectors of one memory, int8 with a scale for each: `vector = scale * data`, of unit length.

    Attributes:
        kinds: `ViewKind` of each view, uint8 `[views]`.
        digests: digest of each view's text, uint64 `[views]`.
        scales: float32 `[views]`; 0 for a zero vector.
        data: int8 `[views, dim]`.
    """

    kinds: npt.NDArray[np.uint8]
    digests: npt.NDArray[np.uint64]
    scales: npt.NDArray[np.float32]
    data: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        views = len(self.kinds)
        if self.data.ndim != 2 or not views == len(self.digests) == len(self.scales) == len(
            self.data
        ):
            raise InvalidInputError("the parts of a vector set differ in length", views=views)

    @property
    def dim(self) -> int:
        """Width of the embedding space."""
        return int(self.data.shape[1])

    def __len__(self) -> int:
        return len(self.kinds)

    @classmethod
    def quantise(cls, views: Sequence[View], vectors: npt.NDArray[np.float32]) -> VectorSet:
        """Normalises and quantises the embeddings `[views, dim]` of `views`.

        Raises:
            InvalidInputError: when the counts differ or a number is not finite.
        """
        if vectors.ndim != 2 or len(vectors) != len(views):
            raise InvalidInputError("one vector is needed for each view", views=len(views))
        scales, data = quantise_rows(vectors)
        return cls(
            np.array([view.kind for view in views], np.uint8),
            np.array([view.digest for view in views], np.uint64),
            scales,
            data,
        )

    def vectors(self) -> npt.NDArray[np.float32]:
        """The vectors as float32 `[views, dim]`, within quantisation error of unit length."""
        return self.data.astype(np.float32) * self.scales[:, None]

    def to_bytes(self) -> bytes:
        """Encodes as header, kinds, scales, digests, data, CRC-32; little-endian."""
        body = b"".join(
            (
                _HEADER.pack(_MAGIC, _VERSION, len(self), self.dim),
                self.kinds.astype("u1").tobytes(),
                self.scales.astype("<f4").tobytes(),
                self.digests.astype("<u8").tobytes(),
                self.data.astype("i1").tobytes(),
            )
        )
        return body + crc32(body).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, stored: bytes) -> VectorSet:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: when the bytes are cut, changed or of another format.
        """
        if len(stored) < _HEADER.size + 4 or stored[:4] != _MAGIC:
            raise StoreCorruptError("stored bytes are no vector set")
        _, version, views, dim = _HEADER.unpack_from(stored)
        if version != _VERSION or len(stored) != _HEADER.size + views * (13 + dim) + 4:
            raise StoreCorruptError("a vector set of unknown shape", version=version)
        if crc32(stored[:-4]) != int.from_bytes(stored[-4:], "little"):
            raise StoreCorruptError("the checksum of a vector set is wrong")
        at = _HEADER.size
        scales = np.frombuffer(stored, "<f4", views, at + views).astype(np.float32)
        if not bool(np.isfinite(scales).all()):
            raise StoreCorruptError("a vector set holds numbers that are not finite")
        return cls(
            np.frombuffer(stored, np.uint8, views, at),
            np.frombuffer(stored, "<u8", views, at + 5 * views).astype(np.uint64),
            scales,
            np.frombuffer(stored, np.int8, views * dim, at + 13 * views).reshape(views, dim),
        )


def quantise_rows(
    vectors: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Normalises rows `[n, dim]` and quantises each to int8 with its own scale.

    The largest component of a row maps to 127, which wastes no level and costs four bytes.

    Raises:
        InvalidInputError: when a number is not finite.
    """
    if not bool(np.isfinite(vectors).all()):
        raise InvalidInputError("an embedding holds numbers that are not finite", field="vector")
    if vectors.shape[1] == 0:
        raise DimensionMismatchError("an embedding has no dimensions", field="vector")
    wide = vectors.astype(np.float64)
    peaks = np.abs(wide).max(axis=1, initial=0.0)
    levels = np.rint(wide * (_LEVELS / np.where(peaks > 0, peaks, 1.0))[:, None])
    lengths = np.sqrt(np.einsum("ij,ij->i", levels, levels))
    scales = np.divide(1.0, lengths, out=np.zeros(len(vectors)), where=lengths > 0)
    return scales.astype(np.float32), levels.astype(np.int8)
