"""Finds the shard of a partition, and retries what may be retried."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memos_ray.core.vault.ring import Ring
from memos_ray.errors import DeadlineExceededError, OverloadedError, UnavailableError
from memos_ray.ports import ClockPort, RingPort, ShardPort

T = TypeVar("T")

_RETRY_MIN_S = 0.05
_RETRY_MAX_S = 1.0


class Router:
    """Calls the owner of a partition.

    The ring is kept until a call fails with a retryable error; then it is fetched anew and the call
    is repeated with growing, jittered pauses, until `timeout_s` has passed.
    """

    def __init__(
        self,
        ring: RingPort,
        shard: Callable[[str], ShardPort],
        clock: ClockPort,
        timeout_s: float,
    ) -> None:
        self._source = ring
        self._shard = shard
        self._clock = clock
        self._timeout_s = timeout_s
        self._ring: Ring | None = None

    async def ring(self) -> Ring:
        """Returns the ring in use."""
        if self._ring is None:
            self._ring = await self._source.ring()
        return self._ring

    async def call(self, partition: int, act: Callable[[ShardPort, int], Awaitable[T]]) -> T:
        """Carries out `act(shard, attempt)` on the partition's owner; attempts count from 0.

        Raises:
            MemosError: what the shard raised, when a retry cannot help or has not in time.
        """
        deadline = self._clock.monotonic() + self._timeout_s
        pause_s = _RETRY_MIN_S
        attempt = 0
        while True:
            try:
                ring = await self.ring()
                return await act(self._shard(ring.owner(partition)), attempt)
            except (OverloadedError, DeadlineExceededError):
                raise
            except UnavailableError:
                self._ring = None
                if self._clock.monotonic() + pause_s > deadline:
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _RETRY_MAX_S)
            attempt += 1
