"""Milvus Lite: a folder that one process owns, with the engine in a process of its own.

A collection has one Milvus partition per vault partition: a search reads every row of the Milvus
partitions it touches, several times, in Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

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
from memos_ray.adapters.milvus_ledger import LedgerError
from memos_ray.adapters.milvus_link import Link, cosine
from memos_ray.adapters.milvus_lite_folder import LiteFolder
from memos_ray.adapters.milvus_lite_process import EngineProcess
from memos_ray.adapters.milvus_rows import Dialect, Row
from memos_ray.adapters.milvus_settings import MilvusSettings, StoreLoss
from memos_ray.errors import VectorStoreError
from memos_ray.ports import Vectors

_SILENT_PROBES = 3

T = TypeVar("T")


class LiteBackend:
    """The owner's side of a Milvus Lite folder.

    Concurrency: any thread may call; writes go one after the other. The link's thread starts the
    engine, watches it and starts it again when it ends.
    """

    dialect = Dialect.LITE
    batch_rows = 64
    templates = False

    def __init__(self, path: Path, settings: MilvusSettings) -> None:
        """Takes the folder and starts the engine.

        Raises:
            DataFolderInUseError: when another process owns the folder.
            ConfigurationError: when the folder cannot be made or locked.
        """
        self._folder = LiteFolder(path)
        self._settings = settings
        self._strays: Mapping[tuple[str, int], list[str]] = {}
        self._partitions: set[tuple[str, int]] = set()
        self._engine: EngineProcess | None = None
        self._silent = 0
        self._writing = threading.Lock()
        self._link = Link(
            self._connect,
            self._disconnect,
            first_wait_s=settings.start_s,
            shut_down=self._stop_engine,
        )

    @property
    def home(self) -> str:
        """A digest of the folder's path, which differs from shard to shard."""
        return digest_of(str(self._folder.path.absolute()))

    @property
    def generation(self) -> int:
        """Number of connections so far."""
        return self._link.generation

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine, while one runs."""
        engine = self._engine
        return engine.pid if engine is not None and engine.running else None

    def losses(self) -> Sequence[StoreLoss]:
        """Returns what was found damaged and moved aside by this object."""
        return self._folder.losses

    def create(self, collection: str, dim: int) -> None:
        """Creates a collection when absent; without an index, so that searches are exact."""

        def run(client: Any) -> None:
            if not client.has_collection(collection, timeout=self._settings.search_s):
                client.create_collection(
                    collection,
                    schema=collection_schema(self.dialect, dim),
                    timeout=self._settings.start_s,
                )
            described = client.describe_collection(collection, timeout=self._settings.search_s)
            check_dimension(described, collection, dim)

        with self._writing:
            self._link.call("prepare", run)

    def scope(self, partition: int, tenant: str, namespace: str) -> str:
        """Returns the expression of a namespace."""
        return f'{rows.SCOPE} == "{rows.scope(partition, tenant, namespace)}"'

    def write(self, collection: str, partition: int, batch: Sequence[Row]) -> None:
        """Inserts or replaces rows; they are in the ledger when this returns."""
        with self._writing:
            self._ensure_partition(collection, partition)
            ledger = self._folder.ledger()
            stamp = self._noted(ledger.next_stamp)
            keys = [row.key for row in batch]
            cells = [row.cells | {rows.STAMP: stamp} for row in batch]
            try:
                self._link.call(
                    "upsert",
                    lambda client: client.upsert(
                        collection,
                        cells,
                        partition_name=_name_of(partition),
                        timeout=self._settings.write_s,
                    ),
                )
            except VectorStoreError:
                self._noted(lambda: ledger.doubt(collection, partition, keys, stamp))
                raise
            self._noted(lambda: ledger.record(collection, partition, keys, stamp))

    def erase(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows."""
        with self._writing:
            if not self._has_partition(collection, partition):
                return
            ledger = self._folder.ledger()
            self._noted(lambda: ledger.forget(collection, keys))
            self._link.call(
                "delete",
                lambda client: client.delete(
                    collection,
                    ids=list(keys),
                    partition_name=_name_of(partition),
                    timeout=self._settings.write_s,
                ),
            )

    def collections(self) -> Sequence[str]:
        """Returns the collections of this folder."""
        return list(
            self._link.call(
                "list",
                lambda client: client.list_collections(timeout=self._settings.search_s),
            )
        )

    def erase_unsearched(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows, as ever."""
        self.erase(collection, partition, keys)

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
        self._refuse_lost(collection, partition)
        found = self._link.call(
            "search",
            lambda client: client.search(
                collection,
                data=[vector],
                anns_field=rows.VECTOR,
                filter=query.text,
                limit=limit,
                output_fields=list(columns),
                search_params={"metric_type": "COSINE"},
                partition_names=[_name_of(partition)],
                consistency_level="Strong",
                timeout=self._settings.search_s,
            ),
        )
        return [(cosine(hit["distance"]), hit["entity"]) for hit in found[0]]

    def scan(
        self, collection: str, partition: int, query: Filter, columns: Sequence[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Yields rows; see `Backend`."""
        self._refuse_lost(collection, partition)
        names = [_name_of(partition)]
        return iter(
            self._link.call(
                "scan",
                lambda client: list(
                    pages(
                        client,
                        collection,
                        query,
                        columns,
                        self._settings.write_s,
                        partition_names=names,
                        consistency_level="Strong",
                    )
                ),
            )
        )

    def count(self, collection: str, partition: int) -> int:
        """Counts the live rows of a partition."""
        with self._writing:
            if not self._has_partition(collection, partition):
                return 0
            stats = self._link.call(
                "count",
                lambda client: client.get_partition_stats(
                    collection, _name_of(partition), timeout=self._settings.search_s
                ),
            )
        return int(stats["row_count"])

    def clear(self, collection: str, partition: int) -> None:
        """Drops a partition and notes that it is complete from there on."""
        with self._writing:
            ledger = self._folder.ledger()
            self._noted(lambda: ledger.forget_partition(collection, partition))
            if self._has_partition(collection, partition):
                self._partitions.discard((collection, partition))
                self._link.call(
                    "drop",
                    lambda client: client.drop_partition(
                        collection, _name_of(partition), timeout=self._settings.write_s
                    ),
                )
            self._noted(lambda: ledger.mark_known(collection, partition))

    def is_known(self, collection: str, partition: int) -> bool:
        """Asks the ledger; nothing is known while the engine is away."""
        ledger = self._folder.ledger()
        return self._noted(lambda: ledger.is_known(collection, partition))

    def _refuse_lost(self, collection: str, partition: int) -> None:
        """Says that a partition is gone, where its emptiness would pass for an answer."""
        if self._folder.losses and not self.is_known(collection, partition):
            raise VectorStoreError("the partition was lost and is not filled anew yet")

    def close(self) -> None:
        """Flushes, stops the engine and gives the folder free; safe to call twice."""
        self._link.close()
        with self._writing:
            self._folder.close()

    def _connect(self) -> Any:
        engine = self._engine
        if engine is None or not engine.running:
            engine = self._start()
        try:
            client = MilvusClient(engine.address, timeout=self._settings.connect_s, dedicated=True)
            client.get_server_version(timeout=self._settings.connect_s)
            for (collection, partition), keys in self._strays.items():
                client.delete(
                    collection,
                    ids=keys,
                    partition_name=_name_of(partition),
                    timeout=self._settings.write_s,
                )
        except Exception:
            self._silent += 1
            if self._silent >= _SILENT_PROBES:
                engine.kill()
            raise
        self._silent = 0
        self._strays = {}
        return client

    def _disconnect(self, client: Any) -> None:
        client.close()

    def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.stop()

    def _start(self) -> EngineProcess:
        """Starts the engine on files that hold what they should; on none when they do not."""
        with self._writing:
            if self._engine is not None:
                self._engine.kill()
                self._engine = None
            self._partitions.clear()
            engine, self._strays = self._folder.start(self._settings.start_s)
            self._engine = engine
        threading.Thread(
            target=self._watch, args=(engine,), name="milvus-watch", daemon=True
        ).start()
        return engine

    def _watch(self, engine: EngineProcess) -> None:
        status = engine.wait()
        if self._engine is engine:
            self._link.fail(f"the engine ended with status {status}")

    def _ensure_partition(self, collection: str, partition: int) -> None:
        if not self._has_partition(collection, partition):
            self._link.call(
                "prepare",
                lambda client: client.create_partition(
                    collection, _name_of(partition), timeout=self._settings.write_s
                ),
            )
            self._partitions.add((collection, partition))

    def _has_partition(self, collection: str, partition: int) -> bool:
        if (collection, partition) not in self._partitions:
            there = self._link.call(
                "prepare",
                lambda client: client.has_partition(
                    collection, _name_of(partition), timeout=self._settings.search_s
                ),
            )
            if not there:
                return False
            self._partitions.add((collection, partition))
        return True

    def _noted(self, write: Callable[[], T]) -> T:
        try:
            return write()
        except LedgerError as error:
            engine = self._engine
            if error.damaged and engine is not None:
                # The link starts it again, finds the damage and begins an empty store.
                engine.kill()
            raise VectorStoreError(
                "the ledger of the vector store cannot be used", reason=str(error)
            ) from error


def _name_of(partition: int) -> str:
    return f"p{partition}"
