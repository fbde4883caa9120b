"""Promotes memories to KV caches by their use, and demotes them again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from memos_ray.actors.activation.shared_blocks import AUTOMATIC, SharedBlocks
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import ActivationRef
from memos_ray.core.defects import describe_defect
from memos_ray.core.scheduling import (
    AnsweredPrompt,
    Candidate,
    Promoting,
    Promotion,
    promotion,
)
from memos_ray.core.scheduling.forms import FormCosts, Reason, RequestFacts, choose_form
from memos_ray.core.scheduling.policies import decayed
from memos_ray.core.scheduling.shared import memory_facts
from memos_ray.core.vault.operations import Delete, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import IllegalStateError, MemosError
from memos_ray.ports import ClockPort

Converting = Callable[[int, ConvertRequest], Awaitable[Written]]
Writing = Callable[[int, Sequence[Submission]], Awaitable[list[Written | MemosError]]]

_MOST_PLACES = 1024
_MOST_MEMORIES = 4096
_COLD = 0.05
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Heat:
    uses: float = 0.0
    at: float = 0.0

    def now(self, at: float) -> float:
        return decayed(self.uses, at - self.at)

    def add(self, at: float) -> None:
        self.uses, self.at = self.now(at) + 1.0, at


@dataclass(slots=True)
class _Watched:
    """What the prompts of one namespace to one model have used."""

    prompts: _Heat = field(default_factory=_Heat)
    memories: dict[str, _Heat] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    seeded: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    decided_at: float | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Suggested:
    """What all prompts of a namespace to a model should begin with, by what is used.

    Attributes:
        wanted: nothing when all is as it should be.
        sources: what it would be made of, as it is now.
    """

    model: str
    wanted: Promotion | None = None
    sources: tuple[SourceVersion, ...] = ()


class Promoter:
    """Learns from answered prompts which memories all of them should begin with.

    It acts with the rights of the caller whose prompt made it decide: for one who may not convert
    there, nothing happens, and the next caller's prompt decides anew. It takes only memories that
    everybody there may read, so that the cache serves everybody. A conversion that a caller has
    asked for stands: where there is one, nothing is promoted. By rules that are not `automatic`
    it only counts, and says when it is asked what it would do.

    Attributes:
        counters: `promotions` and `demotions`, memories that became a KV cache or text again.

    Concurrency: runs on the actor's event loop; one decision a namespace and model at a time.
    """

    def __init__(
        self,
        rules: Mapping[str, Promoting],
        pause_s: float,
        *,
        blocks: SharedBlocks,
        clock: ClockPort,
        convert: Converting,
        write: Writing,
    ) -> None:
        """Takes the rules of each model that is to be promoted for.

        Args:
            pause_s: shortest time between two decisions about the same.
        """
        self.counters: Counter[str] = Counter()
        self._rules = rules
        self._pause_s = pause_s
        self._blocks = blocks
        self._clock = clock
        self._convert = convert
        self._write = write
        self._watched: OrderedDict[tuple[Place, str], _Watched] = OrderedDict()

    def note(self, place: Place, answered: AnsweredPrompt) -> None:
        """Counts a prompt, and decides behind it when it is time."""
        if answered.model not in self._rules:
            return
        key = (place, answered.model)
        watched = self._watched.setdefault(key, _Watched())
        self._watched.move_to_end(key)
        if len(self._watched) > _MOST_PLACES:
            self._watched.popitem(last=False)
        now = self._clock.monotonic()
        watched.prompts.add(now)
        for cube_id, tokens in answered.hits:
            watched.memories.setdefault(cube_id, _Heat()).add(now)
            watched.tokens[cube_id] = tokens
        if len(watched.memories) > _MOST_MEMORIES:
            self._cool(watched, now)
        due = watched.decided_at is None or now - watched.decided_at >= self._pause_s
        if self._rules[answered.model].automatic and due and watched.task is None:
            watched.decided_at = now
            watched.task = asyncio.create_task(self._decide(place, answered))

            def done(_: asyncio.Task[None]) -> None:
                watched.task = None

            watched.task.add_done_callback(done)

    async def suggested(self, place: Place, context: CallContext) -> list[Suggested]:
        """Returns what should change, by what is used, of each model that anything is known of.

        Args:
            context: of whom it would be done for.
        """
        found = []
        for model in [model for where, model in self._watched if where == place]:
            planned = await self._plan(place, model, context)
            if planned is None or not (planned[0].changes and planned[0].members):
                found.append(Suggested(model))
                continue
            cubes = await self._blocks.holding(place, planned[0].members)
            versions = tuple(SourceVersion(cube.id, cube.version.number) for cube in cubes)
            found.append(Suggested(model, planned[0], versions))
        return found

    async def promote(self, place: Place, request: ConvertRequest) -> Written:
        """Has prompts begin with what was suggested, in place of what was promoted before.

        Raises:
            IllegalStateError: somebody has converted memories on purpose meanwhile.
            MemosError: what `ActivationMemory.convert` says to it.
        """
        old = await self._own(place, request.model)
        if old is None:
            raise IllegalStateError("prompts begin with what somebody has converted")
        written = await self._convert(place.partition, request)
        await self._remove(place, request.context, old, request.reason)
        inside = {one.cube_id for block in old for one in block.descriptive.sources}
        self._count(len(set(request.ids) - inside), len(inside - set(request.ids)))
        return written

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for key in [key for key in self._watched if key[0].partition == partition]:
            watched = self._watched.pop(key)
            if watched.task is not None:
                watched.task.cancel()

    def _cool(self, watched: _Watched, now: float) -> None:
        hottest = sorted(watched.memories, key=lambda cube_id: -watched.memories[cube_id].now(now))
        kept = hottest[: _MOST_MEMORIES // 2]
        watched.memories = {
            cube_id: watched.memories[cube_id]
            for cube_id in kept
            if watched.memories[cube_id].now(now) > _COLD
        }
        watched.tokens = {cube_id: watched.tokens[cube_id] for cube_id in watched.memories}
        watched.told.intersection_update(watched.memories)

    async def _own(self, place: Place, model: str) -> list[MemCube] | None:
        """Returns the blocks that were promoted; nothing where somebody has converted others."""
        blocks = await self._blocks.of_model(place, model)
        automatic = [block for block in blocks if _automatic(block)]
        return automatic if len(automatic) == len(blocks) else None

    async def _plan(
        self, place: Place, model: str, caller: CallContext
    ) -> tuple[Promotion, list[MemCube]] | None:
        """Returns what prompts should begin with, and the blocks that this takes the place of."""
        automatic, watched = await self._own(place, model), self._watched.get((place, model))
        if automatic is None or watched is None:
            return None
        members = self._members(watched, automatic[:1], self._rules[model])
        return await self._wanted(place, model, watched, caller, members), automatic

    async def _decide(self, place: Place, answered: AnsweredPrompt) -> None:
        try:
            planned = await self._plan(place, answered.model, answered.context)
            if planned is not None and planned[0].changes:
                await self._change(place, answered, *planned)
        except MemosError as error:
            # Such as: this caller may not convert there.
            _log.info("no promotion: %s", error.code)
        except Exception as error:
            _log.warning("a promotion failed: %s", describe_defect(error))

    def _members(
        self, watched: _Watched, automatic: Sequence[MemCube], rules: Promoting
    ) -> set[str]:
        """Returns the ids of what is promoted; what this shard did not see enter starts warm."""
        now = self._clock.monotonic()
        members: set[str] = set()
        for block in automatic:
            ids = [one.cube_id for one in block.descriptive.sources if one.cube_id is not None]
            members.update(ids)
            if block.id in watched.seeded:
                continue
            watched.seeded.add(block.id)
            assert isinstance(block.payload, ActivationRef)
            for cube_id in ids:
                watched.memories.setdefault(cube_id, _Heat(rules.enter, now))
                watched.tokens.setdefault(cube_id, block.payload.tokens // len(ids))
        return members

    async def _wanted(
        self, place: Place, model: str, watched: _Watched, caller: CallContext, members: set[str]
    ) -> Promotion:
        now = self._clock.monotonic()
        rules = self._rules[model]
        ids = [
            cube_id
            for cube_id, heat in watched.memories.items()
            if cube_id in members or heat.now(now) >= rules.enter
        ]
        cubes = await self._blocks.holding(place, ids)
        at_home = place.namespace in (caller.principal.id, caller.home)
        candidates = [
            Candidate(
                cube.id,
                watched.memories[cube.id].now(now),
                watched.tokens[cube.id],
                cube.id in members,
            )
            for cube in cubes
            if cube.namespace == place.namespace
            and (at_home or cube.governance.visibility is not Visibility.PRIVATE)
            and self._lasts(cube, watched)
        ]
        known = {one.cube_id for one in candidates}
        # Gone, about to change, or not everybody's any more.
        candidates += [Candidate(cube_id, 0.0, 0, True) for cube_id in members - known]
        return promotion(candidates, watched.prompts.now(now), rules)

    def _lasts(self, cube: MemCube, watched: _Watched) -> bool:
        """Tells whether a memory stays as it is for long enough that a cache of it would pay."""
        heat = watched.memories[cube.id].now(self._clock.monotonic())
        facts = memory_facts(cube, heat, watched.tokens[cube.id], self._clock.now())
        chosen = choose_form(facts, RequestFacts(coherent=True), FormCosts())
        if chosen.reason is Reason.TIME_SENSITIVE and cube.id not in watched.told:
            watched.told.add(cube.id)
            _log.info("%s is not promoted: %s", cube.id, chosen.explain())
        return chosen.reason is not Reason.TIME_SENSITIVE

    async def _change(
        self,
        place: Place,
        answered: AnsweredPrompt,
        wanted: Promotion,
        old: Sequence[MemCube],
    ) -> None:
        context = answered.context.aside()
        reason = f"use: {len(wanted.entered)} memories entered, {len(wanted.left)} left"
        if wanted.members:
            request = ConvertRequest(
                context,
                place.namespace,
                wanted.members,
                answered.model,
                answered.minted_id,
                automatic=True,
                reason=reason,
            )
            await self._convert(place.partition, request)
        await self._remove(place, context, old, reason)
        self._count(len(wanted.entered), len(wanted.left))
        _log.info("promotion for %s: %s: %s", answered.model, reason, "; ".join(wanted.reasons))

    async def _remove(
        self, place: Place, context: CallContext, old: Sequence[MemCube], reason: str | None
    ) -> None:
        for block in old:
            write = Write(place.namespace, Delete(block.id), reason=reason)
            await self._write(place.partition, [Submission(context, write)])

    def _count(self, entered: int, left: int) -> None:
        self.counters["promotions"] += entered
        self.counters["demotions"] += left


def _automatic(block: MemCube) -> bool:
    return block.descriptive.attributes.get(AUTOMATIC) is True
