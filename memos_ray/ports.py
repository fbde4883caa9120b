"""Every internal protocol on one page: what the core and the actors need from the outside.

Store methods are synchronous and blocking; actors call them from worker threads. They raise the
named errors of `memos_ray.errors` and let nothing of their library through. One contract suite per
port in `tests/contract` runs on every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.snapshot import SignedLease, SignedSnapshot
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.log import (
    Commit,
    ControlChange,
    ControlRecord,
    CubeKey,
    Event,
    Fence,
    Reply,
    UsageDelta,
)
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest, ShardStatus
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import MemosError

Vectors = npt.NDArray[np.float32]


class ClockPort(Protocol):
    """Time, injected so that tests decide it."""

    def now(self) -> datetime:
        """Returns the wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Returns seconds on a clock that never goes back."""
        ...


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
    """Filters the log (API-3); absent fields do not restrict."""

    tenant: str | None = None
    namespace: str | None = None
    principal: str | None = None
    operation: str | None = None
    cube_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NamespaceSize:
    """How much a namespace holds in one partition; soft-deleted cubes are not counted."""

    tenant: str
    namespace: str
    cubes: int
    text_bytes: int


class RecordStorePort(Protocol):
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
    ) -> list[MemCube]:
        """Lists heads that satisfy a predicate, newest first by (`created_at`, `id`).

        Args:
            after: (`created_at` in microseconds, id) of the last cube of the page before.
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
        self, partition: int, tenant: str, namespace: str, space: str
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """Yields the heads of a namespace with their newest vectors, to build a resident index."""
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


class ControlStorePort(Protocol):
    """Durable documents of the control plane with compare-and-set, and their audit events."""

    def load(self, tenant: str) -> list[ControlRecord]:
        """Returns all documents of a tenant; the empty tenant holds the cluster's own."""
        ...

    def get(self, tenant: str, kind: str, key: str) -> ControlRecord | None:
        """Returns one document."""
        ...

    def tenants(self) -> list[str]:
        """Returns the tenants that have documents."""
        ...

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """Applies all changes with their audit events in one transaction.

        Raises:
            VersionConflictError: a document is not at its expected revision; nothing was written.
        """
        ...

    def events(self, after: int, limit: int, query: EventQuery | None = None) -> list[Event]:
        """Returns control events with an LSN above `after`, in order; LSNs are assigned here."""
        ...

    def close(self) -> None:
        """Releases connections."""
        ...


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """What the vector store holds of one cube: its own-text embedding and its facets."""

    partition: int
    key: CubeKey
    namespace: str
    version: int
    facets: Facets
    vector: Vectors


class VectorStorePort(Protocol):
    """Embeddings at rest, derived and rebuildable; one collection per embedding space."""

    @property
    def home(self) -> str:
        """Names this copy: whoever feeds several copies remembers for each how far it has come."""
        ...

    def prepare(self, space: EmbeddingSpace) -> None:
        """Creates the collection and its indexes when absent.

        Raises:
            DimensionMismatchError: when a collection of that name has another dimension.
            VectorStoreError: when the store is away.
        """
        ...

    def needs_rebuild(self, space: EmbeddingSpace, partition: int) -> bool:
        """Tells whether a partition may lack records that were acknowledged.

        Raises:
            VectorStoreError: when the store is away.
        """
        ...

    def upsert(self, space: EmbeddingSpace, records: Sequence[VectorRecord]) -> None:
        """Inserts or replaces records; visible to the next search."""
        ...

    def delete(self, space: EmbeddingSpace, partition: int, keys: Sequence[CubeKey]) -> None:
        """Removes records, those of other embedding spaces too; absent ones are fine."""
        ...

    def search(
        self,
        space: EmbeddingSpace,
        partition: int,
        tenant: str,
        namespace: str,
        predicate: Predicate,
        vector: Vectors,
        limit: int,
    ) -> list[tuple[str, float]]:
        """Returns (cube id, cosine) of the nearest records that satisfy the predicate.

        Raises:
            VectorStoreError: when the store is away, or has lost this partition.
        """
        ...

    def count(self, space: EmbeddingSpace, partition: int) -> int:
        """Returns the number of records of a partition."""
        ...

    def drop(self, space: EmbeddingSpace, partition: int) -> None:
        """Removes every record of a partition, before a rebuild."""
        ...

    def close(self) -> None:
        """Flushes and releases the store."""
        ...


