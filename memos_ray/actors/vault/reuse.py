"""What a shard is asked for a new task: what alike tasks have used."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import Between, Not, OneOf, Predicate, all_of
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.reuse import Reuse, ReuseTask, offers
from memos_ray.ports import ClockPort, RecordStorePort

_PAGE, _MOST = 500, 5000
_LIVE = OneOf("state", tuple(state.value for state in LIVE))


class ReuseLooking:
    """Looks through the newest memories of a namespace; asking does not count as use.

    Concurrency: runs on the actor's event loop; the store is asked, and ranks are worked out, on
    `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        guard: PolicyGuard,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._executor = executor
        self.counters: Counter[str] = Counter()

    async def look(
        self, partition: int, context: CallContext, namespace: str, task: ReuseTask, limit: int
    ) -> Reuse:
        """Returns what is offered of what the caller may read; see `ShardPort`."""
        policy, now = await self._guard.ensure_for(context), self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        holding = Not(Between("valid_to", None, to_micros(now) + 1))
        wanted: Predicate = all_of(visible, _LIVE, holding)
        used: list[MemCube] = []
        after: tuple[int, str] | None = None
        seen = 0
        while seen < _MOST:
            page: list[MemCube] = await self._run(
                self._store.scan,
                *(partition, context.principal.tenant, namespace, wanted, after, _PAGE),
            )
            used += [cube for cube in page if cube.usage.tasks]
            seen += len(page)
            if len(page) < _PAGE:
                break
            after = to_micros(page[-1].descriptive.created_at), page[-1].id
        found: Reuse = await self._run(offers, task, used, limit)
        self.counters["reuse_offered"] += len(found.offers)
        return replace(found, partial=seen >= _MOST)

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


class ReuseDoors(ABC):
    """The part of `ports.ShardPort` that is about reuse; a shard is the rest."""

    _reuse: ReuseLooking

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def reuse(
        self, partition: int, context: CallContext, namespace: str, task: ReuseTask, limit: int
    ) -> Reuse:
        """Returns what alike tasks have used; see `ShardPort`."""
        await self._serve(partition)
        return await self._reuse.look(partition, context, namespace, task, limit)
