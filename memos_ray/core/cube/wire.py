"""One wire format (CUBE-8): canonical JSON for single cubes, one versioned Arrow schema for bulk.

Both are loss-free: decoding what was encoded gives an equal cube. The JSON form is what the record
store keeps as the body of a version; the Arrow form is what travels and is exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import orjson
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import FIELDS, Kind, facets_of
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Descriptive, Governance
from memos_ray.core.cube.payload import Payload
from memos_ray.errors import StoreCorruptError, StoreVersionError

SCHEMA_VERSION = 1
_VERSION_KEY = b"memos_schema_version"
_COLUMNS = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.FLAG: pa.bool_(),
    Kind.SET: pa.list_(pa.string()),
}

SCHEMA = pa.schema(
    [
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("provenance_id", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        *(pa.field(name, _COLUMNS[kind]) for name, kind in FIELDS.items()),
        pa.field("text", pa.string()),
        pa.field("body", pa.binary(), nullable=False),
    ],
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)
"""The columns repeat what readers filter on; `body` alone rebuilds the cube."""


@cache
def _adapter() -> TypeAdapter[MemCube]:
    return TypeAdapter(MemCube)


def to_json(cube: MemCube) -> bytes:
    """Encodes one cube as canonical JSON: sorted keys, UTF-8, times in RFC 3339."""
    return orjson.dumps(cube, option=orjson.OPT_SORT_KEYS)


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


def to_table(cubes: Sequence[MemCube]) -> pa.Table:
    """Encodes cubes as one Arrow table of `SCHEMA`."""
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for cube in cubes:
        flat = facets_of(cube)
        for name, kind in FIELDS.items():
            value = flat.get(name)
            columns[name].append(list(value) if isinstance(value, tuple) else value)
            if kind is Kind.SET and value is None:
                columns[name][-1] = []
        columns["tenant"].append(cube.tenant)
        columns["provenance_id"].append(cube.provenance_id)
        columns["version"].append(cube.version.number)
        columns["text"].append(cube.text or None)
        columns["body"].append(to_json(cube))
    arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def from_table(table: pa.Table) -> Iterable[MemCube]:
    """Decodes `to_table`, cube by cube.

    Raises:
        StoreVersionError: when the table was written by another version of the schema.
        StoreCorruptError: when a body is no cube.
    """
    found = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if found != str(SCHEMA_VERSION):
        raise StoreVersionError(
            "the table has another schema version", found=found, expected=str(SCHEMA_VERSION)
        )
    for body in table.column("body"):
        yield from_json(body.as_py())


__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "check_digest",
    "content_digest",
    "from_json",
    "from_table",
    "to_json",
    "to_table",
]
