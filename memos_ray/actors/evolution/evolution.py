"""Lets memories evolve by what becomes of them: keeps opinions, proposes, carries out, undoes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.evolution.book import EvolutionBook
from memos_ray.actors.evolution.opinions import IMPLICIT
from memos_ray.actors.evolution.promotions import Promotions
from memos_ray.actors.evolution.usefulness import Usefulness
from memos_ray.actors.evolution.wording import Wording, WritingAll
from memos_ray.actors.extraction.asking import Asking
from memos_ray.actors.patience import patiently
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_namespace
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of, to_micros
from memos_ray.core.cube.identity import new_id
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import OneOf
from memos_ray.core.defects import describe_defect
from memos_ray.core.evolution import (
    EvolutionMode,
    EvolutionReport,
    Evolved,
    EvolvedState,
    ShownEvolution,
    Verdict,
    fresh_promotions,
    outdated_promotions,
    parts_of,
    split_of,
    summaries_of,
    undoing,
    writes_of,
)
from memos_ray.core.evolution.proposals import EvolutionKind, repeated, text_of
from memos_ray.core.lifecycle.states import GONE, LIVE
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FencedError,
    IllegalStateError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    PermissionDeniedError,
)
from memos_ray.ports import ClockPort, RecordStorePort

_PAGE, _PAGES = 256, 40
_MOST_OPEN, _MOST_SHOWN = 200, 200
_TALKS = 4096
_MOST_HEARD = 20_000
_ENTROPY_BYTES, _PARTITION_BYTES = 8, 2
_LIVE = OneOf("state", tuple(state.value for state in LIVE))
_log = logging.getLogger(__name__)


class Evolution(Usefulness):
    """What a shard knows of the use of memories, and does about it.

    Whoever accepts a split or a summary owns all of its memories, and what is made is owned by the
    same: no access changes. Promotions are for who may promote. What is done at once is done with
    the rights of who has set that (see `TenantPolicy.acting`).

    Bounded: a look reads at most some ten thousand memories of a namespace, page by page, and
    leaves at most some hundred proposals open.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        reader: RecordReader,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
        write_all: WritingAll,
        pressing: Callable[[], bool],
        promotions: Promotions,
        asking: Asking | None,
    ) -> None:
        super().__init__(store=store, reader=reader, usage=usage, clock=clock, executor=executor)
        self.book = EvolutionBook(store, executor)
        self._promotions = promotions
        self._guard = guard
        self._write_all = write_all
        self._courtesy = Courtesy(pressing)
        self._wording = Wording(
            asking,
            book=self.book,
            store=store,
            reader=reader,
            guard=guard,
            usage=usage,
            clock=clock,
            executor=executor,
            write_all=write_all,
            courtesy=Courtesy(pressing),
            counters=self.counters,
        )
        self._forgetting: set[asyncio.Task[None]] = set()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self.opinions.open(partition, epoch)
        self.book.open(partition, epoch)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self.opinions.drop(partition)
        self.book.drop(partition)
        for talk in [talk for talk in self._talks if talk[0].partition == partition]:
            del self._talks[talk]

    async def report(self, place: Place, context: CallContext) -> EvolutionReport:
        """Says how a namespace evolves, to who may read it; see `ShardPort`."""
        await self._require(place, context)
        proposals = []
        for one in await self._proposals(place):
            shown = await self._show(place, context, one)
            if shown is not None:
                proposals.append(shown)
        known = await self.opinions.of(place.partition)
        ids = [key.id for key in known if key.tenant == place.tenant]
        ids = sorted(ids, key=lambda id: -abs(self.worth(place, [id]).get(id, 0.0)))[:_MOST_SHOWN]
        found = await self._reader.peek(place.partition, context, ids) if ids else []
        here = [one.id for one in found if one is not None and one.namespace == place.namespace]
        worth = self.worth(place, here)
        ranked = dict(sorted(worth.items(), key=lambda one: (-one[1], one[0])))
        mode, _ = await self.book.mode(place)
        return EvolutionReport(mode, tuple(proposals), ranked)

    async def set_mode(self, place: Place, context: CallContext, mode: EvolutionMode) -> None:
        """Sets what happens by itself; see `ShardPort`."""
        await self._require_administrator(place, context)
        await self.book.set_mode(place, mode, context.principal.id)

    async def look(self, place: Place, context: CallContext) -> int:
        """Looks for what use suggests now; see `ShardPort`. Returns how much is new."""
        await self._require_administrator(place, context)
        with self._courtesy:
            return await self._look(place, context)

    async def tick(self, partition: int) -> None:
        """Looks where that is to be done by itself; what is found is done where that is set."""
        # Those of memories whose erasure was cut off go now, if nobody has asked before.
        await self.opinions.of(partition)
        await self.book.tidy(partition)
        await self._wording.resume(partition)
        failed: MemosError | None = None
        for place in await self.book.watched(partition):
            try:
                await self._look(place, await self._acting(place))
            except (FencedError, NotOwnerError):
                raise
            except MemosError as error:
                # Such as a memory that cannot be read: no other namespace waits for it.
                failed = failed or error
            except Exception as error:
                # The others, and all else that is done on the side, go on.
                _log.error("a look for evolution failed: %s", describe_defect(error))
                self.counters["evolution_defects"] += 1
        if failed is not None:
            raise failed

    async def settle(
        self, place: Place, context: CallContext, id: str, verdict: Verdict
    ) -> ShownEvolution:
        """Accepts, refuses or undoes; see `ShardPort`."""
        known = await self.book.one(place, id)
        shown = await self._show(place, context, known) if known else None
        if shown is None:
            raise NotFoundError("there is no such proposal", proposal=id)
        wanted = EvolvedState.ACCEPTED if verdict is Verdict.UNDO else EvolvedState.OPEN
        if shown.proposal.state is not wanted:
            state = shown.proposal.state.value
            raise IllegalStateError("this has been decided", proposal=id, state=state)
        promotion = shown.proposal.kind is EvolutionKind.PROMOTION
        heads = [] if promotion else await self._owned(place, context, shown.proposal)
        match verdict:
            case Verdict.ACCEPT if promotion:
                (minted,) = self._minted(place, 1)
                made = await self._promotions.carry_out(place, context, shown.proposal, minted)
                decided = replace(shown.proposal, state=EvolvedState.ACCEPTED, made=(made,))
            case Verdict.ACCEPT:
                await self._wording.want(place, shown.proposal)
                decided = await self._accept(place, context, shown.proposal, heads)
            case Verdict.UNDO:
                writes = await self._undoing(place, context, shown.proposal)
                await self._write_all(
                    place.partition, [Submission(context, write) for write in writes]
                )
                decided = replace(shown.proposal, state=EvolvedState.UNDONE)
            case Verdict.REFUSE:
                if promotion:
                    await self._promotions.refuse(place, context, shown.proposal)
                decided = replace(shown.proposal, state=EvolvedState.REFUSED)
        await self.book.put(place, decided)
        if decided.kind is EvolutionKind.SUMMARY and decided.state is EvolvedState.ACCEPTED:
            self._wording.begin(place, id)
        self.counters[f"evolution_{decided.state.value}"] += 1
        _log.info("evolution: %s %s: %s", decided.kind.value, id, decided.state.value)
        return replace(shown, proposal=decided)

    async def close(self) -> None:
        """Leaves what is put into words to the next owner."""
        await self._wording.close()

    def erased(self, partition: int, keys: Sequence[CubeKey]) -> None:
        """Removes what is known of memories that are gone, behind their erasure."""
        task = asyncio.create_task(self._forget(partition, keys))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, partition: int, keys: Sequence[CubeKey]) -> None:
        async def forget() -> None:
            # Where another owner has the partition, it finds them without their memories.
            with suppress(NotOwnerError, FencedError):
                await self.opinions.forget(partition, keys)
                await self.book.forget(partition, keys)

        try:
            await patiently(forget, "what is said of erased memories")
        except MemosError as error:
            _log.error("what is said of erased memories is left: %s", error.code)

    async def _look(self, place: Place, context: CallContext) -> int:
        known = await self.opinions.of(place.partition)
        candidates: list[MemCube] = []
        found: list[Evolved] = []
        now, after = self._clock.now(), None
        for _ in range(_PAGES):
            await self._courtesy.turn()
            page: list[MemCube] = await self._run(
                self._store.scan,
                *(place.partition, place.tenant, place.namespace, _LIVE, after, _PAGE),
            )
            for cube in page:
                heard = known.get(CubeKey(cube.tenant, cube.id), {}).get(IMPLICIT)
                split = split_of(cube, heard.parts, now) if heard else None
                if split is not None:
                    found.append(split)
            candidates += page
            if len(page) < _PAGE:
                break
            last = page[-1]
            after = to_micros(last.descriptive.created_at), last.id
        found += summaries_of(candidates, now)
        return await self._add(place, found, *await self._promotions.suggested(place, context))

    async def _add(
        self,
        place: Place,
        found: Sequence[Evolved],
        promotions: Sequence[Evolved],
        decided: frozenset[tuple[str, Form]],
    ) -> int:
        """Writes down what is new, and withdraws promotions that pay no longer.

        Args:
            decided: the models and forms of which all that pays is in `promotions`.
        """
        before = await self.book.of(place)
        outdated = outdated_promotions(promotions, before, decided)
        await self.book.withdraw(place, outdated)
        self.counters["evolution_withdrawn"] += len(outdated)
        known = {one.id: one for one in before if one not in outdated}
        found = [*found, *fresh_promotions(promotions, list(known.values()))]
        room = _MOST_OPEN - sum(one.state is EvolvedState.OPEN for one in known.values())
        fresh = [one for one in found if not (one.id in known or repeated(one, known.values()))]
        fresh = fresh[: max(room, 0)]
        for one in fresh:
            await self.book.put(place, one)
            self.counters["evolution_proposed"] += 1
            _log.info("evolution: %s %s is proposed", one.kind.value, one.id)
        mode, _ = await self.book.mode(place)
        if mode is EvolutionMode.AUTOMATIC:
            context = await self._acting(place)
            open_ = [one for one in known.values() if one.state is EvolvedState.OPEN]
            for one in (*open_, *fresh):
                await self._at_once(place, context, one)
        return len(fresh)

    async def _acting(self, place: Place) -> CallContext:
        """Returns with whose rights something is done by itself: of who has set that."""
        _, principal = await self.book.mode(place)
        acting = (await self._guard.ensure(place.tenant)).acting(principal, place.namespace)
        return replace(acting, application="evolution").aside()

    async def _at_once(self, place: Place, context: CallContext, proposal: Evolved) -> None:
        try:
            await self.settle(place, context, proposal.id, Verdict.ACCEPT)
        except MemosError as error:
            # It stays a proposal, for somebody who may.
            _log.info("evolution: a proposal was not carried out: %s", error.code)

    async def _accept(
        self, place: Place, context: CallContext, proposal: Evolved, heads: Sequence[MemCube]
    ) -> Evolved:
        # After a crash behind the commit the same writes are made again, and have happened.
        count = len(parts_of(heads[0].text)) if proposal.kind is EvolutionKind.SPLIT else 1
        writes = writes_of(proposal, heads, self._minted(place, count))
        written = await self._write_all(
            place.partition, [Submission(context, write) for write in writes]
        )
        made = tuple((one.cube_id, one.version) for one in written[:count])
        away = tuple(one.version for one in written[count:])
        return replace(proposal, state=EvolvedState.ACCEPTED, made=made, put_away=away)

    async def _undoing(self, place: Place, context: CallContext, proposal: Evolved) -> list[Write]:
        """The writes that take a proposal back; of a lesson that is under way, its end."""
        writes = undoing(proposal)
        if proposal.form is Form.PARAMETER:
            ids = [id for id, _ in proposal.made]
            await self._promotions.stop(place, context, ids)
            keys = [CubeKey(place.tenant, id) for id in ids]
            heads = await self._run(self._store.heads, place.partition, keys)
            if all(head.state in GONE for head in heads.values()):
                # It has led to nothing, or that is deleted already.
                return []
            if None in await self._reader.peek(place.partition, context, ids):
                raise PermissionDeniedError("only who may have what was learnt takes it back")
        return writes

    def _minted(self, place: Place, count: int) -> list[str]:
        at_ms = to_micros(self._clock.now()) // 1000
        ending = place.partition.to_bytes(_PARTITION_BYTES, "big")
        return [new_id(at_ms, os.urandom(_ENTROPY_BYTES) + ending) for _ in range(count)]

    async def _show(
        self, place: Place, context: CallContext, proposal: Evolved
    ) -> ShownEvolution | None:
        """A proposal, when the caller may read all that it is about."""
        ids = [id for id, _ in proposal.sources]
        heads = await self._reader.peek(place.partition, context, ids)
        cubes = [head for head in heads if head is not None]
        if len(cubes) < len(ids):
            return None
        if proposal.kind is EvolutionKind.SPLIT:
            return ShownEvolution(proposal, tuple(parts_of(cubes[0].text)))
        if proposal.kind is EvolutionKind.PROMOTION:
            return ShownEvolution(proposal, ())
        if proposal.state is EvolvedState.ACCEPTED:
            made = [id for id, _ in proposal.made]
            texts = await self._reader.peek(place.partition, context, made)
            return ShownEvolution(proposal, tuple(one.text for one in texts if one is not None))
        return ShownEvolution(proposal, (text_of(cubes),))

    async def _owned(self, place: Place, context: CallContext, proposal: Evolved) -> list[MemCube]:
        """The sources, for who owns them and may change them."""
        ids = [id for id, _ in proposal.sources]
        heads = await self._reader.peek(place.partition, context, ids)
        policy, now = await self._guard.ensure_for(context), self._clock.now()
        owned = []
        for head in heads:
            if head is None or head.governance.owner != context.principal.id:
                raise PermissionDeniedError("only who owns all of the memories decides this")
            policy.require(context, Action.UPDATE, facets_of(head), place.namespace, now)
            owned.append(head)
        return owned

    async def _proposals(self, place: Place) -> list[Evolved]:
        shown = (EvolvedState.OPEN, EvolvedState.ACCEPTED)
        found = [one for one in await self.book.of(place) if one.state in shown]
        return sorted(found, key=lambda one: (one.state is not EvolvedState.OPEN, one.found_at))

    async def _require(self, place: Place, context: CallContext) -> None:
        policy = await self._guard.ensure_for(context)
        # To be named in a memory there does not suffice.
        if place.namespace not in policy.visible_namespaces(context, self._clock.now()):
            raise no_namespace(place.namespace)

    async def _require_administrator(self, place: Place, context: CallContext) -> None:
        await self._require(place, context)
        policy = await self._guard.ensure_for(context)
        if not policy.may_administer(context, place.namespace, self._clock.now()):
            raise PermissionDeniedError(
                "only administrators of a namespace have it evolve", namespace=place.namespace
            )
