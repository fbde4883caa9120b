"""What was made of an erased memory, and follows it: is anything of that left? (GOV-9)"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from memos_ray.core.access.names import BRANCH_MARK, base_of
from memos_ray.core.vault.entries import DERIVE, DERIVED
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.core.vault.receipts import Derived, Receipt
from memos_ray.ports import EventQuery, RecordStorePort

_PAGE = 1000


class Offspring:
    """Looks up in the log what was made of memories, and whether it is there still.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor

    async def left(
        self, partition: int, receipt: Receipt, others: Sequence[Receipt]
    ) -> set[Derived]:
        """Returns of which kinds something is left: there still, or erased with a pending receipt.

        What was made of a memory stays where it is frozen, or under a hold.

        Args:
            others: the receipts that are pending beside this one.
        """
        family = {
            id for one in receipt.erased for id in await self._made_of(partition, receipt, one)
        }
        keys = [CubeKey(receipt.tenant, id) for id in family]
        heads = await self._run(self._store.heads, partition, keys) if keys else {}
        # An id may have been given anew.
        there = [one for one in heads.values() if one.descriptive.created_at <= receipt.erased_at]
        found = {Derived.EXTRACTED} if there else set()
        origins = family.union(receipt.erased)
        pending = {id for one in others if one.tenant == receipt.tenant for id in one.erased}
        for id in pending.difference(receipt.erased):
            if base_of(id) in origins:
                found.add(Derived.BRANCH if BRANCH_MARK in id else Derived.EXTRACTED)
        return found

    async def _made_of(self, partition: int, receipt: Receipt, cube_id: str) -> set[str]:
        query = EventQuery(tenant=receipt.tenant, cube_id=cube_id, operation=DERIVE)
        found: set[str] = set()
        after = 0
        while True:
            told: list[Event] = await self._run(self._store.events, partition, after, _PAGE, query)
            found |= {str(event.detail[DERIVED]) for event in told if event.lsn < receipt.lsn}
            if len(told) < _PAGE:
                return found
            after = told[-1].lsn

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
