"""The bulk form of the wire format (CUBE-8): one versioned Arrow schema, for transport and export.

Apart from the JSON form in `wire.py`, so that processes that move no tables do not load Arrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import FIELDS, Kind, facets_of
from memos_ray.core.cube.wire import from_json, to_json
from memos_ray.errors import StoreVersionError

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