class BlobStorePort(Protocol):
    """Content-addressed bytes: KV blocks, adapters, archives, snapshots, attachments."""

    def put(self, data: bytes) -> str:
        """Stores bytes durably and returns their blake2b-256 hex digest; idempotent.

        Raises:
            StoreFullError: when there is no space; nothing was stored.
            UnavailableError: when the store is away.
        """
        ...

    def put_stream(self, chunks: Iterable[bytes]) -> str:
        """Stores the concatenation of chunks in constant memory; else as `put`."""
        ...

    def get(self, digest: str) -> bytes:
        """Returns the bytes.

        Raises:
            InvalidInputError: when this is not a digest.
            NotFoundError: when there is no such blob.
            StoreCorruptError: when the stored bytes have another digest.
            UnavailableError: when the store is away.
        """
        ...

    def get_stream(self, digest: str) -> Iterator[bytes]:
        """Yields the bytes in constant memory; raises as `get`, corruption behind the last."""
        ...

    def size_bytes(self, digest: str) -> int | None:
        """Returns the length of a blob, or nothing when it is absent."""
        ...

    def delete(self, digest: str) -> None:
        """Removes a blob; an absent one is fine."""
        ...

    def digests(self) -> Iterator[str]:
        """Yields the digests of all blobs."""
        ...


class EmbedderPort(Protocol):
    """Turns texts into vectors of one embedding space."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space that the vectors belong to."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts: float32 `[len(texts), space.dim]`, L2-normalised, in order.

        Raises:
            EmbedderError: when the model is away or fails.
        """
        ...

    def legible(self, text: str) -> float:
        """How much of a text the model can read: 1 in a language it was made for, 0 for noise.

        Cheap and local. A model of which this is not known reads everything.
        """
        ...


class ShardPort(Protocol):
    """A vault shard, as gateways and the supervisor see it; every call is one remote hop.

    All methods raise `NotOwnerError` for a partition that the shard does not hold,
    `PolicyUnavailableError` without a fresh policy, and `UnavailableError` when it is away.
    """

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes; one outcome each, in order."""
        ...

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read; absent for the others."""
        ...

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns one page of a namespace, newest first."""
        ...

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns a memory's version records below a number, newest first."""
        ...

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version of a memory."""
        ...

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches a namespace's share in one partition."""
        ...

    async def events(
        self, partition: int, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns log entries of the caller's tenant."""
        ...

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over, each under an epoch above its last one; those held stay."""
        ...

    async def disown(self, partitions: Sequence[int]) -> None:
        """Finishes the writes that wait and gives partitions up."""
        ...

    async def status(self) -> ShardStatus:
        """Reports on itself."""
        ...


class GovernancePort(Protocol):
    """The policy authority, as readers of policy see it."""

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        """Returns the newest policy of a tenant under a fresh lease.

        Raises:
            PolicyUnavailableError: the authority is away, or there is no such tenant.
        """
        ...

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        """Returns as soon as there is a version above `version`, or else a renewed lease on it."""
        ...

    async def change(self, context: CallContext, operation: AdminOperation) -> Changed:
        """Carries out an administrator's request, durably and on record."""
        ...

    async def documents(self, context: CallContext, namespace: str) -> TenantDocuments:
        """Lists a tenant's policy documents, or one namespace's, to who administers them."""
        ...

    async def events(
        self, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns control events of the caller's tenant to its administrators, oldest first."""
        ...


class ProcessProbePort(Protocol):
    """What a process knows of itself."""

    def rss_bytes(self) -> int:
        """Returns the resident set size."""
        ...


class RingPort(Protocol):
    """Where the ring comes from."""

    async def ring(self) -> Ring:
        """Returns the newest ring."""
        ...


class SupervisorPort(RingPort, Protocol):
    """The supervisor, as gateways see it."""

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what each shard last said of itself; nothing for one that does not answer."""
        ...


class CrewPort(Protocol):
    """The actors that the supervisor starts and looks after, by name."""

    async def start_governance(self) -> None:
        """Starts the policy authority unless it runs, and waits until it answers.

        Raises:
            UnavailableError: when it does not come up.
        """
        ...

    async def start_shard(self, name: str) -> None:
        """Starts a shard unless it runs; does not wait."""
        ...

    async def stop_shard(self, name: str) -> None:
        """Ends a shard that owns nothing any more."""
        ...

    def shard(self, name: str) -> ShardPort:
        """Returns the shard of this name, running or not."""
        ...
