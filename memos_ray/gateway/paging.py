"""Opaque tokens: page cursors and read-your-writes tokens.

Neither is a secret or a permission: whoever forges one reads no more than without. The check value
only tells a cursor of this query from one of another, and from a typing error.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import blake2b

import orjson

from memos_ray.errors import InvalidCursorError, InvalidInputError

_CHECK_BYTES = 6


def query_digest(*parts: object) -> str:
    """Identifies a query by everything that decides its order."""
    return blake2b(orjson.dumps(parts, default=str), digest_size=8).hexdigest()


def encode_cursor(query: str, position: Mapping[str, object]) -> str:
    """Makes the cursor for the page after `position` of a query."""
    body = orjson.dumps({"q": query, **position})
    return _seal(body)


def decode_cursor(cursor: str, query: str) -> dict[str, object]:
    """Reads a cursor back.

    Raises:
        InvalidCursorError: not a cursor, or of another query.
    """
    try:
        position: dict[str, object] = orjson.loads(_unseal(cursor))
    except ValueError:
        raise InvalidCursorError("this is not a page cursor") from None
    if position.pop("q", None) != query:
        raise InvalidCursorError("the cursor belongs to another query")
    return position


def encode_token(lsns: Mapping[int, int]) -> str:
    """Makes a read-your-writes token from the newest LSN of each partition written."""
    return _seal(b",".join(b"%d:%d" % item for item in sorted(lsns.items())))


def decode_token(token: str | None) -> dict[int, int]:
    """Reads a token back; an absent one asks for nothing.

    Raises:
        InvalidInputError: not such a token.
    """
    if not token:
        return {}
    try:
        pairs = (part.split(b":") for part in _unseal(token).split(b",") if part)
        return {int(partition): int(lsn) for partition, lsn in pairs}
    except ValueError:
        raise InvalidInputError("this is not a read-your-writes token", field="token") from None


def _seal(body: bytes) -> str:
    return urlsafe_b64encode(_check(body) + body).decode().rstrip("=")


def _unseal(text: str) -> bytes:
    try:
        raw = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except (Base64Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
    if raw[:_CHECK_BYTES] != _check(raw[_CHECK_BYTES:]):
        raise ValueError("the check value is wrong")
    return raw[_CHECK_BYTES:]


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, person=b"memos-cursor").digest()
