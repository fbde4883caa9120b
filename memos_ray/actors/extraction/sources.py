"""Reads what a job is about, with the rights of who stored it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.core.cube.predicate import Between, OneOf, all_of
from memos_ray.core.extraction import Job, SourceTurn, turns_of
from memos_ray.core.lifecycle.states import GONE, LIVE, lifespan_over
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import PermissionDeniedError, UnavailableError
from memos_ray.ports import ClockPort, RecordStorePort


@dataclass(frozen=True, slots=True)
class ExtractionSources:
    """Finds the memories of jobs, and those that help to understand them.

    Attributes:
        context: how many of the latter.
    """

    store: RecordStorePort
    guard: PolicyGuard
    usage: UsageLedger
    clock: ClockPort
    executor: Executor
    context: int

    async def read(self, partition: int, job: Job) -> tuple[SourceTurn, ...]:
        """Returns what a model is to be shown; nothing when no memory is left to read.

        Raises:
            PermissionDeniedError: whoever stored a memory may not read it any more.
            UnavailableError: its content cannot be had now.
        """
        policy = await self.guard.ensure_for(job.context)
        keys = [CubeKey(job.tenant, id) for id in job.ids]
        heads: dict[CubeKey, MemCube] = await self._run(self.store.heads, partition, keys)
        window = [head for key in keys if (head := heads.get(key)) and self._readable(job, head)]
        now = self.clock.now()
        for head in window:
            decision = policy.decide(job.context, Action.READ, facets_of(head), head.namespace, now)
            if not decision.allowed:
                raise PermissionDeniedError("the memory may not be read any more", cube_id=head.id)
        before = await self._before(partition, job, window[0], policy) if window else []
        self.usage.read(partition, job.context, "extract", job.namespace, [*before, *window], now)
        return turns_of(before, window)

    def _readable(self, job: Job, head: MemCube) -> bool:
        if head.state in GONE or lifespan_over(head, self.clock.now()):
            return False
        if isinstance(head.payload, ArchivedRef):
            raise UnavailableError("the archived content cannot be read now", cube_id=head.id)
        same = (head.namespace, head.governance.owner) == (job.namespace, job.owner)
        return same and isinstance(head.payload, Plaintext) and bool(head.text.strip())

    async def _before(
        self, partition: int, job: Job, first: MemCube, policy: TenantPolicy
    ) -> Sequence[MemCube]:
        setting = first.descriptive.setting
        if setting.conversation is None or not setting.position or not self.context:
            return []
        now = self.clock.now()
        where = all_of(
            OneOf("conversation", (setting.conversation,)),
            Between("position", max(setting.position - self.context, 0), setting.position),
            OneOf("owner", (job.owner,)),
            OneOf("state", tuple(state.value for state in LIVE)),
            policy.permit(job.context, Action.READ, job.namespace, now),
        )
        found: list[MemCube] = await self._run(
            self.store.scan, partition, job.tenant, job.namespace, where, None, self.context
        )
        texts = [cube for cube in found if isinstance(cube.payload, Plaintext) and cube.text]
        return sorted(texts, key=lambda cube: cube.descriptive.setting.position or 0)

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.executor, act, *values)
