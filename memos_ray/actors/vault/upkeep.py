"""What a shard does on the side: writes usage and access logs, forgets replies, has it evolve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from datetime import timedelta

from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.config import VaultSettings
from memos_ray.errors import MemosError
from memos_ray.ports import ClockPort, RecordStorePort

_SWEEP_S = 600.0


class Upkeep:
    """Runs beside a shard until it is stopped; what fails is counted and tried again."""

    def __init__(
        self,
        *,
        store: RecordStorePort,
        usage: UsageLedger,
        clock: ClockPort,
        settings: VaultSettings,
        executor: Executor,
        on_error: Callable[[str, MemosError], None],
        evolve: Callable[[int], Awaitable[None]],
    ) -> None:
        self._store = store
        self._usage = usage
        self._clock = clock
        self._settings = settings
        self._executor = executor
        self._on_error = on_error
        self._evolve = evolve
        self._task: asyncio.Task[None] | None = None

    def start(self, held: Iterable[OwnedPartition]) -> None:
        """Begins, unless it runs."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(held))

    def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()

    async def flush(self, owned: OwnedPartition) -> None:
        """Writes out the usage and the accesses of a partition."""
        deltas, accesses = self._usage.drain(owned.number)
        store, loop = self._store, asyncio.get_running_loop()
        try:
            if deltas:
                await loop.run_in_executor(
                    self._executor, store.add_usage, owned.number, owned.epoch, deltas
                )
            if accesses:
                await loop.run_in_executor(
                    self._executor, store.add_accesses, owned.number, accesses
                )
        except MemosError as error:
            self._on_error("usage", error)

    async def _run(self, held: Iterable[OwnedPartition]) -> None:
        swept_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._settings.usage_flush_s)
            for owned in held:
                await self.flush(owned)
            if self._clock.monotonic() - swept_at > _SWEEP_S:
                swept_at = self._clock.monotonic()
                await self._sweep(held)

    async def _sweep(self, held: Iterable[OwnedPartition]) -> None:
        loop = asyncio.get_running_loop()
        before = self._clock.now() - timedelta(seconds=self._settings.reply_ttl_s)
        for owned in held:
            try:
                await loop.run_in_executor(
                    self._executor,
                    self._store.forget_replies,
                    owned.number,
                    owned.epoch,
                    before,
                )
            except MemosError as error:
                self._on_error("replies", error)
            try:
                await self._evolve(owned.number)
            except MemosError as error:
                self._on_error("evolution", error)
