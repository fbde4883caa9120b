"""Follows the log for extraction: what is to be read, and what becomes of what was derived."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any

from memos_ray.actors.extraction.book import ExtractionBook
from memos_ray.actors.extraction.earlier import Earlier
from memos_ray.actors.extraction.following import Following
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.descent import Descent
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.actors.vault.submitting import SubmittingPort
from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.cube.payload import ArchivedRef, ParameterRef, Plaintext
from memos_ray.core.defects import describe_defect
from memos_ray.core.extraction import (
    Marked,
    Sources,
    due,
    ids_of,
    jobs_of,
    set_aside,
)
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.vault.entries import EXTRACT, LABELLED, changes, extraction_wanted
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.core.vault.operations import Age
from memos_ray.errors import (
    ClientError,
    FrozenError,
    InternalError,
    LegalHoldError,
    MemosError,
    StoreCorruptError,
    UnavailableError,
    VersionConflictError,
)
from memos_ray.ports import EventQuery, RecordStorePort

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
                Change.RELEASE,
            )
        ),
    )
)
# What an adapter has said is not of one memory: only how these stand matters, not what they say.
_MOVING = frozenset(
    (
        ERASE,
        Change.SHARE.value,
        Change.DELETE.value,
        Change.RESTORE.value,
        Change.EXPIRE.value,
    )
)
_KEPT = (FrozenError, LegalHoldError)
# Whoever restores something, or has it say again what it said, may do so while its source is gone,
# or says something else.
_FREED = frozenset(
    change.value for change in (Change.UNFREEZE, Change.RELEASE, Change.RESTORE, Change.ROLLBACK)
)
# Of one memory, whatever else the store holds; all other errors are of the store or the shard.
_OF_ONE = (ClientError, StoreCorruptError, InternalError)
_TRIES = 3
_AGAIN_MOST = 256
_log = logging.getLogger(__name__)


def concerns(commit: Commit, extracted: bool) -> bool:
    """Tells whether a commit has anything that `ExtractConsumer` acts on.

    Args:
        extracted: whether anything was made of memories in the partition, ever, by extraction, by
            evolution or of an adapter. Receipts wait for erasures in any case.
    """
    followed = _FOLLOWED if extracted else (ERASE,)
    return any(event.operation in followed or EXTRACT in event.detail for event in commit.events)


class ExtractConsumer:
    """Makes jobs of marked memories, and has what was derived follow its sources.

    What was extracted from a memory, or made of it otherwise, is told by the log's own entries
    about that memory, which nobody can change and which stay when it is erased.

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
        submit: SubmittingPort,
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
        self._now = now
        self._position = position
        self._window = window
        self._tokens = tokens
        self._counters = counters
        self._descent = Descent(store, executor)
        self._earlier = Earlier(partition, store, executor)
        self._following = Following(
            partition,
            store=store,
            executor=executor,
            submit=submit,
            guard=guard,
            counters=counters,
        )

    async def consume(self, events: Sequence[Event]) -> None:
        """Does what the events ask for; a second time it does nothing more."""
        done = [event for event in events if event.outcome is Outcome.DONE and event.cube_id]
        await self._plan([event for event in done if EXTRACT in event.detail], events[0].lsn)
        if not self._book.extracted(self._partition):
            return
        gone = {_key(event) for event in done if event.operation == ERASE}
        if gone:
            await self._book.erased(self._partition, gone, events[0].lsn)
            for key in gone:
                # Whatever has the id next has nothing to follow.
                await self._book.follows(self._partition, key)
            for tenant, namespace in {
                (e.tenant, e.namespace) for e in done if e.operation == ERASE
            }:
                await self._book.forget_names(Place(self._partition, tenant, namespace))
        followed = [one for one in done if one.operation in _FOLLOWED and changes(one)]
        for key in dict.fromkeys(map(_key, followed)):
            await self._follow(key, [event for event in done if _key(event) == key])
        for event in done:
            if event.operation in _FREED:
                if changes(event):
                    await self._freed(_key(event))
                else:
                    # It cannot be read: what waited for its release is known beside it.
                    await self.again([_key(event)])

    async def outdated(self) -> bool:
        """Jobs rest with the memories; they do not get lost apart. Those at rest are read here."""
        await self._book.load(self._partition)
        if not self._book.caught_up(self._partition):
            await self._catch_up()
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

    async def _follow(self, key: CubeKey, events: Sequence[Event]) -> None:
        """Has everything follow that was made of a memory.

        Args:
            events: about the memory; behind its erasure, its id may have been given anew.
        """
        erased = max((event.lsn for event in events if event.operation == ERASE), default=0)
        moving = any(event.operation in _MOVING or LABELLED in event.detail for event in events)
        for child in await self._descent.children(self._partition, key, by_adapters=moving):
            gone = {key.id} if child.lsn < erased else set[str]()
            await self._derived(CubeKey(key.tenant, child.id), child.namespace, gone)
        if any(LABELLED in event.detail for event in events):
            for parameter in await self._earlier.learners(key):
                await self._derived(CubeKey(key.tenant, parameter.id), parameter.namespace, set())

    async def _catch_up(self) -> None:
        """Has all follow that an earlier version of this program has stored and did not follow."""
        found = [head async for head in self._earlier.parameters()]
        if found:
            await self._book.tell(self._partition, found[0].tenant)
        if self._book.extracted(self._partition):
            found += [head async for head in self._earlier.gone()]
        for head in found:
            key = CubeKey(head.tenant, head.id)
            # What was set aside is tried again in any case.
            if self._book.aside(self._partition, key) is None:
                await self._derived(key, head.namespace, set())
        await self._book.note_caught_up(self._partition)

    async def _freed(self, key: CubeKey) -> None:
        """Has a memory follow what it was made of, which it did not while it was otherwise."""
        heads = await self._run(self._store.heads, self._partition, [key])
        if key not in heads:
            return
        made = isinstance(heads[key].payload, ParameterRef)
        for source in ids_of(heads[key]):
            # What only names a source was not made of it.
            made = made or await self._descent.made_of(
                self._partition, CubeKey(key.tenant, source), key.id
            )
        if made:
            await self._derived(key, heads[key].namespace, set())

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
        except _KEPT as error:
            if before is None:
                self._counters["extraction_kept"] += 1
                _log.warning("an extracted memory stays beyond its source: %s", error.code)
            # What is erased stays so, whatever has its id when this one may go at last.
            reason = error if gone else None
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
        tries, done = 0, None
        while tries < _TRIES:
            if gone:
                # To be erased, it need not be one that can be read.
                heads, _ = await self._run(whole_or_remnants, self._store, self._partition, [key])
            else:
                heads = await self._run(self._store.heads, self._partition, [key])
            if key not in heads or (gone and await self._anew(heads[key])):
                return None
            sources = Sources({}, {}, erased=True) if gone else await self._sources(heads[key])
            operation = due(heads[key], sources)
            # What was refused for good is still due, and is not asked for for ever.
            if operation is None or operation == done:
                return None
            erases = isinstance(operation, Age) and operation.move is Move.ERASE
            if isinstance(heads[key].payload, ArchivedRef) and not erases:
                return UnavailableError("the archived content cannot be read now", cube_id=key.id)
            # One thing may be due behind another.
            if await self._following.done(heads[key], operation):
                done = operation
            else:
                tries += 1
        return VersionConflictError("a memory changes all the time", cube_id=key.id)

    async def _anew(self, head: MemCube) -> bool:
        """Tells whether a memory has the id of one that was made of others and was erased since.

        What the log says of that is yet to be followed. What names no sources was made of none.
        """
        if ids_of(head):
            return False
        query = EventQuery(tenant=head.tenant, cube_id=head.id, operation=ERASE)
        place = (self._partition, self._position(), 1, query)
        return bool(await self._run(self._store.events, *place))

    async def _sources(self, derived: MemCube) -> Sources:
        tenant, descent = derived.tenant, self._descent
        now: dict[str, MemCube] = {}
        adapters = []
        heads = await self._heads(tenant, ids_of(derived))
        for id, head in heads.items():
            told = len(heads) == 1 or isinstance(derived.payload, ParameterRef)
            if head is None or isinstance(head.payload, ParameterRef) or not told:
                # Text that an adapter was taught names the adapter, too, and what is overtaken
                # names what it is overtaken by: it is not made of these.
                key = CubeKey(tenant, id)
                if not await descent.made_of(self._partition, key, derived.id):
                    continue
                if head is None:
                    return Sources({}, {}, erased=True)
                if isinstance(head.payload, ParameterRef):
                    adapters.append(head)
            now[id] = head
        for adapter in adapters:
            for id, head in (await self._heads(tenant, ids_of(adapter))).items():
                if head is not None and isinstance(head.payload, Plaintext | ArchivedRef):
                    now[id] = head
                elif head is None:
                    key = CubeKey(tenant, id)
                    if await descent.learnt(self._partition, key, adapter.id):
                        return Sources({}, {}, erased=True)
        return Sources(now, await self._before(derived, now))

    async def _before(self, derived: MemCube, now: Mapping[str, MemCube]) -> dict[str, MemCube]:
        """Returns the versions that something was made of, where these are not the newest."""
        then = {}
        for source in derived.descriptive.sources:
            head = now.get(source.cube_id or "")
            if head is None or source.version in (None, head.version.number):
                continue
            key = CubeKey(derived.tenant, head.id)
            before = await self._run(self._store.version, self._partition, key, source.version)
            if before is not None:
                then[head.id] = before
        return then

    async def _heads(self, tenant: str, ids: Sequence[str]) -> dict[str, MemCube | None]:
        keys = [CubeKey(tenant, id) for id in ids]
        found: dict[CubeKey, MemCube] = await self._run(self._store.heads, self._partition, keys)
        return {key.id: found.get(key) for key in keys}

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _key(event: Event) -> CubeKey:
    return CubeKey(event.tenant, event.cube_id or "")
