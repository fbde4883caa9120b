"""Identifiers and digests."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

_DIGEST_BYTES = 32
_length = Struct(">Q").pack


def new_id(at_ms: int, entropy: bytes) -> str:
    """Makes a time-ordered identifier: a UUID version 7 (RFC 9562, section 5.7).

    Args:
        at_ms: Unix time in milliseconds, 48 bits.
        entropy: ten random bytes from the caller.
    """
    if len(entropy) != 10:
        raise ValueError("ten bytes of entropy are needed")
    raw = bytearray(at_ms.to_bytes(6, "big") + entropy)
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def digest(*parts: bytes) -> str:
    """Returns blake2b-256 over length-prefixed parts, hex: no two lists of parts collide."""
    # One call for all parts: each costs as much as a hundred bytes.
    framed: list[bytes] = []
    for part in parts:
        framed += _length(len(part)), part
    return blake2b(b"".join(framed), digest_size=_DIGEST_BYTES).hexdigest()
