"""MemLifecycle: keeps the schedule by which memories age. The shards do the work.

It holds nothing that matters: where a sweep stands is a document of the control store, written
behind each piece, and a piece that is done twice does nothing the second time. While it is away,
memories age by the clock all the same; only what a sweep records and collects waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import orjson

from memos_ray.config import LifecycleSettings
from memos_ray.core.defects import describe_defect
from memos_ray.core.lifecycle.reports import LifecycleStatus, SweepReport, SweepRequest, added
from memos_ray.core.lifecycle.sweeping import SweepRules
from memos_ray.core.vault.log import ControlChange
from memos_ray.errors import MemosError, VersionConflictError
from memos_ray.ports import ClockPort, ControlStorePort, RingPort, ShardPort

_log = logging.getLogger(__name__)

_CLUSTER = ""
_KIND = "lifecycle"
_RETRY_S = 5.0


class MemLifecycle:
    """The schedule. Implements `ports.LifecyclePort`.

    Concurrency: one sweep at a time; whoever asks for one while it runs waits for its end.
    """

    def __init__(
        self,
        control: ControlStorePort,
        ring: RingPort,
        shard: Callable[[str], ShardPort],
        clock: ClockPort,
        settings: LifecycleSettings,
    ) -> None:
        self._control = control
        self._ring = ring
        self._shard = shard
        self._clock = clock
        self._settings = settings
        self._rules = SweepRules(
            settings.cold_heat,
            settings.unused_s,
            settings.deleted_s,
            settings.expired_s,
            settings.receipts_s,
        )
        self._status = LifecycleStatus(settings.enabled)
        self._total: dict[str, int] = {}
        self._schedule: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[LifecycleStatus] | None = None
        # Since when all but those that fail are done.
        self._held_up_at: float | None = None

    async def start(self) -> None:
        """Begins to sweep by itself, where the settings want that; idempotent."""
        ended = self._schedule is None or self._schedule.done()
        if ended and self._settings.enabled:
            self._schedule = asyncio.create_task(self._run())

    async def status(self) -> LifecycleStatus:
        """Says how the lifecycle stands."""
        return self._status

    async def sweep(self) -> LifecycleStatus:
        """Sweeps all partitions and returns how that went; joins a sweep that is under way.

        Raises:
            MemosError: a shard could not be reached or failed; asking again goes on from there.
        """
        if self._sweep is None:
            self._sweep = asyncio.create_task(self._sweep_all())
            self._sweep.add_done_callback(self._swept)
        return await asyncio.shield(self._sweep)

    async def close(self) -> None:
        """Stops; the next start goes on from the last piece."""
        tasks = [task for task in (self._schedule, self._sweep) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
                pause_s = self._settings.pause_s
            except MemosError as error:
                _log.warning("a sweep stopped, and will go on: %s", error.code)
                pause_s = min(_RETRY_S, self._settings.pause_s)
            except Exception as error:
                _log.error("a sweep failed, and will go on: %s", describe_defect(error))
                pause_s = self._settings.pause_s
            await asyncio.sleep(pause_s)

    def _swept(self, sweep: asyncio.Task[LifecycleStatus]) -> None:
        self._sweep = None
        if not sweep.cancelled():
            # Heard, also when nobody waits for it any more.
            sweep.exception()

    async def _sweep_all(self) -> LifecycleStatus:
        ring = await self._ring.ring()
        progress = await asyncio.to_thread(_Progress.load, self._control)
        if self._held_up_s() >= self._settings.pause_s:
            # Nor does one that can never be swept: the others are due again.
            progress.go_round()
            self._held_up_at = None
        left = [p for p in range(len(ring.owners)) if p not in progress.done]
        seen = 0
        moves: dict[str, int] = {}
        failed: MemosError | None = None
        for place, partition in enumerate(left):
            try:
                while True:
                    self._show(True, len(left) - place, seen, moves)
                    report = await self._piece(partition, progress.after(partition))
                    seen, moves = seen + report.seen, added(moves, report.moves)
                    self._total = added(self._total, report.moves)
                    progress.move(partition, report.after)
                    await asyncio.to_thread(progress.store, self._control)
                    if report.after is None:
                        break
            except MemosError as error:
                # One partition that cannot be swept does not keep the others from it.
                failed = failed or error
        if failed is not None:
            self._held_up_at = self._clock.monotonic() - self._held_up_s()
            self._show(False, len(ring.owners) - len(progress.done), seen, moves, failed.code)
            raise failed
        self._held_up_at = None
        progress.begin_anew()
        await asyncio.to_thread(progress.store, self._control)
        self._show(False, 0, seen, moves, finished_at=self._clock.now())
        return self._status

    def _held_up_s(self) -> float:
        return 0.0 if self._held_up_at is None else self._clock.monotonic() - self._held_up_at

    async def _piece(self, partition: int, after: tuple[str, str] | None) -> SweepReport:
        request = SweepRequest(self._rules, after, self._settings.batch)
        # The ring is asked each time: partitions move while a sweep runs.
        ring = await self._ring.ring()
        return await self._shard(ring.owner(partition)).sweep(partition, request)

    def _show(
        self,
        sweeping: bool,
        left: int,
        seen: int,
        moves: dict[str, int],
        error: str | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        self._status = LifecycleStatus(
            self._settings.enabled,
            sweeping,
            left,
            finished_at or self._status.finished_at,
            seen,
            moves,
            self._total,
            error,
        )


class _Progress:
    """How far a sweep has come, as a document of the cluster."""

    def __init__(self, done: set[int], places: dict[int, tuple[str, str]], revision: int) -> None:
        self.done = done
        self._places = places
        self._revision = revision

    @classmethod
    def load(cls, control: ControlStorePort) -> _Progress:
        """Reads it; a sweep that nobody has begun has done nothing."""
        record = control.get(_CLUSTER, _KIND, _KIND)
        if record is None:
            return cls(set(), {}, 0)
        body = orjson.loads(record.body)
        places = {int(number): (place[0], place[1]) for number, place in body["places"].items()}
        return cls(set(body["done"]), places, record.revision)

    def after(self, partition: int) -> tuple[str, str] | None:
        """Returns where to go on in a partition."""
        return self._places.get(partition)

    def move(self, partition: int, after: tuple[str, str] | None) -> None:
        """Notes how far a partition has come; nothing says that it is done."""
        self._places.pop(partition, None)
        if after is None:
            self.done.add(partition)
        else:
            self._places[partition] = after

    def go_round(self) -> None:
        """Has those that are done swept again; the others go on where they are."""
        self.done.clear()

    def begin_anew(self) -> None:
        """Notes that all partitions are done."""
        self.done.clear()
        self._places.clear()

    def store(self, control: ControlStorePort) -> None:
        """Writes it; what another incarnation has written meanwhile stays, for both do the same."""
        places = {str(number): place for number, place in self._places.items()}
        body = orjson.dumps({"done": sorted(self.done), "places": places})
        try:
            control.commit([ControlChange(_CLUSTER, _KIND, _KIND, body, self._revision)], [])
            self._revision += 1
        except VersionConflictError:
            record = control.get(_CLUSTER, _KIND, _KIND)
            self._revision = 0 if record is None else record.revision
