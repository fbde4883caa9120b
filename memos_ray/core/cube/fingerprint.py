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

_AT_ONCE = 4096
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")


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


def _tokens(text: str) -> list[str]:
    if text.isascii():
        return _TOKEN.findall(text.lower())
    tokens: list[str] = []
    for run in _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if "\u3040" <= run[0] <= "\ud7af" and len(run) > 1:
            tokens.extend(run[i : i + 2] for i in range(len(run) - 1))
        else:
            tokens.append(run)
    return tokens


def simhash(text: str) -> str:
    """Computes the 64-bit SimHash of a text, as 16 hex digits; all zeros for a text of no words."""
    tokens = _tokens(text)
    ones = np.zeros(64, np.int64)
    for start in range(0, len(tokens), _AT_ONCE):
        hashes = b"".join([_hash(token) for token in tokens[start : start + _AT_ONCE]])
        bits = np.unpackbits(np.frombuffer(hashes, np.uint8)).reshape(-1, 64)
        ones += np.add.reduce(bits, 0, np.int64)
    return np.packbits(2 * ones > len(tokens)).tobytes().hex()


@lru_cache(maxsize=1 << 16)
def _hash(token: str) -> bytes:
    return blake2b(token.encode(), digest_size=8).digest()


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
