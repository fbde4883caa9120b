"""Files of archived content (VAULT-4): Parquet, in the schema of `core.cube.arrow`.

A file holds whole versions of memories of one tenant and namespace. A version whose content is in a
file keeps everything but its payload, in whose place an `ArchivedRef` names the file and the row.
Arrow is loaded by who makes or reads a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.errors import StoreCorruptError

KIND = "archive"
"""The kind of derivation that an archive file is recorded as."""

ROWS_MAX = 4096
BYTES_MAX = 8 << 20
"""A file ends at so many versions, or so many bytes of text: reading one memory reads its file."""

_MARK_BYTES = 8


def encode(cubes: Sequence[MemCube]) -> bytes:
    """Makes a file; equal versions in equal order give equal bytes."""
    import pyarrow.parquet as pq

    from memos_ray.core.cube.arrow import to_table

    sink = io.BytesIO()
    pq.write_table(to_table(cubes), sink, compression="zstd")
    return sink.getvalue()


def bodies(file: bytes) -> list[bytes]:
    """Returns the encoded versions of a file, in order.

    Raises:
        StoreCorruptError: when the bytes are no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(file), columns=["body"])
    except (pa.ArrowException, OSError, KeyError):
        raise StoreCorruptError("an archive file cannot be read") from None
    found: list[bytes] = table.column("body").to_pylist()
    return found


def stub(cube: MemCube, digest: str, row: int) -> MemCube:
    """Returns a version without its content, which is in a file."""
    return replace(cube, payload=ArchivedRef(digest, row, cube.payload.form))


def filled(cube: MemCube, body: bytes) -> MemCube:
    """Puts the content of a version back.

    Raises:
        StoreCorruptError: the body is of another version.
    """
    held = decode(body)
    if (held.id, held.version.digest) != (cube.id, cube.version.digest):
        raise StoreCorruptError("an archive file holds another version", cube_id=cube.id)
    return replace(cube, payload=held.payload)


def movable(cube: MemCube) -> bool:
    """Tells whether a version has content to move: texts have, references are small."""
    return isinstance(cube.payload, Plaintext)


def in_files(cubes: Iterable[MemCube]) -> Iterator[list[MemCube]]:
    """Divides versions into files of one tenant and namespace each, within the bounds."""
    files: dict[tuple[str, str], list[MemCube]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for cube in cubes:
        place = cube.tenant, cube.namespace
        held = files.setdefault(place, [])
        size = sizes.get(place, 0) + len(cube.text)
        if held and (len(held) >= ROWS_MAX or size > BYTES_MAX):
            yield files.pop(place)
            held, size = files.setdefault(place, []), len(cube.text)
        held.append(cube)
        sizes[place] = size
    yield from files.values()


@dataclass(frozen=True, slots=True)
class Contents:
    """What is recorded of a file: whose versions are in it, by a mark of each id.

    Attributes:
        pending: whether the versions may not refer to it yet, or no longer.
    """

    pending: bool
    marks: frozenset[bytes]

    @classmethod
    def of(cls, cubes: Iterable[MemCube], *, pending: bool) -> Contents:
        """Describes a file."""
        return cls(pending, frozenset(_mark(cube.id) for cube in cubes))

    def may_hold(self, ids: Iterable[str]) -> bool:
        """Tells whether a version of one of the memories may be in the file."""
        return any(_mark(cube_id) in self.marks for cube_id in ids)

    def to_bytes(self) -> bytes:
        """Encodes: one byte, then the marks in order."""
        return (b"p" if self.pending else b"d") + b"".join(sorted(self.marks))

    @classmethod
    def from_bytes(cls, body: bytes) -> Contents:
        """Decodes `to_bytes`."""
        starts = range(1, len(body), _MARK_BYTES)
        return cls(body[:1] == b"p", frozenset(body[at : at + _MARK_BYTES] for at in starts))


def _mark(cube_id: str) -> bytes:
    return blake2b(cube_id.encode(), digest_size=_MARK_BYTES).digest()
