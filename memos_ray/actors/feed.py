"""Consumers of a partition's log: what follows a write without delaying it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.set_aside import MOST, EntriesAside, of_one
from memos_ray.core.defects import describe_defect
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.errors import FencedError, InternalError, MemosError
from memos_ray.ports import RecordStorePort

LOG_BATCH = 4096
"""Entries at once for consumers that most of them do not concern."""

_log = logging.getLogger(__name__)
_LATE = "late"
_PAGE = 256
_TRIES = 3
_AGAIN_S = 600.0
_RETRY_MIN_S = 0.2
_RETRY_MAX_S = 10.0


class Consumer(Protocol):
    """Handles log entries; called again with the same ones after a failure or a crash."""

    async def consume(self, events: Sequence[Event]) -> None:
        """Does what the events ask for; idempotent.

        Raises:
            MemosError: when it could not; the feed backs off and tries again.
        """
        ...

    async def outdated(self) -> bool:
        """Tells whether what was consumed has been lost, so that all must be consumed again."""
        ...

    async def reset(self) -> None:
        """Empties the consumer's side, once the cursor is back at the beginning."""
        ...


class LogFeed:
    """Walks a partition's log from a durable cursor and hands it to one consumer.

    The outbox pattern: the log entry is written in the transaction of the change itself, so no
    change is missed, and the cursor moves only after the consumer has done its work, so none is
    skipped. Delivery is at least once and in order. It is background work, and takes its turn by
    `courtesy`.

    An entry that cannot be taken for a reason of its own does not stop those behind it: after a few
    tries entries are handed over one by one, and the bad ones are set aside, to be tried again now
    and then, when more is heard of their memory, and by the next owner. What is `settled` about
    other memories does not wait for them. An entry that was taken before all that it speaks of was
    there is owed in the same way (`owing`).

    Args:
        name: of the consumer, for messages.
        cursor: name of the cursor; it belongs to what has been fed, and survives the feed.
        ceiling: how far to go at most; nothing sets no limit.
        look_s: how often to ask whether what was consumed is still there when nothing happens.
        batch: most entries to hand over at once.
        begin: where to begin on a log that was never followed: what is up to there concerns the
            consumer in no case. At its beginning when absent.
        overlooks: whether it passes over bad entries where no more can be set aside, for what is
            behind them matters more; they stop it there otherwise.
        passed: tells how far the consumer knows the log without being given it, from a position on.
    """

    def __init__(
        self,
        name: str,
        partition: int,
        epoch: int,
        *,
        cursor: str,
        store: RecordStorePort,
        executor: Executor,
        consumer: Consumer,
        ceiling: Callable[[], int | None],
        look_s: float | None = None,
        batch: int = _PAGE,
        begin: Callable[[], Awaitable[int]] | None = None,
        passed: Callable[[int], int] | None = None,
        on_moved: Callable[[], None] | None = None,
        overlooks: bool = False,
        courtesy: Courtesy,
        on_fenced: Callable[[int], None],
        on_error: Callable[[str, MemosError], None],
    ) -> None:
        self.name = name
        self.position = 0
        self.stalled_by: str | None = None
        """Code of the error that keeps it from going on; nothing while it does."""
        self._partition = partition
        self._epoch = epoch
        self._cursor = cursor
        self._store = store
        self._executor = executor
        self._consumer = consumer
        self._ceiling = ceiling
        self._look_s = look_s
        self._batch = batch
        self._begin = begin
        self._passed = passed
        self._on_moved = on_moved
        self._overlooks = overlooks
        self._courtesy = courtesy
        self._on_fenced = on_fenced
        self._on_error = on_error
        self._aside = EntriesAside(partition, epoch, cursor, store, executor)
        self._owing = asyncio.Lock()
        self._failed = 0
        self._again_at = 0.0
        self._behind_since: float | None = asyncio.get_running_loop().time()
        self._news = asyncio.Event()
        self._moved = asyncio.Condition()
        self._task = asyncio.create_task(self._run())

    def settled(self, lsn: int, keys: Set[CubeKey]) -> bool:
        """Tells whether every entry about these memories has been consumed up to an LSN."""
        return self.position >= lsn and not self._aside.about(keys, lsn)

    @property
    def aside(self) -> int:
        """How many entries are set aside, those of earlier owners included."""
        return len(self._aside)

    @property
    def behind_s(self) -> float:
        """For how long it has not been level with what it might take; 0 while it is."""
        since = self._behind_since
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def notify(self) -> None:
        """Says that the log has grown, or that what was consumed may be lost."""
        self._news.set()

    @asynccontextmanager
    async def owing(self, events: Sequence[Event]) -> AsyncIterator[None]:
        """Has entries taken once more behind a block in which what they speak of comes about.

        They are owed before it begins, so that nothing is lost when it is cut off.

        Raises:
            FencedError: a newer owner holds the partition.
            StoreError: they cannot be written down.
        """
        async with self._owing:
            try:
                for event in events:
                    await self._aside.add(event, _LATE)
                yield
            finally:
                self._again_at = 0.0
                self.notify()

    async def reached(self, lsn: int) -> None:
        """Waits until everything up to an LSN has been consumed."""
        with self._courtesy:
            async with self._moved:
                await self._moved.wait_for(lambda: self.position >= lsn)

    async def close(self) -> None:
        """Stops; what was under way is done again by the next owner."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        retry_s = _RETRY_MIN_S
        started = False
        while True:
            try:
                if not started:
                    await self._start(loop)
                    started = True
                await self._step(loop)
                retry_s = _RETRY_MIN_S
            except FencedError:
                self._on_fenced(self._partition)
                return
            except Exception as error:
                found = self._named(error)
                self.stalled_by = found.code
                self._on_error(self.name, found)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _RETRY_MAX_S)

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        position = await loop.run_in_executor(
            self._executor, self._store.cursor, self._partition, self._cursor
        )
        await self._aside.load()
        # The position is shown only when what was consumed up to it is known to be there.
        if await self._consumer.outdated():
            await self._start_over()
        elif position or self._begin is None:
            await self._show(position)
        else:
            await self._store_position(await self._begin())

    async def _start_over(self) -> None:
        async with self._owing:
            await self._store_position(0)
            await self._aside.clear()
            await self._consumer.reset()

    async def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        self._news.clear()
        if await self._consumer.outdated():
            await self._start_over()
        if self._aside and loop.time() >= self._again_at:
            await self._courtesy.turn()
            async with self._owing:
                await self._aside.again(self._consumer.consume)
                self._again_at = loop.time() + _AGAIN_S
        asked_at = loop.time()
        # What is set aside may wait for what has been done to its memory since.
        if self._passed is not None and not self._aside:
            known = self._passed(self.position)
            if known > self.position:
                await self._store_position(known)
        events = await loop.run_in_executor(
            self._executor, self._store.events, self._partition, self.position, self._batch
        )
        more, top = len(events) == self._batch, self._ceiling()
        if top is not None and events and events[-1].lsn > top:
            more, events = False, [event for event in events if event.lsn <= top]
        if not events:
            self.stalled_by = self._behind_since = None
            looks = [s for s in (self._look_s, _AGAIN_S if self._aside else None) if s is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(looks, default=None)):
                    await self._news.wait()
                    self._behind_since = loop.time()
            return
        await self._courtesy.turn()
        try:
            await self._consumer.consume(events)
        except Exception as error:
            self._failed += 1
            if self._failed < _TRIES or not of_one(error):
                raise
            await self._one_by_one(events)
        else:
            if self._aside.about({CubeKey(one.tenant, one.cube_id or "") for one in events}):
                # What has been done to the memory may have mended that, or taken it away.
                self._again_at = 0.0
        self._failed = 0
        await self._store_position(events[-1].lsn)
        self.stalled_by = None
        if not more:
            # With what has come since, it is no further behind than that.
            self._behind_since = asked_at

    async def _one_by_one(self, events: Sequence[Event]) -> None:
        """Hands over entries each by itself, and sets aside those that cannot be taken."""
        for event in events:
            try:
                await self._consumer.consume([event])
            except Exception as error:
                full = len(self._aside) >= MOST
                if not of_one(error) or (full and not self._overlooks):
                    raise
                found = self._named(error)
                if not full:
                    await self._aside.add(event, found.code)
                what = "passed over" if full else "set aside"
                _log.warning("%s: entry %d is %s: %s", self.name, event.lsn, what, found.code)
                self._on_error(f"{self.name}_aside", found)

    def _named(self, error: Exception) -> MemosError:
        """Returns an error of ours for any."""
        if isinstance(error, MemosError):
            return error
        _log.error(
            "%s failed in partition %d: %s", self.name, self._partition, describe_defect(error)
        )
        return InternalError("a consumer failed", kind=type(error).__name__)

    async def _store_position(self, lsn: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._executor, self._store.advance, self._partition, self._epoch, self._cursor, lsn
        )
        await self._show(lsn)

    async def _show(self, lsn: int) -> None:
        async with self._moved:
            self.position = lsn
            self._moved.notify_all()
        if self._on_moved is not None:
            self._on_moved()
