"""What a shard is asked about the life of its memories: it sweeps, for it is their only writer."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from memos_ray.actors.courtesy import Courtesy, Pressure
from memos_ray.actors.lifecycle.archiving import Outcomes, Stubs
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.receipts import Receipts
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.upkeep import Upkeep
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.lifecycle.reports import FAILED, HELD, PRUNED, SweepReport, SweepRequest
from memos_ray.core.lifecycle.sweeping import Sieve, SweepRules, Verdict, decide
from memos_ray.core.scheduling.fairness import Priority
from memos_ray.core.vault.lineage import LIFECYCLE
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Age, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError, PermissionDeniedError
from memos_ray.ports import Sifted

# What is not due costs about a microsecond, outside of Python; what is due, a hundred times that.
_PAGE = 4096
_DUE = 512
_DUE_PRESSED = 256
FILE = 2048
"""So many are archived at once: few large files cost less than many small."""
_FILE_LEAST = 512
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
        due, erasures = list[_Due](), owned.erasures
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
            due += await self._due(page, request.rules, now)
            moves[FAILED] += page.damaged
            if page.damaged:
                told = "%d memories of partition %d are due and cannot be read"
                _log.error(told, page.damaged, partition)
            done = page.seen < limit and len(page.cubes) + page.damaged < most
            over = done or seen >= request.limit or loop.time() > until
            if over or self._pressed or len(due) >= FILE:
                moves += await self._move(owned, due, erasures)
                due, erasures = [], owned.erasures
            if over:
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

    async def _due(self, page: Sifted, rules: SweepRules, now: datetime) -> list[_Due]:
        async with self._turns.turn(LIFECYCLE, Priority.BACKGROUND):
            return [
                _Due(cube, verdict, body)
                for cube, body in zip(page.cubes, page.bodies, strict=True)
                if (verdict := decide(cube, now, rules)) is not None
            ]

    async def _move(
        self, owned: OwnedPartition, due: Sequence[_Due], erasures: int
    ) -> Counter[str]:
        moves = Counter[str]({HELD: sum(one.verdict.held for one in due)})
        free = (one for one in due if not one.verdict.held)
        # They are in the order of tenants; each takes its own turns at the writer.
        for _, group in groupby(free, lambda one: one.cube.tenant):
            ones = list(group)
            texts = [one.stored() for one in ones if one.only]
            if len(texts) < _FILE_LEAST or self._pressed:
                # They follow behind, by more; under load, whoever writes meets less of it.
                texts.clear()
            outcomes = await owned.archive(texts, erasures, partial(_submit, owned, ones))
            for one, outcome in zip(ones, outcomes, strict=True):
                named = f"{one.verdict.move.value}/{one.verdict.cause.value}"
                moves[named if isinstance(outcome, Written) else FAILED] += 1
            kept = Counter(one.code for one in outcomes if isinstance(one, MemosError))
            for code, count in kept.items():
                told = "%d memories of partition %d are due and cannot be moved: %s"
                _log.warning(told, count, owned.number, code)
        return moves


async def _submit(owned: OwnedPartition, ones: Sequence[_Due], stubs: Stubs) -> Outcomes:
    context = CallContext(Principal(ones[0].cube.tenant, LIFECYCLE)).aside()
    return await owned.writer.submit([one.submission(context, stubs) for one in ones])


class _Due(NamedTuple):
    """A memory that is to be moved on, and its newest version as it rests."""

    cube: MemCube
    verdict: Verdict
    body: bytes

    @property
    def only(self) -> bool:
        """Whether it is to be archived and has one version: others may have texts of their own."""
        return self.verdict.move is Move.ARCHIVE and self.cube.version.number == 1

    def stored(self) -> StoredVersion:
        """Returns its newest version."""
        cube, info = self.cube, self.cube.version
        place = cube.tenant, cube.namespace, cube.id
        return StoredVersion(*place, info.number, info.digest, self.body)

    def submission(self, context: CallContext, stubs: Stubs) -> Submission:
        """Returns the move.

        Args:
            stubs: versions whose content is in files.
        """
        cube, (move, cause) = self.cube, (self.verdict.move, self.verdict.cause)
        stub = stubs.get(CubeKey(cube.tenant, cube.id))
        operation = Age(cube.id, move, cause, cube.version.number, stub)
        return Submission(context, Write(cube.namespace, operation, reason=cause.value))


def refuse_the_lifecycles_own(submissions: Sequence[Submission]) -> None:
    """Sees that nobody outside asks for what only age may bring about.

    Raises:
        PermissionDeniedError: somebody does.
    """
    if any(isinstance(one.write.operation, Age) for one in submissions):
        raise PermissionDeniedError("memories age by themselves")
