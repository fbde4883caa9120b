"""What was made of memories and stored before it was followed as it is now; once a partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import OneOf
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.vault.entries import DERIVE, DERIVED
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.ports import EventQuery, RecordStorePort

_PAGE = 512


class Earlier:
    """Finds parameter memories, of which the log may not tell what they have learnt, and the gone.

    Nothing but a lesson makes parameter memories, so that what one names it has learnt. What
    branches hold is left out: policy closes that as the namespace is.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, partition: int, store: RecordStorePort, executor: Executor) -> None:
        self._partition = partition
        self._store = store
        self._executor = executor

    async def learners(self, key: CubeKey) -> list[MemCube]:
        """Returns the parameter memories that have learnt a memory, whether the log says so."""
        found: list[MemCube] = []
        after = ""
        while True:
            ids = await self._run(self._store.derived, *key, after, _PAGE)
            found += [
                head
                for head in await self._heads([CubeKey(key.tenant, id) for id in ids])
                if head.payload.form is Form.PARAMETER
            ]
            if len(ids) < _PAGE:
                return found
            after = ids[-1]

    async def parameters(self) -> AsyncIterator[MemCube]:
        """Yields all parameter memories."""
        wanted = OneOf("form", (Form.PARAMETER.value,))
        for size in await self._run(self._store.namespaces):
            after: tuple[int, str] | None = None
            page: list[MemCube] = []
            while after is None or len(page) == _PAGE:
                # What cannot be read is found again when a source changes.
                place = size.tenant, size.namespace, wanted, after, _PAGE, _passed_over
                page = await self._run(self._store.scan, *place)
                for head in page:
                    if BRANCH_MARK not in head.id:
                        yield head
                if not page:
                    break
                after = to_micros(page[-1].descriptive.created_at), page[-1].id

    async def gone(self) -> AsyncIterator[MemCube]:
        """Yields what was made of memories and is gone, as the log tells of it."""
        query, after = EventQuery(operation=DERIVE), 0
        while True:
            events: list[Event] = await self._run(self._store.events, after, _PAGE, query)
            keys = [CubeKey(one.tenant, str(one.detail[DERIVED])) for one in events]
            for head in await self._heads(list(dict.fromkeys(keys))):
                if head.state in GONE:
                    yield head
            if len(events) < _PAGE:
                return
            after = events[-1].lsn

    async def _heads(self, keys: Sequence[CubeKey]) -> list[MemCube]:
        kept = [key for key in keys if BRANCH_MARK not in key.id]
        heads, _ = await self._off(whole_or_remnants, self._store, self._partition, kept)
        return list(heads.values())

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await self._off(act, self._partition, *values)

    async def _off(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _passed_over(_: CubeKey) -> None:
    """Hears of what cannot be read."""
