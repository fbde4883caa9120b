"""How much a branch holds: a merge is one transaction, so that there is an end to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.lifecycle.branches import Branch
from memos_ray.core.vault.log import ERASE, CubeKey
from memos_ray.errors import MemosError, PayloadTooLargeError
from memos_ray.ports import Damaged, EventQuery, RecordStorePort

CHANGES_MAX = 10_000
"""A branch takes over, or adds, at most so many memories."""

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Count:
    """How many memories a branch holds, but for what was erased behind an LSN."""

    memories: int
    lsn: int


class BranchRoom:
    """Reads what the branches of one partition hold, and refuses what they have no room for.

    Counts are never too low: what has been erased since is found out when a branch seems to be
    full, by the log. Of a branch whose writes take turns.

    Complexity: a branch that is full is counted again only when something of it was erased.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, partition: int, *, store: RecordStorePort, executor: Executor) -> None:
        self._partition = partition
        self._store = store
        self._executor = executor
        self._held: dict[tuple[str, str], _Count] = {}

    async def all(
        self, tenant: str, branch: Branch, damaged: Damaged | None = None
    ) -> list[MemCube]:
        """Returns the memories that a branch holds, deleted ones included.

        Args:
            damaged: told of what cannot be read, which is left out; without it that is an error.
        """
        found: list[MemCube] = []
        after: tuple[int, str] | None = None
        while True:
            place = (self._partition, tenant, branch.space)
            page: list[MemCube] = await self._ask(
                self._store.scan, *place, Everything(), after, _PAGE, damaged
            )
            found += page
            if len(page) < _PAGE:
                return found
            after = to_micros(page[-1].descriptive.created_at), page[-1].id

    async def refused(
        self, tenant: str, branch: Branch, ids: Sequence[str]
    ) -> list[MemosError | None]:
        """Returns for each write why there is no room for it, by the stored ids of its memories."""
        keys = [CubeKey(tenant, cube_id) for cube_id in dict.fromkeys(ids)]
        heads = await self._ask(self._store.heads, self._partition, keys)
        fresh = {key.id for key in keys if key not in heads}
        if not fresh:
            return [None] * len(ids)
        place = tenant, branch.space
        held = self._held.get(place)
        if held is None or held.memories + len(fresh) > CHANGES_MAX:
            held = await self._counted(tenant, branch, held)
        room = [cube_id for cube_id in dict.fromkeys(ids) if cube_id in fresh]
        over = set(room[max(CHANGES_MAX - held.memories, 0) :])
        taken = len(fresh) - len(over)
        self._held[place] = _Count(held.memories + taken, held.lsn)
        return [
            PayloadTooLargeError("the branch holds as many changes as it may", limit=CHANGES_MAX)
            if cube_id in over
            else None
            for cube_id in ids
        ]

    def forget(self, tenant: str, branch: Branch) -> None:
        """Forgets a branch that has ended."""
        self._held.pop((tenant, branch.space), None)

    async def _counted(self, tenant: str, branch: Branch, before: _Count | None) -> _Count:
        """Returns how much a branch holds now."""
        # What is erased while it is counted is looked at once more.
        lsn = await self._ask(self._store.last_lsn, self._partition)
        if before is not None:
            erasures = EventQuery(tenant=tenant, namespace=branch.space, operation=ERASE)
            place = (self._partition, before.lsn, 1, erasures)
            if not await self._ask(self._store.events, *place):
                return _Count(before.memories, lsn)
        damaged: list[CubeKey] = []
        held = await self.all(tenant, branch, damaged.append)
        return _Count(len(held) + len(damaged), lsn)

    async def _ask(self, method: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)
