"""One wire format (CUBE-8): canonical JSON for single cubes, an Arrow schema for bulk (`arrow.py`).

Both are loss-free: decoding what was encoded gives an equal cube. The JSON form is what the record
store keeps as the body of a version.
"""

from __future__ import annotations

from functools import cache

import orjson
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Descriptive, Governance
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
    return digest(
        b"memos-content-1",
        *(orjson.dumps(part, option=orjson.OPT_SORT_KEYS) for part in (payload, about, rules)),
    )


def check_digest(cube: MemCube) -> None:
    """Verifies a cube against the digest in its version.

    Raises:
        StoreCorruptError: when the content is not what the version fixed.
    """
    found = content_digest(cube.payload, cube.descriptive, cube.governance)
    if found != cube.version.digest:
        raise StoreCorruptError("content differs from its digest", cube_id=cube.id)
