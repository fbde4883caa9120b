"""What a shard does on the side: writes usage and access logs, forgets replies, has it evolve."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial

from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.config import VaultSettings
from memos_ray.core.defects import describe_defect
from memos_ray.errors import InternalError, MemosError
from memos_ray.ports import ClockPort, RecordStorePort

_SWEEP_S = 600.0
_log = logging.getLogger(__name__)


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
        follow_up: Callable[[int], Awaitable[None]],
    ) -> None:
        """Takes what is done for each partition now and then, and what at every look."""
        self._store = store
        self._usage = usage
        self._clock = clock
        self._settings = settings
        self._executor = executor
        self._on_error = on_error
        self._evolve = evolve
        self._follow_up = follow_up
        self._tasks: list[asyncio.Task[None]] = []
        self._writing: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self, held: Iterable[OwnedPartition]) -> None:
        """Begins, unless it runs."""
        if not self._tasks:
            # A look for evolution takes as long as there is to be looked at; usage does not wait.
            works = (self._write_out(held), self._look(held))
            self._tasks = [asyncio.create_task(work) for work in works]

    def stop(self) -> None:
        """Ends."""
        for task in self._tasks:
            task.cancel()

    async def flush(self, owned: OwnedPartition) -> None:
        """Writes out the usage and the accesses of a partition; also what is just being written.

        The latter are told of one that has a newer owner as well.
        """
        async with self._writing[owned.number]:
            await self._flush(owned)

    async def _flush(self, owned: OwnedPartition) -> None:
        deltas, accesses = self._usage.drain(owned.number)
        store, loop = self._store, asyncio.get_running_loop()
        works: list[Callable[[], None]] = []
        if deltas:
            works.append(partial(store.add_usage, owned.number, owned.epoch, deltas))
        if accesses:
            works.append(partial(store.add_accesses, owned.number, accesses))
        for work in works:
            try:
                await loop.run_in_executor(self._executor, work)
            except MemosError as error:
                self._on_error("usage", error)

    async def _write_out(self, held: Iterable[OwnedPartition]) -> None:
        swept_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._settings.usage_flush_s)
            for owned in held:
                await self._try("usage", self.flush(owned))
            if self._clock.monotonic() - swept_at > _SWEEP_S:
                swept_at = self._clock.monotonic()
                for owned in held:
                    await self._try("replies", self._forget_replies(owned))

    async def _look(self, held: Iterable[OwnedPartition]) -> None:
        looked_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._settings.usage_flush_s)
            for owned in held:
                await self._try("extraction", self._follow_up(owned.number))
            if self._clock.monotonic() - looked_at > _SWEEP_S:
                for owned in held:
                    await self._try("evolution", self._evolve(owned.number))
                looked_at = self._clock.monotonic()

    async def _forget_replies(self, owned: OwnedPartition) -> None:
        before = self._clock.now() - timedelta(seconds=self._settings.reply_ttl_s)
        forget = self._store.forget_replies
        await asyncio.get_running_loop().run_in_executor(
            self._executor, forget, owned.number, owned.epoch, before
        )

    async def _try(self, part: str, work: Awaitable[None]) -> None:
        """Does something; whatever goes wrong, the next one has its turn."""
        try:
            await work
        except MemosError as error:
            self._on_error(part, error)
        except Exception as error:
            _log.error("%s failed: %s", part, describe_defect(error))
            self._on_error(part, InternalError("upkeep failed", kind=type(error).__name__))
