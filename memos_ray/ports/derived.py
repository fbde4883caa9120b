"""What can be rebuilt from the truth, and content-addressed bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports.arrays import Vectors


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
