"""Contextual fingerprint: a light signature for near-duplicates and task alignment (CUBE-5).

The lexical half is a 64-bit SimHash (Charikar 2002) over hashed tokens, weighted by count; the
semantic half is the sign pattern of the embedding, one bit a dimension, present once the memory
has been embedded.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from memos_ray.core.crossing import crossing

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
# Letters small, digits as they are, everything else a gap.
_ASCII_WORDS = bytes(
    ord(chr(byte).lower()) if byte < 128 and chr(byte).isalnum() else ord(" ")
    for byte in range(256)
)


@crossing
@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Signature of one memory.

    Attributes:
        simhash: 64-bit SimHash of the text, as 16 hex digits.
        sketch: sign bits of the embedding, hex, most significant dimension first; absent before
            the memory is embedded.
    """

    simhash: str
    sketch: str | None = None


def _tokens(text: str) -> list[bytes]:
    if text.isascii():
        return text.encode().translate(_ASCII_WORDS).split()
    tokens: list[bytes] = []
    for run in _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if "\u3040" <= run[0] <= "\ud7af" and len(run) > 1:
            tokens.extend(run[i : i + 2].encode() for i in range(len(run) - 1))
        else:
            tokens.append(run.encode())
    return tokens


def simhash(text: str) -> str:
    """Computes the 64-bit SimHash of a text, as 16 hex digits; all zeros for a text of no words."""
    tokens = _tokens(text)
    # A bit is set where more than half of the tokens have it, which carries into the lane's first.
    votes = sum(map(_votes, tokens), (_FIRST_BIT - 1 - len(tokens) // 2) * _EACH_LANE)
    bits = votes.to_bytes(_BITS * _LANE_BYTES)[::_LANE_BYTES].translate(_FIRST_BITS)
    return f"{int(bits, 2):016x}"


# One integer has a lane for each bit of a hash, wide enough to count the tokens of any text in, so
# that one addition counts all bits of a token: for a short text, small arrays take twice as long.
_BITS = 64
_LANE_BYTES = 4
_FIRST_BIT = 1 << (8 * _LANE_BYTES - 1)
_EACH_LANE = sum(1 << (8 * _LANE_BYTES * lane) for lane in range(_BITS))
_FIRST_BITS = bytes(b"01"[byte >> 7] for byte in range(256))
_LANES = [
    b"".join((byte >> bit & 1).to_bytes(_LANE_BYTES) for bit in range(7, -1, -1))
    for byte in range(256)
]


@lru_cache(maxsize=1 << 14)
def _votes(token: bytes) -> int:
    """Returns the hash of a token with each of its bits in a lane of its own."""
    hashed = blake2b(token, digest_size=_BITS // 8).digest()
    return int.from_bytes(b"".join([_LANES[byte] for byte in hashed]))


def sketch(vector: npt.NDArray[np.float32]) -> str:
    """Returns the sign bits of an embedding `[dim]`, hex."""
    return np.packbits(vector > 0).tobytes().hex()


def _agreement(a: str, b: str) -> float:
    width = 4 * len(a)
    return 1.0 - (int(a, 16) ^ int(b, 16)).bit_count() / width


def similarity(a: Fingerprint, b: Fingerprint) -> float:
    """Share of agreeing bits, 0.5 for unrelated texts and 1 for equal ones.

    Uses the mean of both halves where both sides have a sketch of one width, else the lexical half.
    """
    lexical = _agreement(a.simhash, b.simhash)
    if a.sketch and b.sketch and len(a.sketch) == len(b.sketch):
        return (lexical + _agreement(a.sketch, b.sketch)) / 2
    return lexical
