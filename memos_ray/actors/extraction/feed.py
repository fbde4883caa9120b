"""Follows the log for extraction: what is to be read, and what becomes of what was extracted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from typing import Any

from memos_ray.actors.extraction.book import ExtractionBook
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.core.defects import describe_defect
from memos_ray.core.extraction import Marked, Sources, deleted, due, ids_of, jobs_of, set_aside
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.vault.entries import DERIVE, DERIVED, EXTRACT, extraction_wanted
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.core.vault.operations import Age, Operation, Share, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    ClientError,
    FrozenError,
    IllegalStateError,
    InternalError,
    LegalHoldError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
    UnavailableError,
    VersionConflictError,
)
from memos_ray.ports import EventQuery, RecordStorePort

EXTRACTION = "service:extraction"
"""Who the log says has had memories follow what they were extracted from."""

Submitting = Callable[[Sequence[Submission]], Awaitable[list[Written | MemosError]]]

_FOLLOWED = frozenset(
    (
        ERASE,
        *(
            change.value
            for change in (
                Change.APPEND,
                Change.MERGE,
                Change.OVERWRITE,
                Change.ROLLBACK,
                Change.SHARE,
                Change.DELETE,
                Change.RESTORE,
                Change.EXPIRE,
                Change.UNFREEZE,
            )
        ),
    )
)
_KEPT = (FrozenError, LegalHoldError)
# Of one memory, whatever else the store holds; all other errors are of the store or the shard.
_OF_ONE = (ClientError, StoreCorruptError, InternalError)
_REFUSED = (PermissionDeniedError, NotFoundError, IllegalStateError)
_MADE_MOST = 1000
_TRIES = 3
_AGAIN_MOST = 256
_log = logging.getLogger(__name__)


def concerns(commit: Commit, extracted: bool) -> bool:
    """Tells whether a commit has anything that `ExtractConsumer` acts on.

    Args:
        extracted: whether anything was made of memories in the partition, ever, by extraction or
            by evolution. Receipts wait for erasures in any case.
    """
    followed = _FOLLOWED if extracted else (ERASE,)
    return any(event.operation in followed or EXTRACT in event.detail for event in commit.events)


class ExtractConsumer:
    """Makes jobs of marked memories, and has what was extracted follow its sources.

    What was extracted from a memory is told by the log's own entries about that memory, which
    nobody can change and which stay when it is erased.

    What cannot follow for a reason of its own, such as content in an archive file that is lost, is
    set aside and tried again after growing pauses: no other memory waits for it.

    Args:
        submit: commits writes.
        window: memories of one job, at most.
        position: how far the log has been consumed.
        tokens: of the memories of one job, at most.
    """

    def __init__(
        self,
        partition: int,
        *,
        book: ExtractionBook,
        store: RecordStorePort,
        executor: Executor,
        submit: Submitting,
        guard: PolicyGuard,
        now: Callable[[], datetime],
        position: Callable[[], int],
        window: int,
        tokens: int,
        counters: Counter[str],
    ) -> None:
        self._partition = partition
        self._book = book
        self._store = store
        self._executor = executor
        self._submit = submit
        self._guard = guard
        self._now = now
        self._position = position
        self._window = window
        self._tokens = tokens
        self._counters = counters

    async def consume(self, events: Sequence[Event]) -> None:
        """Does what the events ask for; a second time it does nothing more."""
        done = [event for event in events if event.outcome is Outcome.DONE and event.cube_id]
        await self._plan([event for event in done if EXTRACT in event.detail], events[0].lsn)
        if not self._book.extracted(self._partition):
            return
        gone = {_key(event) for event in done if event.operation == ERASE}
        if gone:
            await self._book.erased(self._partition, gone)
            for tenant, namespace in {
                (e.tenant, e.namespace) for e in done if e.operation == ERASE
            }:
                await self._book.forget_names(Place(self._partition, tenant, namespace))
        for key in dict.fromkeys(map(_key, (one for one in done if one.operation in _FOLLOWED))):
            erased = [e.lsn for e in done if e.operation == ERASE and _key(e) == key]
            await self._follow(key, max(erased, default=0))
        for event in done:
            if event.operation == Change.UNFREEZE.value:
                await self._thawed(_key(event))

    async def outdated(self) -> bool:
        """Jobs rest with the memories; they do not get lost apart. Those at rest are read here."""
        await self._book.load(self._partition)
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    async def _plan(self, events: Sequence[Event], first: int) -> None:
        if first > self._position():
            # Those of an entry that was set aside before have long been written down.
            await self._book.discard(self._partition, first)
        if not events:
            return
        heads: dict[CubeKey, MemCube] = await self._run(
            self._store.heads, self._partition, [_key(event) for event in events]
        )
        marked = []
        for event in events:
            head, context = heads.get(_key(event)), extraction_wanted(event)
            if head is None or context is None or head.state not in LIVE:
                continue
            if isinstance(head.payload, Plaintext):
                marked.append(Marked(event.lsn, context, head))
        for job in jobs_of(marked, self._window, self._tokens):
            await self._book.put(self._partition, job)
            self._counters["extraction_jobs"] += 1

    async def _follow(self, key: CubeKey, erased: int) -> None:
        """Has everything follow that was extracted from a memory.

        Args:
            erased: LSN of its erasure, if there was one; an id may have been given anew since.
        """
        query = EventQuery(tenant=key.tenant, cube_id=key.id, operation=DERIVE)
        after = 0
        while True:
            told: list[Event] = await self._run(
                self._store.events, self._partition, after, _MADE_MOST, query
            )
            for event in told:
                gone = {key.id} if event.lsn < erased else set[str]()
                derived = CubeKey(key.tenant, str(event.detail[DERIVED]))
                await self._derived(derived, event.namespace, gone)
            if len(told) < _MADE_MOST:
                return
            after = told[-1].lsn

    async def _thawed(self, key: CubeKey) -> None:
        """Has a memory follow what it was made of, which it could not while it was frozen."""
        heads = await self._run(self._store.heads, self._partition, [key])
        for source in ids_of(heads[key]) if key in heads else ():
            query = EventQuery(tenant=key.tenant, cube_id=source, operation=DERIVE)
            told = await self._run(self._store.events, self._partition, 0, _MADE_MOST, query)
            # What only names a source was not made of it.
            if any(event.detail[DERIVED] == key.id for event in told):
                await self._derived(key, heads[key].namespace, set())
                return

    async def again(self, keys: Sequence[CubeKey] | None = None) -> None:
        """Has memories that were set aside follow now: these, or those whose pause is over."""
        asides, now = self._book.asides(self._partition), self._now()
        if keys is None:
            wanted = [one for one in asides if one.not_before <= now][:_AGAIN_MOST]
        else:
            wanted = [one for one in asides if one.key in keys]
        for one in wanted:
            await self._derived(one.key, one.namespace, set(one.gone))

    async def _derived(self, key: CubeKey, namespace: str, gone: set[str]) -> None:
        """Has a memory follow its sources; what keeps it from that sets it aside."""
        before = self._book.aside(self._partition, key)
        gone = gone.union(before.gone if before else ())
        reason: MemosError | None
        try:
            reason = await self._followed(key, gone)
        except _OF_ONE as error:
            reason = error
        except MemosError:
            raise
        except Exception as error:
            _log.error("a memory does not follow its sources: %s", describe_defect(error))
            reason = InternalError("a memory does not follow", kind=type(error).__name__)
        if reason is not None:
            await self._set_aside(key, namespace, gone, reason)
        elif await self._book.follows(self._partition, key):
            self._counters["extraction_aside_followed"] += 1

    async def _set_aside(
        self, key: CubeKey, namespace: str, gone: set[str], reason: MemosError
    ) -> None:
        try:
            heads = await self._run(self._store.heads, self._partition, [key])
        except StoreCorruptError:
            heads = {}
        before = self._book.aside(self._partition, key)
        # Whose it is cannot be told of one that cannot be read: who administers the namespace sees.
        owner = heads[key].governance.owner if key in heads else ""
        one = set_aside(key, namespace, owner, gone, reason.code, before, self._now())
        await self._book.set_aside(self._partition, one)
        if before is None:
            self._counters["extraction_aside"] += 1
            _log.warning(
                "partition %d: an extracted memory does not follow its source and is set aside: %s",
                self._partition,
                reason.code,
            )

    async def _followed(self, key: CubeKey, gone: set[str]) -> MemosError | None:
        """Does what is due about a memory; returns what keeps it from that, if something does."""
        for _ in range(_TRIES):
            heads = await self._run(self._store.heads, self._partition, [key])
            if key not in heads:
                return None
            operation = due(heads[key], await self._sources(heads[key], gone))
            if operation is None:
                return None
            erases = isinstance(operation, Age) and operation.move is Move.ERASE
            if isinstance(heads[key].payload, ArchivedRef) and not erases:
                return UnavailableError("the archived content cannot be read now", cube_id=key.id)
            if await self._done(heads[key], operation):
                return None
        return VersionConflictError("a memory changes all the time", cube_id=key.id)

    async def _sources(self, derived: MemCube, gone: set[str]) -> Sources:
        keys = [CubeKey(derived.tenant, id) for id in ids_of(derived) if id not in gone]
        heads: dict[CubeKey, MemCube] = await self._run(self._store.heads, self._partition, keys)
        now = {key.id: head for key, head in heads.items()}
        then = {}
        for source in derived.descriptive.sources:
            head = now.get(source.cube_id or "")
            if head is None or source.version in (None, head.version.number):
                continue
            key = CubeKey(derived.tenant, head.id)
            before = await self._run(self._store.version, self._partition, key, source.version)
            if before is not None:
                then[head.id] = before
        return Sources(now, then)

    async def _done(self, derived: MemCube, operation: Operation) -> bool:
        """Carries an operation out; tells whether nothing is left to do.

        What only marks or narrows is a change with the owner's rights; where these do not suffice,
        what would stay too open is deleted.
        """
        context = CallContext(Principal(derived.tenant, EXTRACTION))
        if not isinstance(operation, Age):
            # Nobody's call may have brought it yet.
            policy = await self._guard.ensure(derived.tenant)
            context = policy.acting(derived.governance.owner, derived.namespace)
        context = replace(context, application="extraction").aside()
        write = Write(derived.namespace, operation, reason=Cause.LINEAGE.value)
        (outcome,) = await self._submit([Submission(context, write)])
        if isinstance(outcome, Written):
            name = operation.move.value if isinstance(operation, Age) else "marked"
            self._counters[f"extraction_{name}"] += 1
            return True
        if isinstance(outcome, VersionConflictError):
            return False
        if isinstance(outcome, _KEPT):
            self._counters["extraction_kept"] += 1
            _log.warning("an extracted memory stays beyond its source: %s", outcome.code)
            return True
        if isinstance(outcome, _REFUSED) and not isinstance(operation, Age):
            if isinstance(operation, Share):
                return await self._done(derived, deleted(derived))
            self._counters["extraction_unmarked"] += 1
            return True
        raise outcome

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _key(event: Event) -> CubeKey:
    return CubeKey(event.tenant, event.cube_id or "")
