"""Group commit: the one path by which a partition changes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memos_ray.actors.vault.transactions import Outcomes, Transactions, told_refusals
from memos_ray.core.defects import describe_defect
from memos_ray.core.scheduling.fairness import FairQueue, Priority, priority_of
from memos_ray.core.vault.guarding import GuardPort
from memos_ray.core.vault.log import Commit
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    AlreadyExistsError,
    FencedError,
    InternalError,
    MemosError,
    NotOwnerError,
    OverloadedError,
    StoreCorruptError,
)
from memos_ray.ports import ClockPort, RecordStorePort

_log = logging.getLogger(__name__)
_SETTLE_RETRY_S = 1.0


@dataclass(slots=True)
class _Call:
    """One caller's writes: `taken` of them are in a transaction, `outcomes` are known.

    Those of a `whole` call have a transaction of their own, and all of them an effect or none.
    """

    submissions: Sequence[Submission]
    done: asyncio.Future[Outcomes]
    whole: bool = False
    taken: int = 0
    outcomes: Outcomes = field(default_factory=list)

    @property
    def priority(self) -> Priority:
        """Of the writes of one call, which have one context."""
        return priority_of(self.submissions[0].context)


@dataclass(frozen=True, slots=True)
class _Slice:
    call: _Call
    submissions: Sequence[Submission]


class PartitionWriter:
    """Turns concurrent writes to one partition into few durable transactions.

    A write that finds the writer idle is committed at once; writes that arrive during a commit
    share the next one, up to `batch` of them. Tenants take turns for it, background work behind the
    rest, and calls that have one share it fairly, so a bulk load spans several and does not hold up
    a lone write.

    Invariants: one transaction at a time; the writes of one call keep their order; a call is
    answered only after its transactions are durable and `on_commit` has seen them; when a
    transaction fails, each of its writes gets that error and none has an effect (or, where the
    store cannot tell, the outcome is unknown, which is what idempotency keys are for); what such a
    transaction did after all is shown to `on_commit` before the next one is planned; once fenced,
    nothing is tried any more.

    Concurrency: methods run on the actor's event loop; store calls run on `executor`.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        *,
        store: RecordStorePort,
        guard: GuardPort,
        clock: ClockPort,
        executor: Executor,
        batch: int,
        queue_max: int,
        on_commit: Callable[[Commit], None],
        on_fenced: Callable[[int], None],
        counters: Counter[str],
    ) -> None:
        """Takes what it works with; `counters` are the shard's, of what quotas have refused."""
        self.partition = partition
        self.epoch = epoch
        self._transactions = Transactions(partition, epoch, store, guard, clock)
        self._executor = executor
        self._batch = batch
        self._queue_max = queue_max
        self._on_commit = on_commit
        self._on_fenced = on_fenced
        self._counters = counters
        self._waiting: FairQueue[_Call] = FairQueue()
        # Its turn has come, in another transaction than those before it.
        self._alone: _Call | None = None
        self._queued = 0
        # Unknown at first and after a failure; then `_settle` asks the store before all else.
        self._last_lsn: int | None = None
        self._seen_lsn: int | None = None
        self._running: asyncio.Task[None] | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._fenced: FencedError | None = None
        self._closed = False

    @property
    def queued(self) -> int:
        """Writes that wait for their transaction."""
        return self._queued

    @property
    def last_lsn(self) -> int | None:
        """Newest LSN known to be durable; unknown before the first commit and after a failure."""
        return self._last_lsn

    @property
    def seen_lsn(self) -> int | None:
        """Newest LSN that `on_commit` has seen; nothing before the first write.

        The log may be ahead of it: a commit is in force before its writer hears of it, and one that
        seemed to fail may be as well.
        """
        return self._seen_lsn

    async def submit(self, submissions: Sequence[Submission], *, whole: bool = False) -> Outcomes:
        """Commits writes and returns one outcome for each, in order.

        What nobody waits for (`CallContext.background`) shares no transaction with what somebody
        waits for.

        Args:
            whole: whether none is to have an effect when one cannot have it.

        Raises:
            OverloadedError: too many writes wait already; none of these was accepted.
            NotOwnerError: the writer is closed.
        """
        if self._closed:
            raise NotOwnerError("the partition has moved", partition=self.partition)
        if self._queued and self._queued + len(submissions) > self._queue_max:
            raise OverloadedError("too many writes wait", partition=self.partition)
        if not submissions:
            return []
        done: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        call = _Call(submissions, done, whole)
        self._wait(call)
        self._queued += len(submissions)
        self._start()
        outcomes = await call.done
        self._counters["quota_refused"] += told_refusals(self.partition, outcomes)
        return outcomes

    async def close(self) -> None:
        """Commits what waits and refuses the rest."""
        self._closed = True
        if self._settling is not None:
            self._settling.cancel()
        while self._running is not None:
            # Giving up the wait must not stop the writes.
            await asyncio.wait([self._running])

    def _start(self) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waits:
                group = self._take_group()
                writes = [write for part in group for write in part.submissions]
                self._answer(group, await self._outcomes(writes, group[0].call.whole))
            if self._last_lsn is None and self._fenced is None:
                await self._settle_now()
        finally:
            self._running = None
            if self._waits:
                self._start()

    async def _outcomes(self, writes: Sequence[Submission], whole: bool) -> Outcomes:
        try:
            return await self._commit(writes, whole)
        except StoreCorruptError as error:
            if whole or len(writes) == 1:
                return self._failed(error, writes)
            # Of a memory that one of them is about: the others do not fail with it.
            self._last_lsn = None
            return [one for each in writes for one in await self._outcomes([each], whole)]
        except MemosError as error:
            return self._failed(error, writes)
        except Exception as error:
            _log.error(
                "a transaction failed in partition %d: %s",
                self.partition,
                describe_defect(error),
            )
            failure = InternalError("the write failed", kind=type(error).__name__)
            return self._failed(failure, writes)

    def _next(self) -> _Call:
        alone, self._alone = self._alone, None
        return self._waiting.pop()[1] if alone is None else alone

    @property
    def _waits(self) -> bool:
        return self._alone is not None or len(self._waiting) > 0

    def _wait(self, call: _Call) -> None:
        context = call.submissions[0].context
        self._waiting.push(context.principal.tenant, call, priority=call.priority)

    def _take_group(self) -> list[_Slice]:
        calls = [self._next()]
        if calls[0].whole:
            calls[0].taken = len(calls[0].submissions)
            return [_Slice(calls[0], calls[0].submissions)]
        while len(self._waiting) and len(calls) < self._batch and self._alone is None:
            call = self._next()
            if call.whole or call.priority is not calls[0].priority:
                self._alone = call
            else:
                calls.append(call)
        shares = _shares([len(call.submissions) - call.taken for call in calls], self._batch)
        group: list[_Slice] = []
        for call, share in zip(calls, shares, strict=True):
            group.append(_Slice(call, call.submissions[call.taken : call.taken + share]))
            call.taken += share
            if call.taken < len(call.submissions):
                self._wait(call)
        return group

    async def _commit(self, writes: Sequence[Submission], whole: bool) -> Outcomes:
        if self._fenced is not None:
            raise self._fenced
        loop = asyncio.get_running_loop()
        trust_minted = True
        while True:
            last_lsn = await self._settle() if self._last_lsn is None else self._last_lsn
            try:
                commit, outcomes = await loop.run_in_executor(
                    self._executor, self._transactions.run, writes, last_lsn, trust_minted, whole
                )
            except AlreadyExistsError:
                # The plan was made from less than the store holds: an id minted twice, or a commit
                # given up for lost that came through late. Look again, and closer.
                if not trust_minted:
                    raise InternalError("the store contradicts itself") from None
                trust_minted = False
                self._last_lsn = None
            else:
                self._advance(commit)
                if _newest(outcomes) > (self._seen_lsn or 0):
                    # A replay of a commit that came through after it was given up for lost: who
                    # hears of it now may expect to find it.
                    await self._settle()
                return outcomes

    def _advance(self, commit: Commit) -> None:
        if commit.events:
            self._last_lsn = self._seen_lsn = commit.events[-1].lsn
            self._on_commit(commit)

    async def _settle(self) -> int:
        """Asks the store where the log stands, and shows `on_commit` what it has not seen.

        That is a commit of this writer whose outcome was unknown; where it is of a newer owner, the
        next commit finds the fence.
        """
        loop = asyncio.get_running_loop()
        last, missed = await loop.run_in_executor(
            self._executor, self._transactions.look, self._seen_lsn
        )
        self._last_lsn = self._seen_lsn = last
        if missed is not None:
            self._on_commit(missed)
        return last

    async def _settle_now(self) -> None:
        """Settles after a failure, so that caches do not wait for the next write to be right."""
        try:
            await self._settle()
        except Exception as error:
            if not isinstance(error, MemosError):
                _log.error(
                    "caches of partition %d may be stale: %s",
                    self.partition,
                    describe_defect(error),
                )
            elif not self._closed:
                loop = asyncio.get_running_loop()
                self._settling = loop.call_later(_SETTLE_RETRY_S, self._start)

    def _answer(self, group: Sequence[_Slice], outcomes: Outcomes) -> None:
        start = 0
        for part in group:
            call, end = part.call, start + len(part.submissions)
            self._queued -= len(part.submissions)
            call.outcomes.extend(outcomes[start:end])
            start = end
            if len(call.outcomes) == len(call.submissions) and not call.done.done():
                call.done.set_result(call.outcomes)

    def _failed(self, error: MemosError, writes: Sequence[Submission]) -> Outcomes:
        # What the store knows may differ from what this writer thinks: ask it next time.
        self._last_lsn = None
        if isinstance(error, FencedError) and self._fenced is None:
            self._closed = True
            self._fenced = error
            self._on_fenced(self.partition)
        return [error] * len(writes)


def _newest(outcomes: Outcomes) -> int:
    return max((one.lsn for one in outcomes if isinstance(one, Written)), default=0)


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Divides room fairly (max-min): nobody gets more than it wants while another goes short."""
    shares = [0] * len(wanted)
    left = len(wanted)
    for place in sorted(range(len(wanted)), key=wanted.__getitem__):
        shares[place] = min(wanted[place], room // left)
        room -= shares[place]
        left -= 1
    return shares
