"""The vector store on Milvus: Milvus Lite in a local folder, or a Milvus server.

Filters are exact: a predicate that an engine cannot decide is compiled to a wider expression, and
the hits are checked one by one. When such a check leaves too few hits, all candidates are read and
ranked here.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from memos_ray.adapters import milvus_rows as rows
from memos_ray.adapters.milvus_backend import MOST_HITS, Backend, Hit
from memos_ray.adapters.milvus_expr import Filter, compile_predicate
from memos_ray.adapters.milvus_lite import LiteBackend
from memos_ray.adapters.milvus_remote import RemoteBackend
from memos_ray.adapters.milvus_settings import MilvusSettings, StoreLoss
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import DimensionMismatchError, InvalidInputError, VectorStoreError
from memos_ray.ports import VectorRecord, Vectors

__all__ = ["MilvusSettings", "MilvusVectorStore", "StoreLoss", "open_vector_store"]

_WIDEN = 8
_LEAST_WIDE = 256
_PREFIX = f"memos_v{rows.LAYOUT}_"
_BATCH_BYTES = 8 << 20


def open_vector_store(uri: str, settings: MilvusSettings | None = None) -> MilvusVectorStore:
    """Opens a store.

    A server that is away is not an error: the store answers `VectorStoreError` until it is back.

    Args:
        uri: `http://…` or `https://…` of a server, or the path of a Milvus Lite folder, which is
            made when absent and owned by this process until the store is closed.

    Raises:
        DataFolderInUseError: when another process owns the folder.
        ConfigurationError: when the folder cannot be used.
    """
    chosen = settings or MilvusSettings()
    if uri.startswith(("http://", "https://", "tcp://", "unix:")):
        return MilvusVectorStore(RemoteBackend(uri, chosen))
    return MilvusVectorStore(LiteBackend(Path(uri).absolute(), chosen))


class MilvusVectorStore:
    """Embeddings of memories with their facets; implements `VectorStorePort`.

    Concurrency: any thread may call. Records of one partition come from one writer.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ready: dict[str, int] = {}

    @property
    def home(self) -> str:
        """See `VectorStorePort.home`: a digest of the folder's or the server's address."""
        return self._backend.home

    def losses(self) -> Sequence[StoreLoss]:
        """Returns the damaged files that were moved aside since this store was opened."""
        return self._backend.losses()

    def prepare(self, space: EmbeddingSpace) -> None:
        """Creates the collection and its indexes when absent.

        The other methods do it, too, when the engine has been away.

        Raises:
            DimensionMismatchError: when a collection of that name has another dimension.
            VectorStoreError: when the store is away.
        """
        generation = self._backend.generation
        name = collection_name(space)
        self._backend.create(name, space.dim)
        self._ready[name] = generation

    def needs_rebuild(self, space: EmbeddingSpace, partition: int) -> bool:
        """Tells whether a partition may lack records that were acknowledged.

        True for a partition never filled, and again after the store was lost, moved aside or
        dropped by somebody else. The caller then starts over: it sets its cursor to the beginning
        *first*, calls `drop`, which makes this false, and feeds all records again.

        Raises:
            VectorStoreError: when the store is away.
        """
        with self._collection(space) as name:
            return not self._backend.is_known(name, partition)

    def upsert(self, space: EmbeddingSpace, records: Sequence[VectorRecord]) -> None:
        """Inserts or replaces records; visible to the next search.

        Of two records of one cube the later one counts.

        Raises:
            DimensionMismatchError: when a vector has another length than the space.
            InvalidInputError: when a vector is not finite or facets do not fit; nothing was
                written.
            VectorStoreError: when the store is away; some records may have been written.
        """
        by_partition: dict[int, dict[str, rows.Row]] = {}
        for record in records:
            _check_vector(space, record.vector)
            row = rows.encode(record, self._backend.dialect)
            by_partition.setdefault(row.partition, {})[row.key] = row
        if not by_partition:
            return
        with self._collection(space) as name:
            for partition, batch in by_partition.items():
                for part in _batches(list(batch.values()), self._backend.batch_rows, space.dim):
                    self._backend.write(name, partition, part)

    def delete(self, space: EmbeddingSpace, partition: int, keys: Sequence[CubeKey]) -> None:
        """Removes records, those of other embedding spaces too; absent ones are fine.

        Raises:
            VectorStoreError: when the store is away; some records may have been removed.
        """
        names = list(dict.fromkeys(rows.row_key(partition, key) for key in keys))
        if not names:
            return
        with self._collection(space) as name:
            others = [
                other
                for other in self._backend.collections()
                if other.startswith(_PREFIX) and other != name
            ]
            for start in range(0, len(names), MOST_HITS):
                part = names[start : start + MOST_HITS]
                for other in others:
                    self._backend.erase_unsearched(other, partition, part)
                self._backend.erase(name, partition, part)

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

        Best first; equal ones by id. A vector of length zero, which has no direction, finds
        nothing and is never found. An HNSW index on a server may miss near ones, but the
        predicate always holds.

        Raises:
            DimensionMismatchError: when the vector has another length than the space.
            InvalidInputError: when the vector is not finite or the limit is over 16,384.
            VectorStoreError: when the store is away, or has lost the partition and it has not been
                filled anew.
        """
        _check_vector(space, vector)
        if limit > MOST_HITS:
            raise InvalidInputError("too many results asked for", limit=limit, most=MOST_HITS)
        backend = self._backend
        query = compile_predicate(
            predicate,
            backend.dialect,
            templates=backend.templates,
            scope=backend.scope(partition, tenant, namespace),
        )
        if query.never or limit < 1 or not vector.any():
            return []
        with self._collection(space) as name:
            if query.exact:
                hits = backend.nearest(name, partition, query, vector, limit, [rows.CUBE])
            else:
                hits = self._checked(name, partition, query, predicate, vector, limit)
        ranked = sorted((-score, json.loads(cells[rows.CUBE])) for score, cells in hits)
        return [(cube, -score) for score, cube in ranked]

    def count(self, space: EmbeddingSpace, partition: int) -> int:
        """Returns the number of records of a partition.

        Raises:
            VectorStoreError: when the store is away.
        """
        with self._collection(space) as name:
            return self._backend.count(name, partition)

    def drop(self, space: EmbeddingSpace, partition: int) -> None:
        """Removes every record of a partition, before a rebuild.

        Raises:
            VectorStoreError: when the store is away; some records may have been removed.
        """
        with self._collection(space) as name:
            self._backend.clear(name, partition)

    def close(self) -> None:
        """Flushes and releases the store; safe to call twice."""
        self._backend.close()

    @contextmanager
    def _collection(self, space: EmbeddingSpace) -> Iterator[str]:
        """Makes sure that the collection is there, and looks again after it has vanished."""
        name = collection_name(space)
        if self._ready.get(name) != self._backend.generation:
            self.prepare(space)
        try:
            yield name
        except VectorStoreError as error:
            if error.details.get("missing"):
                self._ready.pop(name, None)
            raise

    def _checked(
        self,
        name: str,
        partition: int,
        query: Filter,
        predicate: Predicate,
        vector: Vectors,
        limit: int,
    ) -> list[Hit]:
        """Searches with a filter that lets too much through."""
        wide = min(MOST_HITS, max(_LEAST_WIDE, _WIDEN * limit))
        columns = [rows.CUBE, rows.FACETS]
        hits = self._backend.nearest(name, partition, query, vector, wide, columns)
        good = [hit for hit in hits if _passes(predicate, hit[1])]
        if len(good) >= limit or len(hits) < wide:
            return good[:limit]
        candidates = self._backend.scan(name, partition, query, [*columns, rows.VECTOR])
        scored = (
            (_cosine(vector, cells[rows.VECTOR]), cells)
            for cells in candidates
            if _passes(predicate, cells)
        )
        return heapq.nlargest(limit, scored, key=lambda hit: hit[0])


def collection_name(space: EmbeddingSpace) -> str:
    """Returns the collection of an embedding space in the present layout."""
    name = blake2b(space.digest.encode(), digest_size=16).hexdigest()
    return f"{_PREFIX}{name}"


def _check_vector(space: EmbeddingSpace, vector: Vectors) -> None:
    if vector.shape != (space.dim,):
        raise DimensionMismatchError(
            "a vector of another length than its embedding space",
            expected=space.dim,
            actual=int(vector.size),
        )
    if not np.isfinite(vector).all():
        raise InvalidInputError("a vector with infinite or undefined numbers")


def _batches(batch: list[rows.Row], most_rows: int, dim: int) -> Iterator[list[rows.Row]]:
    """Cuts rows into requests of bounded length."""
    part: list[rows.Row] = []
    size_bytes = 0
    for row in batch:
        row_bytes = 4 * dim + 4 * len(row.cells[rows.FACETS]) + 2_048
        if part and (len(part) == most_rows or size_bytes + row_bytes > _BATCH_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(row)
        size_bytes += row_bytes
    if part:
        yield part


def _passes(predicate: Predicate, cells: Mapping[str, Any]) -> bool:
    return evaluate(predicate, rows.unpack_facets(cells[rows.FACETS]))


def _cosine(a: Vectors, other: Any) -> float:
    b = np.asarray(other, dtype=np.float32)
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else 0.0
