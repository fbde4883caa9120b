"""Opaque tokens: page cursors and read-your-writes tokens.

Neither is a secret or a permission: whoever forges one reads no more than without. The check value
only tells a cursor of this query from one of another, and from a typing error.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, TypeVar

import orjson
from pydantic import Field, ValidationError

from memos_ray.errors import InvalidCursorError, InvalidInputError
from memos_ray.gateway.fields import Model, NamespaceName

P = TypeVar("P", bound=Model)

_CHECK_BYTES = 6
# As many namespaces as a search may name, each with its archive; or a branch.
_NAMESPACES_MAX, _PLACES_MAX = 64, 128
_Offset = Annotated[int, Field(ge=0, lt=2**31)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Few = Field(max_length=64)
_Number = Annotated[int, Field(ge=0, lt=2**62)]


class AfterMemory(Model):
    """Place in a list of memories, newest first: creation in microseconds since 1970, and id."""

    at: Annotated[int, Field(gt=-(2**62), lt=2**62)]
    id: Annotated[str, Field(max_length=512)]


class AfterHits(Model):
    """Place in a list that is ranked once."""

    offset: _Offset


class AfterRanked(Model):
    """Place in the hits of a search of one or several places, each with its own order.

    `first` counts, for each place, the hits that have been shown without a gap; `ahead` has those
    that were shown behind these, counted from there. `scales` are the means and deviations that
    the first page was ranked by, and `route` the namespaces that it was planned to go to.
    """

    first: Annotated[list[_Offset], Field(max_length=_PLACES_MAX)]
    ahead: Annotated[list[list[_Offset]], Field(max_length=_PLACES_MAX)]
    scales: Annotated[dict[str, Annotated[list[_Finite], Field(min_length=2, max_length=2)]], _Few]
    route: Annotated[list[NamespaceName], Field(max_length=_NAMESPACES_MAX)]


class BeforeVersion(Model):
    """Place in a history, newest first."""

    before: _Number


class AfterEntries(Model):
    """Places in the logs of partitions, each oldest first."""

    partitions: Annotated[list[_Number], Field(max_length=65_536)]
    after: Annotated[list[_Number], Field(max_length=65_536)]

    @classmethod
    def of(cls, positions: Mapping[int, int]) -> AfterEntries:
        """Makes it of a position in each log."""
        return cls(partitions=list(positions), after=list(positions.values()))

    @property
    def positions(self) -> dict[int, int]:
        """A position in each log."""
        return dict(zip(self.partitions, self.after, strict=False))


def query_digest(*parts: object) -> str:
    """Identifies a query by everything that decides its order."""
    return blake2b(orjson.dumps(parts, default=str), digest_size=8).hexdigest()


def encode_cursor(query: str, place: Model) -> str:
    """Makes the cursor for the page of a query that goes on at `place`."""
    return _seal(orjson.dumps({"q": query, **place.model_dump()}))


def decode_cursor(cursor: str, query: str, kind: type[P]) -> P:
    """Reads a cursor back.

    Raises:
        InvalidCursorError: not a cursor, or of another query.
    """
    try:
        found = orjson.loads(_unseal(cursor))
        if isinstance(found, dict) and found.pop("q", query) != query:
            raise InvalidCursorError("the cursor belongs to another query")
        return kind.model_validate(found, strict=True)
    except (ValueError, ValidationError):
        raise InvalidCursorError("this is not a page cursor") from None


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
