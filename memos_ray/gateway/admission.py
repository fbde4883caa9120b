"""Who is let in, where tenants share a gateway: so many calls a second, and searches in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memos_ray.config import LimitSettings
from memos_ray.core.scheduling.fairness import FairTurns, RateLimits
from memos_ray.errors import OverloadedError
from memos_ray.ports import ClockPort

_WAITING_MOST = 1024


class FairGate:
    """Lets calls through a few at a time, in an order that is fair to their tenants.

    Concurrency: methods run on one event loop.
    """

    def __init__(self, places: int) -> None:
        self._turns: FairTurns[asyncio.Future[None]] = FairTurns(places)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Holds one of the places while the call is under way.

        Raises:
            OverloadedError: too many calls of this tenant wait.
        """
        if self._turns.waiting(tenant) >= _WAITING_MOST:
            raise OverloadedError("too many calls of this tenant wait", waiting=_WAITING_MOST)
        begins: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _begin(self._turns.arrive(tenant, begins))
        try:
            # One that is given up while it waits still has its turn, and leaves at once.
            await asyncio.shield(begins)
        except asyncio.CancelledError:
            begins.add_done_callback(lambda _: self._left(tenant))
            raise
        try:
            yield
        finally:
            self._left(tenant)

    def _left(self, tenant: str) -> None:
        _begin(self._turns.leave(tenant))


class CallRates:
    """Refuses what a tenant calls beyond its rate; nothing is refused where there is none.

    Each call of a service counts; an answer with memory is several: its search, its beginning, and
    what is learnt from it.
    """

    def __init__(self, limits: LimitSettings, clock: ClockPort) -> None:
        self._clock = clock
        self._limits: RateLimits | None = None
        if limits.tenant_calls_per_s is not None:
            self._limits = RateLimits(limits.tenant_calls_per_s, limits.tenant_burst)

    def check(self, tenant: str) -> None:
        """Lets a call pass.

        Raises:
            OverloadedError: the tenant calls too often; `retry_after_s` says when to come back.
        """
        if self._limits is None:
            return
        wait_s = self._limits.take(tenant, self._clock.monotonic())
        if wait_s:
            raise OverloadedError("this tenant calls too often", retry_after_s=wait_s)


def _begin(calls: list[asyncio.Future[None]]) -> None:
    for begins in calls:
        begins.set_result(None)
