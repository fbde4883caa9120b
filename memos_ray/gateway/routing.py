"""Gathers lone writes on their way to a shard."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from memos_ray.actors.routing import Router as Router
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError

_LANE_BATCH = 512
_LANE_CALLS = 2


@dataclass(slots=True)
class _Waiting:
    submissions: Sequence[Submission]
    done: asyncio.Future[list[Written | MemosError]]


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    calls: set[asyncio.Task[None]] = field(default_factory=set)


class WriteLanes:
    """Gathers concurrent writes of one tenant to one partition into few calls.

    A write that finds its lane free leaves at once; others wait for one of two calls under way to
    return and then leave together. A remote call costs a millisecond, whether it carries one write
    or five hundred. Tenants have lanes of their own, so that none waits behind another here; in the
    shard they take turns.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._lanes: dict[tuple[int, str], _Lane] = {}

    async def submit(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Returns one outcome for each write, in order.

        Raises:
            MemosError: the shard could not be reached in time, or is overloaded.
        """
        tenant = submissions[0].context.principal.tenant if submissions else ""
        key = (partition, tenant)
        lane = self._lanes.setdefault(key, _Lane())
        waiting = _Waiting(submissions, asyncio.get_running_loop().create_future())
        lane.waiting.append(waiting)
        self._depart(key, lane)
        return await waiting.done

    def _depart(self, key: tuple[int, str], lane: _Lane) -> None:
        if not lane.waiting and not lane.calls:
            self._lanes.pop(key, None)
        if not lane.waiting or len(lane.calls) >= _LANE_CALLS:
            return
        group = [lane.waiting.popleft()]
        size = len(group[0].submissions)
        while lane.waiting and size + len(lane.waiting[0].submissions) <= _LANE_BATCH:
            group.append(lane.waiting.popleft())
            size += len(group[-1].submissions)
        call = asyncio.create_task(self._carry(key[0], group))
        lane.calls.add(call)

        def returned(task: asyncio.Task[None]) -> None:
            lane.calls.discard(task)
            self._depart(key, lane)

        call.add_done_callback(returned)

    async def _carry(self, partition: int, group: Sequence[_Waiting]) -> None:
        submissions = [one for waiting in group for one in waiting.submissions]
        try:
            outcomes = await self._router.call(
                partition,
                lambda shard, attempt: shard.write(
                    partition, submissions if attempt == 0 else _retried(submissions)
                ),
            )
        except BaseException as error:
            # Whatever it was, those who wait must hear of it.
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
            if isinstance(error, MemosError):
                return
            raise
        start = 0
        for waiting in group:
            end = start + len(waiting.submissions)
            if not waiting.done.done():
                waiting.done.set_result(outcomes[start:end])
            start = end


def _retried(submissions: Sequence[Submission]) -> list[Submission]:
    return [replace(one, write=replace(one.write, retried=True)) for one in submissions]
