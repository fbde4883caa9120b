"""What was made of memories, by the log: its entries outlive them, and no owner can change them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from memos_ray.core.vault.entries import DERIVE, DERIVED, LEARN, THROUGH
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.ports import EventQuery, RecordStorePort

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Child:
    """Something that was made of a memory.

    Attributes:
        namespace: where it was made.
        lsn: of the entry that tells of it.
        through: id of the parameter memory whose adapter it comes from, if it does.
    """

    id: str
    namespace: str
    lsn: int
    through: str | None = None


class Descent:
    """Looks up in the log what was made of what.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor

    async def children(
        self, partition: int, key: CubeKey, *, by_adapters: bool = True
    ) -> list[Child]:
        """Returns what was made of a memory, the oldest first.

        Args:
            by_adapters: also what adapters have said that had learnt it, and not of it alone.
        """
        found = await self.made(partition, key)
        if by_adapters:
            found += await self.said(partition, key.tenant, await self.adapters(partition, key))
        return list({child.id: child for child in reversed(found)}.values())[::-1]

    async def made(self, partition: int, key: CubeKey) -> list[Child]:
        """Returns what was made of a memory by itself, the oldest first."""
        return [
            Child(_made(event), event.namespace, event.lsn, _through(event))
            for event in await self._told(partition, key, DERIVE)
        ]

    async def adapters(self, partition: int, key: CubeKey) -> dict[str, int]:
        """Returns the adapters that have learnt a memory, and the LSN of the entry that says so."""
        found: dict[str, int] = {}
        for event in await self._told(partition, key, LEARN):
            found.setdefault(_made(event), event.lsn)
        return found

    async def said(self, partition: int, tenant: str, adapters: Mapping[str, int]) -> list[Child]:
        """Returns what adapters have said of whatever they had learnt.

        Args:
            adapters: with the LSN of the entry that tells of each, which its children have, too.
        """
        found = []
        for parameter, lsn in adapters.items():
            events = await self._told(partition, CubeKey(tenant, parameter), DERIVE)
            found += [Child(_made(event), event.namespace, lsn, parameter) for event in events]
        return found

    async def made_of(self, partition: int, key: CubeKey, made: str) -> bool:
        """Tells whether something was made of a memory, rather than only names it."""
        return any(_made(event) == made for event in await self._told(partition, key, DERIVE))

    async def learnt(self, partition: int, key: CubeKey, parameter: str) -> bool:
        """Tells whether an adapter that something was made of has learnt a memory."""
        return any(_made(event) == parameter for event in await self._told(partition, key, LEARN))

    async def _told(self, partition: int, key: CubeKey, operation: str) -> list[Event]:
        query = EventQuery(tenant=key.tenant, cube_id=key.id, operation=operation)
        found: list[Event] = []
        loop = asyncio.get_running_loop()
        events: Callable[..., Any] = self._store.events
        while True:
            after = found[-1].lsn if found else 0
            page = await loop.run_in_executor(
                self._executor, events, partition, after, _PAGE, query
            )
            found += page
            if len(page) < _PAGE:
                return found


def _made(event: Event) -> str:
    return str(event.detail[DERIVED])


def _through(event: Event) -> str | None:
    through = event.detail.get(THROUGH)
    return None if through is None else str(through)
