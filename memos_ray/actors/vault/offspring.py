"""What was made of an erased memory, and follows it: is anything of that left? (GOV-9)"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from memos_ray.actors.vault.descent import Descent
from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.core.access.names import BRANCH_MARK, base_of
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.receipts import Derived, Receipt, text_name
from memos_ray.ports import RecordStorePort


@dataclass(frozen=True, slots=True)
class Found:
    """What was made of an erased memory.

    Attributes:
        texts: names of what adapters were turned back into, there still or not.
        left: what is left, by kind and name; what has no name of its own has that of the memory.
    """

    texts: tuple[str, ...]
    left: frozenset[tuple[Derived, str]]


@dataclass(frozen=True, slots=True)
class Pending:
    """What the receipts of a partition that are pending are about; made once for a look at all.

    Attributes:
        memories: by tenant and id.
        branches: of these, what branches hold, by tenant and the id of what it was taken over from.
    """

    memories: set[CubeKey] = field(default_factory=set)
    branches: dict[CubeKey, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, receipts: Iterable[Receipt]) -> Self:
        """Collects what receipts are about."""
        found = cls()
        for receipt in receipts:
            for id in receipt.erased:
                if BRANCH_MARK in id:
                    base = CubeKey(receipt.tenant, base_of(id))
                    found.branches.setdefault(base, set()).add(id)
                else:
                    found.memories.add(CubeKey(receipt.tenant, id))
        return found


@dataclass(frozen=True, slots=True)
class _Told:
    """What the log tells of erased memories, from before their erasure.

    Attributes:
        family: what was made of them, with its kind.
        adapters: that have learnt one, with the LSN of the entry that says so. What they say may
            become more.
    """

    family: dict[str, Derived] = field(default_factory=dict)
    adapters: dict[str, int] = field(default_factory=dict)


class Offspring:
    """Looks up in the log what was made of memories, and whether it is there still.

    Complexity: the log is asked once about each erased memory, and at each look about the adapters
    that have learnt one.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._descent = Descent(store, executor)
        # By partition; by tenant and LSN of the erasure.
        self._known: dict[int, dict[tuple[str, int], _Told]] = {}

    async def look(self, partition: int, receipt: Receipt, pending: Pending) -> Found:
        """Returns what was made, and what is left: there still, or erased with a pending receipt.

        What was made of a memory stays where it is frozen, or under a hold.

        Args:
            pending: of all receipts, this one among them or not.
        """
        told = await self._told(partition, receipt)
        family = dict(told.family)
        for child in await self._descent.said(partition, receipt.tenant, told.adapters):
            family.setdefault(child.id, Derived.EXTERNALISED)
        left = set(await self._there(partition, receipt, list(family)))
        own = frozenset(receipt.erased)
        left.update(
            id for id in family if id not in own and CubeKey(receipt.tenant, id) in pending.memories
        )
        branches = any(
            not pending.branches.get(CubeKey(receipt.tenant, id), own) <= own
            for id in own.union(family)
        )
        memory = receipt.memory_id
        named = partial(text_name, receipt.tenant, memory)
        found = {
            (kind, named(id) if kind is Derived.EXTERNALISED else memory)
            for id, kind in family.items()
            if id in left
        }
        if branches:
            found.add((Derived.BRANCH, memory))
        texts = [named(id) for id, kind in family.items() if kind is Derived.EXTERNALISED]
        return Found(tuple(texts), frozenset(found))

    def forget(self, partition: int, receipt: Receipt) -> None:
        """Forgets what was told of a receipt that waits no longer."""
        self._known.get(partition, {}).pop((receipt.tenant, receipt.lsn), None)

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._known.pop(partition, None)

    async def _told(self, partition: int, receipt: Receipt) -> _Told:
        """Returns what the log tells of the erased memories, up to their erasure: for good."""
        known = self._known.setdefault(partition, {})
        found = known.get((receipt.tenant, receipt.lsn))
        if found is None:
            found = _Told()
            for id in receipt.erased:
                key = CubeKey(receipt.tenant, id)
                for child in await self._descent.made(partition, key):
                    if child.lsn < receipt.lsn:
                        kind = Derived.EXTERNALISED if child.through else Derived.EXTRACTED
                        found.family.setdefault(child.id, kind)
                for parameter, lsn in (await self._descent.adapters(partition, key)).items():
                    if lsn < receipt.lsn:
                        found.adapters.setdefault(parameter, lsn)
            known[receipt.tenant, receipt.lsn] = found
        return found

    async def _there(self, partition: int, receipt: Receipt, ids: Sequence[str]) -> list[str]:
        if not ids:
            return []
        keys = [CubeKey(receipt.tenant, id) for id in ids]
        loop = asyncio.get_running_loop()
        heads, _ = await loop.run_in_executor(
            self._executor, whole_or_remnants, self._store, partition, keys
        )
        # An id may have been given anew.
        return [
            key.id
            for key, head in heads.items()
            if head.descriptive.created_at <= receipt.erased_at
        ]
