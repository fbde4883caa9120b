"""Whose turn it is, where tenants and background work share what only a few can have at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memos_ray.core.scheduling.fairness import FairTurns, Priority
from memos_ray.errors import OverloadedError

_WAITING_MOST = 1024


class FairGate:
    """Lets calls through a few at a time, in an order that is fair to their tenants.

    Background work waits for the calls that somebody waits for, but for one turn in eight.

    Attributes:
        counters: `turns_foreground` and `turns_background`, those given; `turns_waited` of them,
            which had to wait, and `turns_refused`.

    Concurrency: methods run on one event loop.
    """

    def __init__(self, places: int) -> None:
        self.counters: Counter[str] = Counter()
        self._turns: FairTurns[asyncio.Future[None]] = FairTurns(places)

    @asynccontextmanager
    async def turn(
        self, tenant: str, priority: Priority = Priority.FOREGROUND
    ) -> AsyncIterator[None]:
        """Holds one of the places while the call is under way.

        Raises:
            OverloadedError: too many calls of this tenant wait.
        """
        if self._turns.waiting(tenant) >= _WAITING_MOST:
            self.counters["turns_refused"] += 1
            raise OverloadedError("too many calls of this tenant wait", waiting=_WAITING_MOST)
        self.counters[f"turns_{priority.name.lower()}"] += 1
        begins: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _begin(self._turns.arrive(tenant, begins, priority))
        self.counters["turns_waited"] += not begins.done()
        try:
            if not begins.done():
                # One that is given up while it waits still has its turn, and leaves at once.
                await asyncio.shield(begins)
        except asyncio.CancelledError:
            begins.add_done_callback(lambda _: self._left(tenant, priority))
            raise
        try:
            yield
        finally:
            self._left(tenant, priority)

    def _left(self, tenant: str, priority: Priority) -> None:
        _begin(self._turns.leave(tenant, priority))


def _begin(calls: list[asyncio.Future[None]]) -> None:
    for begins in calls:
        begins.set_result(None)
