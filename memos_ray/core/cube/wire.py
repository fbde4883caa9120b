"""One wire format (CUBE-8): canonical JSON for single cubes, an Arrow schema for bulk (`arrow.py`).

Both are loss-free: decoding what was encoded gives an equal cube. The JSON form is what the record
store keeps as the body of a version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import orjson
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.fingerprint import Fingerprint
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Descriptive, Governance, Usage
from memos_ray.core.cube.payload import Payload
from memos_ray.errors import StoreCorruptError


@cache
def _adapter() -> TypeAdapter[MemCube]:
    return TypeAdapter(MemCube)


def to_json(cube: MemCube) -> bytes:
    """Encodes one cube as canonical JSON: sorted keys, UTF-8, times in RFC 3339."""
    return orjson.dumps(cube, option=orjson.OPT_SORT_KEYS)


_PAYLOAD, _BEHIND = b',"payload":', b',"descriptive":{'


def split(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Cuts what `to_json` wrote into what comes before the payload, the payload, and the rest.

    Quotes inside of strings are escaped, so that the names of fields are found by looking for them.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    before, mark, after = body.partition(_PAYLOAD)
    payload, behind, rest = after.partition(_BEHIND)
    if not (mark and behind):
        raise StoreCorruptError("stored bytes are no cube")
    return before + mark, payload, behind + rest


_RULES, _VERSION = b',"governance":{', b',"version":{'
_UPDATED = b',"updated_at":"'
_UNUSED = b',"usage":' + orjson.dumps(Usage()) + b"}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What `to_json` wrote, in pieces.

    Attributes:
        start: up to the payload.
        payload: JSON of its own; so are `about`, the descriptive part, and `rules`, the governance.
        behind: version, fingerprint, state, frozen and usage, as one JSON object.
    """

    start: bytes
    payload: bytes
    about: bytes
    rules: bytes
    behind: bytes

    @property
    def digest(self) -> str:
        """See `content_digest`."""
        return _digest_of(self.payload, self.about, self.rules)

    def updated(self, moment: bytes) -> Parts:
        """Returns the pieces as of another update: `moment` is its JSON."""
        before, mark, after = self.about.partition(_UPDATED)
        about = before + mark[:-1] + moment + after.partition(b'"')[2]
        return Parts(self.start, self.payload, about, self.rules, self.behind)

    def join(
        self, version: VersionInfo, fingerprint: Fingerprint, state: State, *, frozen: bool
    ) -> bytes:
        """Returns what `to_json` would write of the pieces as another version, not used yet."""
        fields = (version, fingerprint, state, frozen)
        written = orjson.dumps(dict(zip(_FIELDS, fields, strict=True)))
        about, rules = b',"descriptive":' + self.about, b',"governance":' + self.rules
        return b"".join((self.start, self.payload, about, rules, b",", written[1:-1], _UNUSED))


_FIELDS = ("version", "fingerprint", "state", "frozen")


def cut(body: bytes) -> Parts:
    """Cuts what `to_json` wrote; as `split`, by the names of fields that hold objects.

    Attributes are the caller's, but no objects, so that no name of theirs is mistaken.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    start, payload, behind = split(body)
    about, rules_mark, behind = behind[len(_BEHIND) - 1 :].partition(_RULES)
    rules, version_mark, behind = behind.partition(_VERSION)
    if not (rules_mark and version_mark):
        raise StoreCorruptError("stored bytes are no cube")
    return Parts(start, payload, about, b"{" + rules, b"{" + _VERSION[1:] + behind)


def from_json(body: bytes) -> MemCube:
    """Decodes `to_json`.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    try:
        return _adapter().validate_json(body)
    except ValidationError as error:
        raise StoreCorruptError("stored bytes are no cube", errors=error.error_count()) from None


def content_digest(payload: Payload, about: Descriptive, rules: Governance) -> str:
    """Digest of what a version fixes: equal content gives an equal digest on every machine."""
    parts = (payload, about, rules)
    return _digest_of(*(orjson.dumps(part, option=orjson.OPT_SORT_KEYS) for part in parts))


def _digest_of(*parts: bytes) -> str:
    return digest(b"memos-content-1", *parts)


def check_digest(cube: MemCube) -> None:
    """Verifies a cube against the digest in its version.

    Raises:
        StoreCorruptError: when the content is not what the version fixed.
    """
    found = content_digest(cube.payload, cube.descriptive, cube.governance)
    if found != cube.version.digest:
        raise StoreCorruptError("content differs from its digest", cube_id=cube.id)
