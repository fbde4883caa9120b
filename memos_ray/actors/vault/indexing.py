"""Keeps the vector store up to date with the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from memos_ray.actors.vault.embedding import representative, touched_keys
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.retrieval import VectorSet
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.log import Event
from memos_ray.ports import RecordStorePort, VectorRecord, VectorStorePort


class IndexConsumer:
    """Carries embedded memories to the vector store, and removes deleted ones from it."""

    def __init__(
        self,
        partition: int,
        *,
        store: RecordStorePort,
        vectors: VectorStorePort,
        space: EmbeddingSpace,
        executor: Executor,
    ) -> None:
        self._partition = partition
        self._store = store
        self._vectors = vectors
        self._space = space
        self._executor = executor

    async def consume(self, events: Sequence[Event]) -> None:
        """Upserts and deletes what the events speak of, as it is now."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._carry, events)

    async def outdated(self) -> bool:
        """Tells whether the vector store may lack records that it has acknowledged."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, self._vectors.needs_rebuild, self._space, self._partition
        )

    async def reset(self) -> None:
        """Drops the partition's records, which makes the store complete again: empty."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._vectors.drop, self._space, self._partition)

    def _carry(self, events: Sequence[Event]) -> None:
        keys = touched_keys(events)
        heads = self._store.heads(self._partition, keys)
        stored = self._store.vectors(self._partition, keys, self._space.digest)
        records = []
        for key, head in heads.items():
            if head.state not in GONE and key in stored:
                body = VectorSet.from_bytes(stored[key].body)
                records.append(
                    VectorRecord(
                        partition=self._partition,
                        key=key,
                        namespace=head.namespace,
                        version=head.version.number,
                        facets=facets_of(head),
                        vector=representative(body),
                    )
                )
        kept = {record.key for record in records}
        gone = [key for key in keys if key not in kept]
        if gone:
            self._vectors.delete(self._space, self._partition, gone)
        if records:
            self._vectors.upsert(self._space, records)
