"""Milvus servers: one shared collection per embedding space, tenants hashed to partitions.

Tested with 2.3.5; 2.5 and later also take the texts of expressions as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from memos_ray.adapters import milvus_rows as rows
from memos_ray.adapters.milvus_backend import (
    Hit,
    check_dimension,
    collection_schema,
    digest_of,
    pages,
)
from memos_ray.adapters.milvus_expr import Filter
from memos_ray.adapters.milvus_link import Link, cosine
from memos_ray.adapters.milvus_rows import Dialect, Row
from memos_ray.adapters.milvus_settings import MilvusSettings, StoreLoss, VectorIndex
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import VectorStoreError
from memos_ray.ports import VectorRecord, Vectors

_TEMPLATES_SINCE = (2, 5)
_INVERTED_SINCE = (2, 4)
# Before, an upsert put rows into the Milvus partition of another field, where no search looks.
_PARTITION_KEYS_SINCE = (2, 4)
_INDEXED = (rows.VECTOR, rows.SCOPE)
_LARGEST_EF = 32_768
_NO_PARTITION = -1
_OWN_TENANT = "!"
_TICK = "tick"


class RemoteBackend:
    """A Milvus server.

    A *mark*, a row outside all namespaces, tells that a partition was filled from its beginning;
    it vanishes with the collection when somebody drops or restores it behind our back. A *tick*
    follows each deletion: the client learns the server's time from inserts only, and a search
    would not wait for the deletion otherwise.
    """

    dialect = Dialect.SERVER
    batch_rows = 512

    def __init__(self, uri: str, settings: MilvusSettings) -> None:
        self._uri = uri
        self._settings = settings
        self._version = (0, 0)
        self._dims: dict[str, int] = {}
        self._link = Link(self._connect, self._disconnect, first_wait_s=settings.connect_s)

    @property
    def templates(self) -> bool:
        """Whether the server is new enough for expressions with parameters."""
        return self._version >= _TEMPLATES_SINCE

    @property
    def home(self) -> str:
        """A digest of the server's address, which may hold a password."""
        return digest_of(self._uri)

    @property
    def generation(self) -> int:
        """Number of connections so far."""
        return self._link.generation

    def losses(self) -> Sequence[StoreLoss]:
        """Returns nothing: a server looks after its own files."""
        return ()

    def create(self, collection: str, dim: int) -> None:
        """Creates, indexes and loads a collection when absent; see `Backend`."""
        settings = self._settings

        def run(client: Any) -> None:
            partition_key = self._version >= _PARTITION_KEYS_SINCE
            if not client.has_collection(collection, timeout=settings.search_s):
                client.create_collection(
                    collection,
                    schema=collection_schema(self.dialect, dim, partition_key=partition_key),
                    consistency_level=settings.consistency.value,
                    timeout=settings.start_s,
                    **({"num_partitions": settings.hash_partitions} if partition_key else {}),
                )
            described = client.describe_collection(collection, timeout=settings.search_s)
            check_dimension(described, collection, dim)
            # Another owner may have died between the collection and its indexes.
            if len(client.list_indexes(collection, timeout=settings.search_s)) < len(_INDEXED):
                client.create_index(collection, self._indexes(), timeout=settings.start_s)
            client.load_collection(collection, timeout=settings.start_s)

        self._link.call("prepare", run)
        self._dims[collection] = dim

    def scope(self, partition: int, tenant: str, namespace: str) -> str:
        """Returns the expression of a namespace; the tenant in it selects Milvus partitions."""
        return (
            f'{rows.TENANT} == "{rows.text_token(tenant)}"'
            f' and {rows.SCOPE} == "{rows.scope(partition, tenant, namespace)}"'
        )

    def write(self, collection: str, partition: int, batch: Sequence[Row]) -> None:
        """Inserts or replaces rows."""
        self._upsert("upsert", collection, [row.cells for row in batch])

    def erase(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows."""
        self.erase_unsearched(collection, partition, keys)
        self._tick(collection)

    def collections(self) -> Sequence[str]:
        """Returns the collections of the server's database."""
        return list(
            self._link.call(
                "list",
                lambda client: client.list_collections(timeout=self._settings.search_s),
            )
        )

    def erase_unsearched(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows; no search waits for it."""
        self._link.call(
            "delete",
            lambda client: client.delete(
                collection, ids=list(keys), timeout=self._settings.write_s
            ),
        )

    def nearest(
        self,
        collection: str,
        partition: int,
        query: Filter,
        vector: Vectors,
        limit: int,
        columns: Sequence[str],
    ) -> list[Hit]:
        """Searches; see `Backend`."""
        found = self._link.call(
            "search",
            lambda client: client.search(
                collection,
                data=[vector],
                anns_field=rows.VECTOR,
                filter=query.text,
                filter_params=query.params,
                limit=limit,
                output_fields=list(columns),
                search_params={"metric_type": "COSINE", "params": self._search_params(limit)},
                consistency_level=self._settings.consistency.value,
                timeout=self._settings.search_s,
            ),
        )
        return [(cosine(hit["distance"]), hit["entity"]) for hit in found[0]]

    def scan(
        self, collection: str, partition: int, query: Filter, columns: Sequence[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Yields rows; see `Backend`."""
        consistency = self._settings.consistency.value
        return iter(
            self._link.call(
                "scan",
                lambda client: list(
                    pages(
                        client,
                        collection,
                        query,
                        columns,
                        self._settings.search_s,
                        consistency_level=consistency,
                    )
                ),
            )
        )

    def count(self, collection: str, partition: int) -> int:
        """Counts the rows of a partition."""
        return self._count(collection, f"{rows.PARTITION} == {partition}")

    def clear(self, collection: str, partition: int) -> None:
        """Empties a partition, then marks it."""
        expression = f"{rows.PARTITION} == {partition}"
        self._link.call(
            "drop",
            lambda client: client.delete(
                collection, filter=expression, timeout=self._settings.start_s
            ),
        )
        self._upsert("mark", collection, [self._own_row(collection, _mark_of(partition))])

    def is_known(self, collection: str, partition: int) -> bool:
        """Looks for the mark of a partition."""
        key = rows.row_key(_NO_PARTITION, _own_key(_mark_of(partition)))
        try:
            return self._count(collection, f'{rows.KEY} in ["{key}"]') > 0
        except VectorStoreError as error:
            if error.details.get("missing"):
                return False
            raise

    def close(self) -> None:
        """Disconnects."""
        self._link.close()

    def _connect(self) -> Any:
        settings = self._settings
        options = {"server_pem_path": settings.ca_file} if settings.ca_file else {}
        client = MilvusClient(
            self._uri,
            token=settings.token,
            db_name=settings.database,
            timeout=settings.connect_s,
            dedicated=True,
            **options,
        )
        self._version = _version(client.get_server_version(timeout=settings.connect_s))
        return client

    def _disconnect(self, client: Any) -> None:
        client.close()

    def _upsert(self, operation: str, collection: str, cells: list[dict[str, Any]]) -> None:
        self._link.call(
            operation,
            lambda client: client.upsert(collection, cells, timeout=self._settings.write_s),
        )

    def _tick(self, collection: str) -> None:
        self._upsert("tick", collection, [self._own_row(collection, _TICK)])

    def _own_row(self, collection: str, name: str) -> dict[str, Any]:
        vector = np.ones(self._dims[collection], dtype=np.float32)
        record = VectorRecord(_NO_PARTITION, _own_key(name), "", 0, {}, vector)
        return rows.encode(record, self.dialect).cells

    def _count(self, collection: str, expression: str) -> int:
        # Strong, because rows of an earlier process count, too, and it may have ended just now.
        found = self._link.call(
            "count",
            lambda client: client.query(
                collection,
                filter=expression,
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=self._settings.search_s,
            ),
        )
        return int(found[0]["count(*)"])

    def _indexes(self) -> Any:
        """Describes the indexes: of the embeddings, and of what every search filters by."""
        settings = self._settings
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(
            rows.VECTOR,
            index_type=settings.index.value,
            metric_type="COSINE",
            params={"M": settings.hnsw_links, "efConstruction": settings.hnsw_build}
            if settings.index is VectorIndex.HNSW
            else {},
        )
        inverted = self._version >= _INVERTED_SINCE
        indexes.add_index(rows.SCOPE, index_type="INVERTED" if inverted else "Trie")
        return indexes

    def _search_params(self, limit: int) -> dict[str, int]:
        if self._settings.index is not VectorIndex.HNSW:
            return {}
        return {"ef": min(max(self._settings.hnsw_search, 2 * limit), _LARGEST_EF)}


def _own_key(name: str) -> CubeKey:
    return CubeKey(_OWN_TENANT, name)


def _mark_of(partition: int) -> str:
    return f"mark {partition}"


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
