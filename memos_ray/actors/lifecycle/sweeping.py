"""What a shard is asked about the life of its memories: it sweeps, for it is their only writer."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from itertools import groupby

from memos_ray.actors.courtesy import Courtesy, Pressure
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.receipts import Receipts
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.upkeep import Upkeep
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.lifecycle.reports import FAILED, HELD, PRUNED, SweepReport, SweepRequest
from memos_ray.core.lifecycle.sweeping import Sieve, SweepRules, Verdict, decide
from memos_ray.core.scheduling.fairness import Priority
from memos_ray.core.vault.lineage import LIFECYCLE
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Age, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError, PermissionDeniedError

# What is not due costs about a microsecond, outside of Python; what is due, a hundred times that.
_PAGE = 4096
_DUE = 512
_DUE_PRESSED = 256
# A shard answers by then, however much there is to do: whoever asked wants to know.
_PIECE_S = 5.0
_log = logging.getLogger(__name__)
# Under load it takes a twentieth of the time: so few searches meet a piece of it that the 95th
# percentile of them all is that of those that meet none. It never gets less: a page waits for two
# seconds at most.
_TIMES = 24.0


def sweeping_courtesy(pressing: Callable[[], bool]) -> Courtesy:
    """Makes what all pieces of a shard's sweeps wait by: each goes on from the one before."""
    return Courtesy(pressing, times=_TIMES)


class LifecycleDoors(ABC):
    """The part of `ports.ShardPort` that is about the life of memories; a shard is the rest."""

    _parts: ShardParts
    _executor: Executor
    _pressure: Pressure
    _reading: Pressure
    _upkeep: Upkeep
    _receipts: Receipts
    _counters: Counter[str]
    _turns: FairGate
    _sweeping: Courtesy

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def sweep(self, partition: int, request: SweepRequest) -> SweepReport:
        """Moves memories on that are due; see `ShardPort`."""
        owned = await self._serve(partition)
        # What was read a moment ago counts as used.
        await self._upkeep.flush(owned)
        loop, store = asyncio.get_running_loop(), self._parts.store
        after = CubeKey(*request.after) if request.after else None
        seen, moves, until = 0, Counter[str](), loop.time() + _PIECE_S
        while True:
            await self._sweeping.turn()
            limit = min(_PAGE, request.limit - seen)
            most = _DUE_PRESSED if self._pressed else _DUE
            now = self._parts.clock.now()
            sieve = Sieve.of(request.rules, now)
            page = await loop.run_in_executor(
                self._executor, store.sift, partition, after, limit, most, sieve
            )
            seen, after = seen + page.seen, page.last or after
            moves += await self._move(owned, page.cubes, request.rules, now)
            moves[FAILED] += page.damaged
            if page.damaged:
                told = "%d memories of partition %d are due and cannot be read"
                _log.error(told, page.damaged, partition)
            done = page.seen < limit and len(page.cubes) + page.damaged < most
            if done or seen >= request.limit or loop.time() > until:
                break
        place = None if done or after is None else (after.tenant, after.id)
        archived = sum(n for name, n in moves.items() if name.startswith(f"{Move.ARCHIVE.value}/"))
        owned.put_away(archived, last=place is None)
        if place is None:
            await owned.tidy()
            if request.rules.receipts_s is not None:
                keep = timedelta(seconds=request.rules.receipts_s)
                moves[PRUNED] += await self._receipts.prune(partition, keep)
        for name, count in moves.items():
            self._counters[f"lifecycle_{name.partition('/')[0]}"] += count
        return SweepReport(seen, dict(+moves), place)

    @property
    def _pressed(self) -> bool:
        """Whether somebody writes or searches: then a sweep takes smaller steps."""
        return self._pressure.pressing or self._reading.pressing

    async def _move(
        self, owned: OwnedPartition, page: Sequence[MemCube], rules: SweepRules, now: datetime
    ) -> Counter[str]:
        moves = Counter[str]()
        due: list[tuple[MemCube, Verdict]] = []
        async with self._turns.turn(LIFECYCLE, Priority.BACKGROUND):
            for cube in page:
                verdict = decide(cube, now, rules)
                if verdict is None:
                    continue
                if verdict.held:
                    moves[HELD] += 1
                else:
                    due.append((cube, verdict))
        # A page is in the order of tenants; each takes its own turns at the writer.
        for _, group in groupby(due, lambda one: one[0].tenant):
            ones = list(group)
            outcomes = await owned.writer.submit([_submission(cube, why) for cube, why in ones])
            for (_, verdict), outcome in zip(ones, outcomes, strict=True):
                done = isinstance(outcome, Written)
                moves[f"{verdict.move.value}/{verdict.cause.value}" if done else FAILED] += 1
            kept = Counter(one.code for one in outcomes if isinstance(one, MemosError))
            for code, count in kept.items():
                told = "%d memories of partition %d are due and cannot be moved: %s"
                _log.warning(told, count, owned.number, code)
        return moves


def refuse_the_lifecycles_own(submissions: Sequence[Submission]) -> None:
    """Sees that nobody outside asks for what only age may bring about.

    Raises:
        PermissionDeniedError: somebody does.
    """
    if any(isinstance(one.write.operation, Age) for one in submissions):
        raise PermissionDeniedError("memories age by themselves")


def _submission(cube: MemCube, verdict: Verdict) -> Submission:
    context = CallContext(Principal(cube.tenant, LIFECYCLE)).aside()
    operation = Age(cube.id, verdict.move, verdict.cause, cube.version.number)
    return Submission(context, Write(cube.namespace, operation, reason=verdict.cause.value))
