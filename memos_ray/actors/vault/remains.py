"""What has rows still that was made of erased memories, or is about them. (GOV-9)"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain

from memos_ray.actors.activation import kv_rest
from memos_ray.actors.evolution import opinions
from memos_ray.actors.parameter import adapter_rows, lesson_rows
from memos_ray.core.parameter import TeachingState
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt
from memos_ray.ports import Among, Derivation, RecordStorePort

Naming = Callable[[int, CubeKey], Awaitable[tuple[str, ...]]]
"""Says which rows about a memory of a partition there may be, by their names."""


@dataclass(frozen=True, slots=True)
class RowLeft:
    """A row of something derived.

    Attributes:
        ids: of the memories that it was made of, for whose receipts this alone is reason enough.
    """

    thing: ErasedThing
    tenant: str
    ids: frozenset[str] = frozenset()


class Remains:
    """Looks up rows: of the tenants that have receipts to complete, and opinions by their names.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.

    Complexity: caches at rest, adapters and lessons of these tenants, which budgets bound; of
    opinions, those that there are about the erased memories.
    """

    def __init__(self, store: RecordStorePort, executor: Executor, opinions_of: Naming) -> None:
        self._store = store
        self._executor = executor
        self._opinions_of = opinions_of

    async def of(self, partition: int, waiting: Iterable[Receipt]) -> list[RowLeft]:
        """Returns what has rows still, for receipts of one partition."""
        found = []
        erased: dict[str, list[str]] = {}
        for receipt in waiting:
            erased.setdefault(receipt.tenant, []).extend(receipt.erased)
        for tenant, ids in erased.items():
            found += await self._of_models(partition, Among(tenant))
            names = [await self._opinions_of(partition, CubeKey(tenant, id)) for id in ids]
            named = Among(tenant, names=tuple(chain.from_iterable(names)))
            for row in await self._rows(partition, opinions.KIND, named):
                about = frozenset([opinions.memory_of(row)])
                found.append(RowLeft(ErasedThing(Derived.OPINION, row.name), tenant, about))
        return found

    async def _of_models(self, partition: int, among: Among) -> list[RowLeft]:
        found = []
        for row in await self._rows(partition, kv_rest.KIND, among):
            name = kv_rest.resting_of(partition, row).name
            ids = frozenset(key.id for key in name.keys)
            found.append(RowLeft(ErasedThing(Derived.KV, row.name), row.tenant, ids))
        for row in await self._rows(partition, adapter_rows.KIND, among):
            adapter = adapter_rows.adapter_of(partition, row)
            ids = frozenset([adapter.id, *(source.cube_id for source in adapter.sources)])
            thing = ErasedThing(Derived.ADAPTER, adapter.id, adapter.digest)
            found.append(RowLeft(thing, row.tenant, ids))
            # What a lesson that was cut off has laid down already.
            found.append(RowLeft(ErasedThing(Derived.LESSON, adapter.id), row.tenant))
        for row in await self._rows(partition, lesson_rows.KIND, among):
            lesson = lesson_rows.lesson_of(partition, row)
            if lesson.state is TeachingState.TRAINING:
                ids = frozenset(source.cube_id for source in lesson.sources)
                found.append(RowLeft(ErasedThing(Derived.LESSON, row.name), row.tenant, ids))
        return found

    async def _rows(self, partition: int, kind: str, among: Among) -> list[Derivation]:
        loop, read = asyncio.get_running_loop(), self._store.derivations
        return await loop.run_in_executor(self._executor, read, partition, kind, among)
