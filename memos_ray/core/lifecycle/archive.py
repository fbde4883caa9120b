"""Files of archived content (VAULT-4): Parquet, one row a content.

A file holds whole versions of memories of one tenant and namespace. A version whose content is in a
file keeps everything but its payload, in whose place an `ArchivedRef` names the file and the row.
Versions of a memory that follow one another and say the same share a row, which is the newest of
them. Versions come and go as the bytes that a store holds, and are no more than parsed here: files
hold thousands. Arrow is loaded by who makes or reads a file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.decoding import decode, payload_of
from memos_ray.errors import StoreCorruptError

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "archive"
"""The kind of derivation that an archive file is recorded as."""

ROWS_MAX = 4096
BYTES_MAX = 8 << 20
"""A file ends at so many versions, or so many bytes of them: reading one memory reads its file."""

_MARK_BYTES = 8
_TEXT = b',"payload":{"text":'
_REFERENCE = b',"payload":{"blob":'
_COLUMNS = ("tenant", "namespace", "id", "version", "digest", "body")


class StoredVersion(NamedTuple):
    """A version as it rests: `body` is `wire.to_json` of the memory.

    A tuple: thousands are read and rewritten at once.
    """

    tenant: str
    namespace: str
    id: str
    number: int
    digest: str
    body: bytes

    @property
    def movable(self) -> bool:
        """Whether it has content to move: texts have, references are small."""
        return _TEXT in self.body

    def row_in(self, blob: str) -> int | None:
        """Returns where in a file its content is; nothing when that is elsewhere.

        Raises:
            StoreCorruptError: when the body is no cube.
        """
        try:
            start, end = wire.payload_at(self.body)
            payload = orjson.loads(self.body[start:end])
            row: int | None = payload["row"] if payload.get("blob") == blob else None
        except (AttributeError, KeyError, ValueError):
            # `from None`: the parser's message would quote the memory.
            raise StoreCorruptError("stored bytes are no cube", cube_id=self.id) from None
        return row

    def among(self, held: Iterable[bytes]) -> int | None:
        """Returns where a file holds the version whole, if it does: its own body may be damaged.

        Raises:
            StoreCorruptError: the file's bodies are.
        """
        for row, body in enumerate(held):
            cube = decode(body)
            same = cube.id, cube.version.number, cube.version.digest
            if same == (self.id, self.number, self.digest):
                return row
        return None

    def filled(self, body: bytes) -> StoredVersion:
        """Puts the content back that a file holds.

        Raises:
            StoreCorruptError: the body is of another version.
        """
        return self.of(refilled(self.body, body))

    def of(self, body: bytes) -> StoredVersion:
        """Returns the version with another body."""
        return StoredVersion(*self[:-1], body)


class Layout(NamedTuple):
    """How a file holds versions.

    Attributes:
        rows: the versions that it holds whole.
        places: of each version the row that its payload is in, and from where to where its own
            body has it.
    """

    rows: Sequence[StoredVersion]
    places: Sequence[tuple[StoredVersion, int, int, int]]

    def stubs(self, blob: str) -> list[StoredVersion]:
        """Returns all versions without their content."""
        before, behind = b'{"blob":"%b","row":' % blob.encode(), b',"form":"plaintext"}'
        return [
            StoredVersion(
                *one[:-1],
                b"%b%b%d%b%b" % (one.body[:start], before, row, behind, one.body[end:]),
            )
            for one, row, start, end in self.places
        ]


def lay_out(versions: Iterable[StoredVersion]) -> Layout:
    """Gives versions, those of a memory in their order, rows of a file.

    Raises:
        StoreCorruptError: a body is no cube.
    """
    rows: list[StoredVersion] = []
    places: list[tuple[StoredVersion, int, int, int]] = []
    said, start, end = b"", 0, 0
    for one in versions:
        # It begins with the memory's id, and goes on to the end of the payload.
        if rows and one.body.startswith(said):
            rows[-1] = one
        else:
            start, end = wire.payload_at(one.body)
            said = one.body[: end + len(wire.BEHIND)]
            rows.append(one)
        places.append((one, len(rows) - 1, start, end))
    return Layout(rows, places)


def encode(versions: Sequence[StoredVersion]) -> bytes:
    """Makes a file; equal versions in equal order give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tenants, namespaces, ids, numbers, digests, held = zip(*versions, strict=True)
    columns = (
        _text_column(tenants),
        _text_column(namespaces),
        _text_column(ids),
        pa.Array.from_buffers(pa.int64(), len(versions), [None, pa.py_buffer(array("q", numbers))]),
        _text_column(digests),
        _column(pa.binary(), held),
    )
    sink = pa.BufferOutputStream()
    table = pa.table(dict(zip(_COLUMNS, columns, strict=True)))
    # Nobody looks for a body by its range, which statistics would keep a copy of.
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=["tenant", "namespace"],
        write_statistics=list(_COLUMNS[:-1]),
    )
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _text_column(texts: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    whole = "".join(texts)
    if whole.isascii():
        return _laid_out(pa.string(), map(len, texts), whole.encode())
    return _column(pa.string(), [text.encode() for text in texts])


def _column(kind: pa.DataType, values: Sequence[bytes]) -> pa.Array:
    return _laid_out(kind, map(len, values), b"".join(values))


def _laid_out(kind: pa.DataType, lengths: Iterable[int], whole: bytes) -> pa.Array:
    """Lays values out as Arrow does; `pa.array` of a list would load pandas to look for its own."""
    import pyarrow as pa

    ends = array("i", accumulate(lengths, initial=0))
    return pa.Array.from_buffers(kind, len(ends) - 1, [None, *map(pa.py_buffer, (ends, whole))])


def bodies(file: bytes) -> list[bytes]:
    """Returns the encoded versions that a file holds whole, in order.

    Raises:
        StoreCorruptError: when the bytes are no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # `read_table` would load pandas, and Arrow's data sets.
        table = pq.ParquetFile(pa.BufferReader(file)).read(columns=["body"])
        found: list[bytes] = table.column("body").to_pylist()
    except (pa.ArrowException, OSError, KeyError):
        raise StoreCorruptError("an archive file cannot be read") from None
    return found


def ids_in(held: Sequence[bytes]) -> list[str]:
    """Returns the ids of the memories of which a file holds versions.

    Raises:
        StoreCorruptError: when a body is no cube.
    """
    return list(dict.fromkeys(_parsed(body)["id"] for body in held))


def filled(cube: MemCube, body: bytes) -> MemCube:
    """Puts the content of a version back.

    Raises:
        StoreCorruptError: the body is of another version.
    """
    held = _parsed(body)
    try:
        whole = replace(cube, payload=payload_of(held["payload"]))
    except (KeyError, TypeError, ValueError):
        raise StoreCorruptError("stored bytes are no cube") from None
    info = cube.version
    if held["id"] != cube.id or (
        held["version"]["digest"] != info.digest and not wire.intact(whole)
    ):
        raise _another(cube.id)
    return whole


def reference_in(body: bytes) -> tuple[str, int] | None:
    """Returns in which file and row the content of a version is, when it is in one.

    Raises:
        StoreCorruptError: when the body is no cube.
    """
    if _REFERENCE not in body:
        return None
    start, end = wire.payload_at(body)
    flat = orjson.loads(body[start:end])
    return flat["blob"], flat["row"]


def refilled(body: bytes, held: bytes) -> bytes:
    """Puts the content of a version back into its body.

    Raises:
        StoreCorruptError: what the file holds is of another version.
    """
    start, end = wire.payload_at(body)
    their_start, their_end = wire.payload_at(held)
    before, payload = body[:start], held[their_start:their_end]
    about, rules, digest = wire.fixed(body, end)
    # Versions that share a row have a digest each.
    intact = digest == wire.digest_of(payload, about, rules).encode()
    same = intact or digest == wire.fixed(held, their_end)[2]
    if before != held[:their_start] or not same:
        raise _another(orjson.loads(before + b"0}")["id"])
    return b"".join((before, payload, body[end:]))


def in_files(versions: Iterable[StoredVersion]) -> Iterator[list[StoredVersion]]:
    """Divides versions into files of one tenant and namespace each, within the bounds."""
    files: dict[tuple[str, str], list[StoredVersion]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for one in versions:
        place, size = (one.tenant, one.namespace), len(one.body)
        held = files.get(place)
        if held is None or len(held) >= ROWS_MAX or sizes[place] + size > BYTES_MAX:
            if held:
                yield held
            held = files[place] = []
            sizes[place] = 0
        held.append(one)
        sizes[place] += size
    yield from files.values()


class Standing(StrEnum):
    """How a file stands.

    `PENDING`: it may not have been written, or versions may not refer to it yet. `DONE`: they do.
    `LEAVING`: none does any more, and it is about to go. `DAMAGED`: it cannot be read, and is set
    aside.
    """

    PENDING = "p"
    DONE = "d"
    LEAVING = "l"
    DAMAGED = "x"


@dataclass(frozen=True, slots=True)
class Contents:
    """What is recorded of a file: how it stands, and whose versions are in it, by marks of ids."""

    standing: Standing
    marks: frozenset[bytes]

    @classmethod
    def of(cls, ids: Iterable[str]) -> Contents:
        """Describes a file that is about to be written."""
        return cls(Standing.PENDING, frozenset(map(_mark, ids)))

    @property
    def pending(self) -> bool:
        """Whether its writing may have been cut off."""
        return self.standing is Standing.PENDING

    def may_hold(self, ids: Iterable[str]) -> bool:
        """Tells whether a version of one of the memories may be in the file."""
        return not self.marks.isdisjoint(map(_mark, ids))

    def without(self, ids: Iterable[str]) -> Contents:
        """Describes the file without some memories."""
        return replace(self, marks=self.marks.difference(map(_mark, ids)))

    def to_bytes(self) -> bytes:
        """Encodes: one byte, then the marks in order."""
        return self.standing.value.encode() + b"".join(sorted(self.marks))

    @classmethod
    def from_bytes(cls, body: bytes) -> Contents:
        """Decodes `to_bytes`."""
        starts = range(1, len(body), _MARK_BYTES)
        marks = frozenset(body[at : at + _MARK_BYTES] for at in starts)
        return cls(Standing(body[:1].decode()), marks)


def _mark(cube_id: str) -> bytes:
    return blake2b(cube_id.encode(), digest_size=_MARK_BYTES).digest()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        flat: dict[str, Any] = orjson.loads(body)
        flat["id"], flat["version"]["digest"], flat["payload"]["form"]
    except (ValueError, KeyError, TypeError):
        # `from None`: the parser's message would quote the memory.
        raise StoreCorruptError("stored bytes are no cube") from None
    return flat


def _another(cube_id: str) -> StoreCorruptError:
    return StoreCorruptError("an archive file holds another version", cube_id=cube_id)
