"""The truth: memories with all their versions, and the logs of partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.sweeping import Sieve
from memos_ray.core.vault.log import (
    Commit,
    CubeKey,
    Event,
    Fence,
    Reply,
    Resting,
    UsageDelta,
)
from memos_ray.core.vault.remnants import Remnant
from memos_ray.ports.derivations import DerivationsPort

Damaged = Callable[[CubeKey], None]
"""Hears of a memory that is there and cannot be read."""


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """The embedded views of one version: an encoded `VectorSet` of one embedding space."""

    key: CubeKey
    version: int
    space: str
    body: bytes
    sketch: str


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Filters a log (API-3); absent fields do not restrict.

    Attributes:
        cube_id: entries about this memory; of the access log also those that name it among others.
        form: entries about one memory that is in this form now; the control log has none.
        through: entries up to this LSN or row number, to bound what is looked at.
    """

    tenant: str | None = None
    namespace: str | None = None
    principal: str | None = None
    operation: str | None = None
    cube_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: str | None = None
    form: str | None = None
    through: int | None = None


@dataclass(frozen=True, slots=True)
class LogRequest:
    """A page of one of a partition's logs.

    Attributes:
        reads: whether it is the access log: reads and answers instead of changes and decisions.
        after: LSN or row number of the last entry of the page before.
    """

    context: CallContext
    query: EventQuery
    reads: bool
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class LogPiece:
    """What was found.

    Attributes:
        entries: oldest first; there may be none though the log goes on.
        after: where to go on; nothing at the end of the log.
    """

    entries: tuple[Event, ...]
    after: int | None


@crossing
@dataclass(frozen=True, slots=True)
class NamespaceSize:
    """How much a namespace holds in one partition; soft-deleted cubes are not counted."""

    tenant: str
    namespace: str
    cubes: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Sifted:
    """A page of heads by tenant and id, without those that a sieve holds back.

    Attributes:
        seen: how many heads were looked at, up to `last`; nothing when there were none.
        cubes: those that passed, as stored: archived content is absent.
        damaged: how many more have passed, which cannot be read.
        bodies: of `cubes`, as they rest.
    """

    seen: int
    last: CubeKey | None
    cubes: list[MemCube]
    damaged: int = 0
    bodies: list[bytes] = field(default_factory=list)


class ContentsPort(Protocol):
    """Where the content of archived versions is, as record stores see it."""

    def fill(self, cube: MemCube) -> MemCube:
        """Returns a version with its content; without it when that cannot be had now."""
        ...

    def fill_body(self, body: bytes) -> bytes:
        """Does the same to a version as it rests."""
        ...


