"""Organises memories behind the log: finds duplicates and what newer facts have overtaken."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.extraction.asking import Asking
from memos_ray.actors.organising.book import OrganisingBook, settled
from memos_ray.actors.organising.browsing import Browser
from memos_ray.actors.organising.topics import TopicKeeper
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.embedding import touched_keys
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.actors.vault.salvaging import readable
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.organising import (
    Kind,
    OrganisingReport,
    Proposal,
    Proposed,
    ShownProposal,
    in_order,
    judge,
    propose,
    statements,
    writes_of,
)
from memos_ray.core.scheduling.fairness import Priority
from memos_ray.core.vault.log import CubeKey, Event, Outcome
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    IllegalStateError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
)
from memos_ray.ports import ClockPort, RecordStorePort

WritingAll = Callable[[int, Sequence[Submission]], Awaitable[list[Written]]]
Trusting = Callable[[Place, int, str], Awaitable[bool]]
Comparing = Callable[[Sequence[Event], Courtesy], Awaitable[None]]

SURE = 0.8
"""From this confidence on, what is proposed is done at once where that is asked for."""

_ALIKE, _RIVALS = 16, 64
_AT_ONCE = 16
_ITSELF = "organiser"
_FOUND = {Kind.DUPLICATE: "duplicates", Kind.SUPERSESSION: "supersessions"}
_DONE = {Kind.DUPLICATE: "merged", Kind.SUPERSESSION: "superseded"}
_REST, _REST_MOST_S = 4.0, 0.25
_log = logging.getLogger(__name__)


class Organiser:
    """Compares each new memory with those that may say the same or else, and proposes.

    Bounded: a memory is compared with at most some eighty others, which share its rarest words or
    have the words of the same statement; a namespace beyond the memory budget is left alone.

    Whoever accepts a proposal changes the memories with the own rights. What is done at once is
    done with the rights of who asked for it (see `TenantPolicy.acting`).

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        residency: Residency,
        reader: RecordReader,
        guard: PolicyGuard,
        clock: ClockPort,
        executor: Executor,
        write_all: WritingAll,
        turns: FairGate,
        trusted: Trusting,
        asking: Callable[[], Asking | None],
    ) -> None:
        """Takes its parts.

        Args:
            turns: of whatever keeps the event loop busy.
            trusted: tells whether a memory is a section of a trusted source.
            asking: the model that names topics, if there is one.
        """
        self._trusted = trusted
        self._turns = turns
        self.book = OrganisingBook(store, executor)
        self.topics = TopicKeeper(residency, executor, asking)
        self.browser = Browser(
            self.topics,
            store=store,
            residency=residency,
            reader=reader,
            guard=guard,
            clock=clock,
            executor=executor,
        )
        self._store = store
        self._residency = residency
        self._reader = reader
        self._guard = guard
        self._clock = clock
        self._executor = executor
        self._write_all = write_all
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What has been found, done and refused since the start."""
        return self._counts + self.topics.counters

    async def close(self) -> None:
        """Stops what is asked of a model."""
        await self.topics.close()

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self.book.drop(partition)
        self.topics.drop(partition)

    async def look(self, partition: int, events: Sequence[Event], courtesy: Courtesy) -> None:
        """Compares what log entries speak of, as it is now."""
        keys = touched_keys(events)
        for start in range(0, len(keys), _AT_ONCE):
            began = asyncio.get_running_loop().time()
            await self._look(partition, keys[start : start + _AT_ONCE], courtesy)
            await courtesy.turn()
            # Nobody waits for it: searches have the loop four fifths of the time.
            took_s = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(_REST * took_s, _REST_MOST_S))
        done = [event for event in events if event.outcome is Outcome.DONE and event.cube_id]
        named = dict.fromkeys((event.tenant, event.namespace) for event in done)
        await self.topics.tend([Place(partition, *one) for one in named], courtesy)

    async def _look(self, partition: int, keys: Sequence[CubeKey], courtesy: Courtesy) -> None:
        heads, damaged = await self._readable(partition, keys)
        gone = [key for key in keys if key not in heads and key not in damaged]
        await self.book.forget(partition, gone)
        for cube in heads.values():
            if cube.state not in LIVE or not isinstance(cube.payload, Plaintext):
                continue
            if cube.descriptive.valid_to is None and not cube.frozen:
                await self._compare(Place(partition, cube.tenant, cube.namespace), cube, courtesy)
                await asyncio.sleep(0)

    async def report(self, place: Place, context: CallContext, lag: int) -> OrganisingReport:
        """Returns what is proposed about memories that the caller may read.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
        """
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.READ, place.namespace, self._clock.now())
        shown = []
        for proposal in await self.book.of(place):
            one = await self._show(place, context, proposal)
            if one is not None:
                shown.append(one)
        automatic = await self.book.automatic(place) is not None
        return OrganisingReport(tuple(shown), automatic, lag)

    async def settle(
        self, place: Place, context: CallContext, id: str, *, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal.

        Raises:
            NotFoundError: there is none that the caller may see.
            PermissionDeniedError: the caller may not change the memories.
            IllegalStateError: it has been decided, or does not hold any more.
            VersionConflictError: a memory was changed meanwhile.
        """
        proposal = await self.book.get(place, id)
        shown = None if proposal is None else await self._show(place, context, proposal)
        if proposal is not None and shown is None and await self._pair(place, context, proposal):
            raise (
                IllegalStateError("this does not hold any more", proposal=id)
                if proposal.state is Proposed.OPEN
                else settled(proposal)
            )
        if proposal is None or shown is None:
            raise NotFoundError("there is no such proposal", proposal=id)
        if proposal.state is not Proposed.OPEN:
            raise settled(proposal)
        if accept:
            await self._accept(place, context, shown)
        else:
            policy = await self._guard.ensure_for(context)
            for cube in (shown.older, shown.newer):
                facets, now = facets_of(cube), self._clock.now()
                policy.require(context, Action.UPDATE, facets, place.namespace, now)
        decided = replace(proposal, state=Proposed.ACCEPTED if accept else Proposed.REFUSED)
        await self.book.put(place, decided)
        done = _DONE[proposal.kind] if accept else "refused"
        self._counts[f"organise_{done}"] += 1
        by = "at once" if context.application == _ITSELF else "by a caller"
        _log.info("organising: partition %d: %s, %s", place.partition, done, by)
        return replace(shown, proposal=decided)

    async def automate(self, place: Place, context: CallContext, *, automatic: bool) -> None:
        """Has what is sure done at once in a namespace, or only proposed.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
            PermissionDeniedError: the caller does not administer the namespace.
        """
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        policy.require_namespace(context, Action.READ, place.namespace, now)
        if not policy.may_administer(context, place.namespace, now):
            raise PermissionDeniedError(
                "only administrators of a namespace have it organised", namespace=place.namespace
            )
        await self.book.automate(place, context.principal.id if automatic else None)

    async def _compare(self, place: Place, cube: MemCube, courtesy: Courtesy) -> None:
        index = await self._residency.index(place, courtesy)
        if index is None:
            return
        setting = cube.descriptive.setting
        async with self._turns.turn(place.tenant, Priority.BACKGROUND):
            # A turn is nothing's duplicate.
            near = index.alike(cube.id, _ALIKE) if setting.position is None else []
            for statement in statements(cube.text, setting.speaker):
                near += index.worded(statement.cues, _RIVALS)
        keys = [CubeKey(cube.tenant, id) for id in dict.fromkeys(near) if id != cube.id]
        if not keys:
            return
        others, _ = await self._readable(place.partition, keys)
        self._counts["organise_compared"] += len(others)
        for key in keys:
            other = others.get(key)
            judgement = None if other is None else judge(cube, other)
            if other is None or judgement is None:
                continue
            proposal = propose(cube, other, judgement, self._clock.now())
            if await self.book.add(place, proposal):
                self._counts[f"organise_{_FOUND[proposal.kind]}"] += 1
                _log.info(
                    "organising: partition %d: a %s was found", place.partition, proposal.kind.value
                )
                await self._at_once(place, proposal)

    async def _readable(
        self, partition: int, keys: Sequence[CubeKey]
    ) -> tuple[dict[CubeKey, MemCube], list[CubeKey]]:
        """Returns heads, and of which there is one that cannot be read: nothing is said of it."""
        found: tuple[dict[CubeKey, MemCube], list[CubeKey]]
        found = await self._run(readable, self._store, partition, keys)
        return found

    async def _at_once(self, place: Place, proposal: Proposal) -> None:
        principal = await self.book.automatic(place)
        if principal is None or proposal.confidence < SURE:
            return
        epoch = self.book.epoch(place.partition)
        for id in (proposal.older, proposal.newer):
            if await self._trusted(place, epoch, id):
                # What a trusted source says is overruled by nobody unasked.
                return
        try:
            policy = await self._guard.ensure(place.tenant)
            acting = policy.acting(principal, place.namespace)
            context = replace(acting, application=_ITSELF).aside()
            await self.settle(place, context, proposal.id, accept=True)
        except MemosError as error:
            # It stays a proposal, for somebody who may.
            _log.info("organising: a proposal was not carried out: %s", error.code)

    async def _accept(self, place: Place, context: CallContext, shown: ShownProposal) -> None:
        now = self._clock.now()
        writes = writes_of(shown.proposal.kind, shown.older, shown.newer, now)
        # In one commit: half of a merge would leave the same thing said twice, under one's tags.
        await self._write_all(place.partition, [Submission(context, write) for write in writes])

    async def _show(
        self, place: Place, context: CallContext, proposal: Proposal
    ) -> ShownProposal | None:
        """A proposal as it stands now; nothing when it is hidden, or does not hold any more."""
        pair = await self._pair(place, context, proposal)
        if pair is None:
            return None
        older, newer = in_order(*pair)
        judgement = judge(older, newer)
        same = judgement is not None and judgement.kind is proposal.kind
        if judgement is None or not same or older.id != proposal.older:
            return None
        return ShownProposal(proposal, older, newer, judgement.reasons)

    async def _pair(
        self, place: Place, context: CallContext, proposal: Proposal
    ) -> tuple[MemCube, MemCube] | None:
        """The memories of a proposal; nothing when one of them is hidden, or cannot be read."""
        ids = [proposal.older, proposal.newer]
        try:
            one, other = await self._reader.get(place.partition, context, ids)
        except StoreCorruptError:
            return None
        return None if one is None or other is None else (one, other)

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


class OrganiseConsumer:
    """Hands one partition's log to the organiser, and on. Implements `feed.Consumer`.

    Args:
        then: compares the same entries with something else; idempotent, too.
    """

    def __init__(
        self, partition: int, organiser: Organiser, courtesy: Courtesy, then: Comparing
    ) -> None:
        self._partition = partition
        self._organiser = organiser
        self._courtesy = courtesy
        self._then = then

    async def consume(self, events: Sequence[Event]) -> None:
        """Compares what the events speak of."""
        await self._organiser.look(self._partition, events, self._courtesy)
        await self._then(events, self._courtesy)

    async def outdated(self) -> bool:
        """Proposals rest with the memories; they do not get lost apart."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""
