"""One wire format (CUBE-8): canonical JSON for single cubes, an Arrow schema for bulk (`arrow.py`).

Both are loss-free: decoding what was encoded gives an equal cube. The JSON form is what the record
store keeps as the body of a version.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Descriptive, Governance, Usage
from memos_ray.core.cube.payload import Payload
from memos_ray.errors import StoreCorruptError


@cache
def _adapter() -> TypeAdapter[MemCube]:
    return TypeAdapter(MemCube)


def to_json(cube: MemCube) -> bytes:
    """Encodes one cube as canonical JSON: sorted keys, UTF-8, times in RFC 3339."""
    return _canonical(cube)


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


_PAYLOAD, BEHIND = b',"payload":', b',"descriptive":{'


def payload_at(body: bytes) -> tuple[int, int]:
    """Returns where the payload begins and ends in what `to_json` wrote.

    Quotes inside of strings are escaped, so that the names of fields are found by looking for them.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    start = body.find(_PAYLOAD) + len(_PAYLOAD)
    end = body.find(BEHIND, start)
    if not len(_PAYLOAD) <= start <= end:
        raise StoreCorruptError("stored bytes are no cube")
    return start, end


def filled(body: bytes, payload: bytes) -> bytes:
    """Returns what `to_json` wrote with another payload.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    start, end = payload_at(body)
    return b"".join((body[:start], payload, body[end:]))


_RULES, _VERSION = b',"governance":{', b',"version":{'
_FINGERPRINT, _STATE = b',"fingerprint":{', b',"state":"'
_UPDATED, _CREATED = b',"updated_at":"', b',"created_at":"'
_DIGEST = b',"digest":"'
_UNUSED = orjson.dumps(Usage())


class Parts(NamedTuple):
    """What `to_json` wrote, in pieces. A tuple: thousands are made at once.

    Attributes:
        start: up to the payload.
        payload: JSON of its own; so are `about`, the descriptive part, `rules`, the governance,
            `version` and `fingerprint`.
    """

    start: bytes
    payload: bytes
    about: bytes
    rules: bytes
    version: bytes
    fingerprint: bytes

    @property
    def made_at(self) -> datetime:
        """When the version was made."""
        made = self.version.partition(_CREATED)[2].partition(b'"')[0]
        return datetime.fromisoformat(made.decode())


def cut(body: bytes) -> Parts:
    """Cuts what `to_json` wrote; as `payload_at`, by the names of fields that hold objects.

    Attributes are the caller's, but no objects, so that no name of theirs is mistaken.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    start, mark, behind = body.partition(_PAYLOAD)
    payload, _, behind = behind.partition(BEHIND)
    about, _, behind = behind.partition(_RULES)
    rules, _, behind = behind.partition(_VERSION)
    version, _, behind = behind.partition(_FINGERPRINT)
    fingerprint, end, _ = behind.partition(_STATE)
    if not end:
        raise StoreCorruptError("stored bytes are no cube")
    return Parts(
        *(start + mark, payload, b"{" + about, b"{" + rules),
        *(b"{" + version, b"{" + fingerprint),
    )


def fixed(body: bytes, behind: int) -> tuple[bytes, bytes, bytes]:
    """Returns what a version fixes beside its payload, which ends at `behind`, and its digest.

    Raises:
        StoreCorruptError: when the bytes are no cube.
    """
    rules = body.find(_RULES, behind)
    version = body.find(_VERSION, rules)
    digest = body.find(_DIGEST, version) + len(_DIGEST)
    if not behind <= rules <= version < digest - len(_DIGEST):
        raise StoreCorruptError("stored bytes are no cube")
    return (
        body[behind + len(BEHIND) - 1 : rules],
        body[rules + len(_RULES) - 1 : version],
        body[digest : body.find(b'"', digest)],
    )


_HOLDS = {b'"legal_hold":%b},"version":{' % word: word == b"true" for word in (b"true", b"false")}


def hold_in(body: bytes) -> bool | None:
    """Tells whether a version is under legal hold, though its bytes may be damaged elsewhere.

    What callers say can hold no such bytes: quotes inside of strings are escaped, and behind their
    attributes comes the governance.

    Returns:
        Nothing when they do not tell.
    """
    return next((held for mark, held in _HOLDS.items() if mark in body), None)


def join(parts: Parts, state: State, *, frozen: bool) -> bytes:
    """Returns what `to_json` would write of the pieces as a version that nobody has used yet."""
    start, payload, about, rules, version, fingerprint = parts
    return b"".join(
        (
            *(start, payload, b',"descriptive":', about, b',"governance":', rules),
            *(b',"version":', version, b',"fingerprint":', fingerprint),
            *(b',"state":"', state.encode(), b'","frozen":', b"true" if frozen else b"false"),
            *(b',"usage":', _UNUSED, b"}"),
        )
    )


def updated(about: bytes, moment: bytes) -> bytes:
    """Returns a descriptive part as of another update: `moment` is its JSON."""
    before, mark, after = about.partition(_UPDATED)
    return before + mark[:-1] + moment + after.partition(b'"')[2]


def digest_of(payload: bytes, about: bytes, rules: bytes) -> str:
    """See `content_digest`: that of the parts' JSON."""
    return digest(b"memos-content-1", payload, about, rules)


class Content(NamedTuple):
    """What a version fixes, each part as `to_json` writes it."""

    payload: bytes
    about: bytes
    rules: bytes

    @classmethod
    def of(cls, payload: Payload, about: Descriptive, rules: Governance) -> Content:
        """Encodes the parts."""
        return cls(_canonical(payload), _canonical(about), _canonical(rules))

    @property
    def digest(self) -> str:
        """See `content_digest`."""
        return digest_of(*self)

    def within(self, cube: MemCube) -> bytes:
        """Returns `to_json` of the cube that it is the content of, which nobody has used yet."""
        names = (orjson.dumps(one) for one in (cube.id, cube.provenance_id, cube.tenant))
        start = b'{"id":%b,"provenance_id":%b,"tenant":%b,"namespace":%b,"payload":' % (
            *names,
            orjson.dumps(cube.namespace),
        )
        parts = Parts(start, *self, _canonical(cube.version), _canonical(cube.fingerprint))
        return join(parts, cube.state, frozen=cube.frozen)


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
    return Content.of(payload, about, rules).digest


def intact(cube: MemCube) -> bool:
    """Tells whether the content of a cube is what its version fixed."""
    found = content_digest(cube.payload, cube.descriptive, cube.governance)
    return found == cube.version.digest


def check_digest(cube: MemCube) -> None:
    """Verifies a cube against the digest in its version.

    Raises:
        StoreCorruptError: when the content is not what the version fixed.
    """
    if not intact(cube):
        raise StoreCorruptError("content differs from its digest", cube_id=cube.id)