class RecordStorePort(DerivationsPort, Protocol):
    """The truth: cubes, versions, the log, vectors, usage, idempotency, fences.

    All methods address one partition. Reads see every commit that has returned.
    """

    def fence(self, partition: int) -> Fence:
        """Returns the current fence; epoch 0 and no owner for a partition never taken."""
        ...

    def take(self, partition: int, owner: str, epoch: int) -> None:
        """Makes `owner` the writer from now on.

        Raises:
            FencedError: when the partition's epoch is not lower than `epoch`.
        """
        ...

    def last_lsn(self, partition: int) -> int:
        """Returns the LSN of the newest event, 0 for an empty log."""
        ...

    def commit(self, commit: Commit) -> None:
        """Applies a commit durably: when this returns, it survives a power cut.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
            AlreadyExistsError: a version, event or reply is there already; nothing was written.
            StoreFullError: no space; nothing was written.
        """
        ...

    def heads(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, MemCube]:
        """Returns the newest version of each cube that exists, soft-deleted ones included."""
        ...

    def resting(self, partition: int, keys: Sequence[CubeKey]) -> list[Resting]:
        """Returns the heads of those cubes that exist, as they rest, with archived content."""
        ...

    def remnants(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, Remnant]:
        """Returns what is known of those cubes that exist, without their newest versions.

        Raises:
            StoreCorruptError: what is kept beside the version of one cannot be read either.
        """
        ...

    def replies(
        self, partition: int, tenant: str, scope: str, keys: Sequence[str]
    ) -> dict[str, Reply]:
        """Returns the stored replies of one caller by idempotency key."""
        ...

    def versions(self, partition: int, key: CubeKey, before: int, limit: int) -> list[VersionInfo]:
        """Returns version records below number `before`, newest first."""
        ...

    def version(self, partition: int, key: CubeKey, number: int) -> MemCube | None:
        """Returns one version of a cube, as it was."""
        ...

    def scan(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        predicate: Predicate,
        after: tuple[int, str] | None,
        limit: int,
        damaged: Damaged | None = None,
    ) -> list[MemCube]:
        """Lists heads that satisfy a predicate, newest first by (`created_at`, `id`).

        Args:
            after: (`created_at` in microseconds, id) of the last cube of the page before.
            damaged: told of what cannot be read, which is left out; without it that is an error.
        """
        ...

    def sift(
        self, partition: int, after: CubeKey | None, limit: int, most: int, sieve: Sieve
    ) -> Sifted:
        """Looks at heads of all tenants by tenant and id, soft-deleted ones included.

        Args:
            after: the last one that was looked at before.
            limit: most to look at.
            most: the last that is looked at, when so many have passed.
        """
        ...

    def histories(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, list[MemCube]]:
        """Returns every version of each cube, oldest first, as stored: archived content is absent.

        All other reads put it in its place.
        """
        ...

    def bodies(
        self, partition: int, keys: Sequence[CubeKey], state: State | None = None
    ) -> list[StoredVersion]:
        """Returns every version of each cube, oldest first, as it rests and undecoded.

        Args:
            state: only of cubes that are in this state now.
        """
        ...

    def stow(self, partition: int, epoch: int, versions: Sequence[StoredVersion]) -> None:
        """Replaces stored versions by equal ones whose content is elsewhere.

        Versions that are not there, or have another digest, are skipped.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def as_of(
        self, partition: int, tenant: str, namespace: str, at: datetime, space: str
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """Yields, for each cube, the version that was newest at a moment; soft-deleted left out.

        The vectors are the newest up to that version, of one embedding space.
        """
        ...

    def load(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        space: str,
        damaged: Damaged | None = None,
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """Yields the heads of a namespace with their newest vectors, to build a resident index.

        For `damaged` see `scan`.
        """
        ...

    def vectors(
        self, partition: int, keys: Sequence[CubeKey], space: str
    ) -> dict[CubeKey, StoredVectors]:
        """Returns the vectors of the newest version that has any, by cube."""
        ...

    def save_vectors(self, partition: int, epoch: int, rows: Sequence[StoredVectors]) -> None:
        """Stores vectors and sketches; replaces those of the same version and space.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def derived(
        self, partition: int, tenant: str, cube_id: str, after: str, limit: int
    ) -> list[str]:
        """Returns ids of cubes whose newest versions name another one as what they are made of.

        By id, above `after`; soft-deleted cubes included. See `core.vault.storable.made_of`.
        """
        ...

    def cursor(self, partition: int, name: str) -> int:
        """Returns how far a named consumer has read the log, 0 at first."""
        ...

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """Moves a consumer's cursor.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def events(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """Returns log entries with an LSN above `after`, in log order."""
        ...

    def log_position(self, partition: int, at: datetime, *, reads: bool) -> int:
        """Returns the LSN before the first entry at or after a moment; the last when there is none.

        Args:
            reads: whether the access log is asked instead.
        """
        ...

    def add_usage(self, partition: int, epoch: int, deltas: Sequence[UsageDelta]) -> None:
        """Adds accesses to the usage indicators; unknown cubes are skipped.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def add_accesses(self, partition: int, accesses: Sequence[Event]) -> None:
        """Appends read and decision events to the access log (outside the LSN sequence)."""
        ...

    def accesses(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """Returns access-log entries above row number `after`; `lsn` carries the row number."""
        ...

    def namespaces(self, partition: int) -> list[NamespaceSize]:
        """Returns the namespaces that have cubes here, with their sizes."""
        ...

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """Returns the size of one namespace; zero for one that has nothing here."""
        ...

    def forget_replies(self, partition: int, epoch: int, before: datetime) -> int:
        """Drops stored replies from before a moment and returns how many.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def check(self) -> list[str]:
        """Verifies the files' integrity; returns a sentence per finding, none when sound."""
        ...

    def close(self) -> None:
        """Releases connections; the store is unusable afterwards."""
        ...
