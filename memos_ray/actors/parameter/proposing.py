"""Decides by their use which memories a model should learn: proposes them, or has them taught."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.actors.parameter.adapter_rows import Adapter
from memos_ray.actors.parameter.adapters import Adapters
from memos_ray.actors.parameter.lessons import Lessons
from memos_ray.actors.parameter.proposal_rows import Proposal, proposal_from
from memos_ray.actors.parameter.proposals import Proposals
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.use_counts import UseCounts
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.defects import describe_defect
from memos_ray.core.generation import estimated_tokens
from memos_ray.core.parameter import TeachingReport, TeachingState
from memos_ray.core.scheduling import (
    AnsweredPrompt,
    Learnable,
    Learning,
    LessonCost,
    LessonPlan,
    Standing,
    alike,
    holds,
    lasting,
    lesson_plan,
)
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.errors import MemosError
from memos_ray.ports import ClockPort, RecordStorePort

Teach = Callable[[int, TeachRequest], Awaitable[TeachingReport]]

_MOST_PLACES = 1024
_MOST_CANDIDATES = 512
# Until one has been measured: a trainer's start with its gate, and one memory.
_LESSON_S = LessonCost(30.0, 1.0, 0.0)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """What the prompts of one namespace to one model have used."""

    counts: UseCounts
    decided_at: float | None = None
    taught_at: float | None = None
    seeded: str | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What the model knows by the adapter that prompts use; `heads` are the memories of it."""

    sources: dict[str, int] = field(default_factory=dict)
    heads: tuple[MemCube, ...] = ()


class Proposing:
    """Learns from answered prompts what a model should know by heart.

    Only memories that everybody in the namespace may read. Where the model has learnt others, by
    somebody's wish, everything stays as it is. What a proposal was refused for, or the gate has
    rejected, does not come again until it is something else. A lesson that begins by itself does so
    with the rights of the caller whose prompt made it decide, one at a time in a shard; for one who
    may not teach there, the next caller's prompt decides anew.

    Concurrency: runs on the actor's event loop; one decision a namespace and model at a time.
    """

    def __init__(
        self,
        rules: Mapping[str, Learning],
        pause_s: float,
        *,
        proposals: Proposals,
        adapters: Adapters,
        lessons: Lessons,
        store: RecordStorePort,
        clock: ClockPort,
        executor: Executor,
        prefill_s: Callable[[int], float],
    ) -> None:
        """Takes the rules of each model that is not left to manual teaching.

        Args:
            pause_s: shortest time between two decisions about the same.
            prefill_s: says how long computing so many tokens takes.
        """
        self._rules = rules
        self._pause_s = pause_s
        self._proposals = proposals
        self._adapters = adapters
        self._lessons = lessons
        self._store = store
        self._clock = clock
        self._executor = executor
        self._prefill_s = prefill_s
        self._watched: OrderedDict[tuple[Place, str], _Watched] = OrderedDict()

    @property
    def models(self) -> frozenset[str]:
        """Those that learn by what is used, or are proposed to."""
        return frozenset(self._rules)

    def note(self, place: Place, answered: AnsweredPrompt, teach: Teach) -> None:
        """Counts a prompt, and decides behind it when it is time."""
        rules = self._rules.get(answered.model)
        if rules is None:
            return
        key = (place, answered.model)
        watched = self._watched.setdefault(key, _Watched(UseCounts(rules.half_life_s)))
        self._watched.move_to_end(key)
        if len(self._watched) > _MOST_PLACES:
            self._watched.popitem(last=False)
        now = self._clock.monotonic()
        watched.counts.note(answered, now)
        due = watched.decided_at is None or now - watched.decided_at >= self._pause_s
        if due and watched.task is None:
            watched.decided_at = now
            watched.task = asyncio.create_task(self._run(place, watched, answered, teach))

            def done(_: asyncio.Task[None]) -> None:
                watched.task = None

            watched.task.add_done_callback(done)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for key in [key for key in self._watched if key[0].partition == partition]:
            watched = self._watched.pop(key)
            if watched.task is not None:
                watched.task.cancel()

    async def close(self) -> None:
        """Ends what is being decided."""
        tasks = [one.task for one in self._watched.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self, place: Place, watched: _Watched, answered: AnsweredPrompt, teach: Teach
    ) -> None:
        try:
            await self._decide(place, watched, answered, teach)
        except MemosError as error:
            # Such as: this caller may not teach there.
            _log.info("nothing is proposed or taught: %s", error.code)
        except Exception as error:
            _log.warning("a proposal failed: %s", describe_defect(error))

    async def _decide(
        self, place: Place, watched: _Watched, answered: AnsweredPrompt, teach: Teach
    ) -> None:
        model, rules = answered.model, self._rules[answered.model]
        if self._learning(place, model):
            return
        there = await self._proposals.current(place, model)
        known = await self._known(place, model)
        free = [head for head in known.heads if self._free(head, place, answered, rules)]
        if len(free) < len(known.heads):
            return
        plan = await self._plan(place, watched, answered, there, known)
        if rules.automatic:
            await self._teach(place, watched, answered, plan, teach)
        else:
            await self._propose(place, model, there, plan)

    def _learning(self, place: Place, model: str) -> bool:
        """Tells whether the model is learning something of this namespace."""
        return any(
            lesson.model == model and lesson.state is TeachingState.TRAINING
            for lesson in self._lessons.reports(place)
        )

    async def _known(self, place: Place, model: str) -> _Knowledge:
        """Returns what prompts have the model know: by the newest adapter that can be used."""
        for adapter in reversed(self._kept(place, model)):
            if adapter.state is not TeachingState.LIVE:
                continue
            ids = [source.cube_id for source in adapter.sources]
            heads = await self._holding(place, ids)
            if len(heads) == len(set(ids)):
                return _Knowledge(
                    {source.cube_id: source.version for source in adapter.sources}, tuple(heads)
                )
        return _Knowledge()

    async def _plan(
        self,
        place: Place,
        watched: _Watched,
        answered: AnsweredPrompt,
        there: Proposal | None,
        known: _Knowledge,
    ) -> LessonPlan:
        rules, counts = self._rules[answered.model], watched.counts
        monotonic, now = self._clock.monotonic(), self._clock.now()
        if there is not None and there.report.id != watched.seeded:
            watched.seeded = there.report.id
            for one in there.report.memories:
                counts.seed(one.source.cube_id, one.uses, one.tokens, monotonic)
        proposed = {one.cube_id for one in there.sources} if there else set()
        wanted = {*counts.hottest(monotonic, _MOST_CANDIDATES), *proposed}
        heads = await self._holding(place, sorted(wanted - known.sources.keys()))
        heads = [head for head in heads if self._free(head, place, answered, rules)]
        candidates = [
            _learnable(head, counts, monotonic, now, known.sources, head.id in proposed)
            for head in (*known.heads, *heads)
        ]
        cost = self._cost(answered.model)
        return lesson_plan(candidates, counts.prompts(monotonic), rules, cost)

    def _free(self, head: MemCube, place: Place, answered: AnsweredPrompt, rules: Learning) -> bool:
        """Tells whether a memory may be taught without anybody's asking for it."""
        caller = answered.context
        at_home = place.namespace in (caller.principal.id, caller.home)
        return (
            head.namespace == place.namespace
            and (at_home or head.governance.visibility is not Visibility.PRIVATE)
            and lasting(head, self._clock.now(), rules.horizon_s)
        )

    async def _propose(
        self, place: Place, model: str, there: Proposal | None, plan: LessonPlan
    ) -> None:
        if not plan.memories:
            if there is not None:
                await self._proposals.withdraw(there)
                _log.info("proposal for %s withdrawn: it pays no longer", model)
            return
        made = proposal_from(place, model, plan, self._clock.now())
        if there is not None and _same(there, made):
            return
        if self._refused(made):
            return
        await self._proposals.make(made)
        _log.info("proposal for %s: %s", model, "; ".join(plan.reasons))

    async def _teach(
        self,
        place: Place,
        watched: _Watched,
        answered: AnsweredPrompt,
        plan: LessonPlan,
        teach: Teach,
    ) -> None:
        model, now = answered.model, self._clock.monotonic()
        resting = (
            watched.taught_at is not None and now - watched.taught_at < self._rules[model].pause_s
        )
        if not plan.memories or resting or self._lessons.busy:
            return
        if self._refused(proposal_from(place, model, plan, self._clock.now())):
            return
        learnt = sum(one.learnt for one in plan.memories)
        request = TeachRequest(
            answered.context,
            place.namespace,
            tuple(source.cube_id for source in plan.sources),
            model,
            answered.lesson_id,
            reason=f"use: {len(plan.memories) - learnt} memories, {learnt} learnt before",
            automatic=True,
        )
        await teach(place.partition, request)
        watched.taught_at = now
        self._proposals.counters["lessons_automatic"] += 1
        _log.info("lesson for %s: %s", model, "; ".join(plan.reasons))

    def _refused(self, made: Proposal) -> bool:
        """Tells whether somebody has refused something like it, or the gate has rejected it."""
        learnt = made.sources - made.fresh
        rejected = (
            frozenset(adapter.sources) - learnt
            for adapter in self._kept(made.place, made.model)
            if adapter.state is TeachingState.REJECTED
        )
        return self._proposals.refuses(made) or any(alike(one, made.fresh) for one in rejected)

    def _kept(self, place: Place, model: str) -> list[Adapter]:
        return [one for one in self._adapters.kept(model) if one.place == place]

    def _cost(self, model: str) -> LessonCost:
        """Reckons with what the newest lesson of the model has taken."""
        fixed_s, memory_s = _LESSON_S.fixed_s, _LESSON_S.memory_s
        for adapter in self._adapters.kept(model):
            took_s = adapter.figures.get("train_s", 0.0)
            if took_s > 0:
                memory_s = took_s / len(adapter.sources)
        return LessonCost(fixed_s, memory_s, self._prefill_s(1))

    async def _holding(self, place: Place, ids: list[str]) -> list[MemCube]:
        """Returns those memories that may stand in a prompt."""
        keys = [CubeKey(place.tenant, id) for id in ids]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, self._store.heads, place.partition, keys)
        now = self._clock.now()
        return [head for head in found.values() if holds(head, now)]


def _same(one: Proposal, other: Proposal) -> bool:
    learnt = one.sources - one.fresh == other.sources - other.fresh
    return learnt and alike(one.fresh, other.fresh)


def _learnable(
    head: MemCube,
    counts: UseCounts,
    monotonic: float,
    now: datetime,
    learnt: Mapping[str, int],
    proposed: bool,
) -> Learnable:
    about, use = head.descriptive, counts.of(head.id)
    version = head.version.number
    standing = Standing.NEW
    if head.id in learnt:
        standing = Standing.LEARNT if learnt[head.id] == version else Standing.OUTDATED
    return Learnable(
        source=SourceVersion(head.id, version),
        uses=counts.uses(head.id, monotonic),
        conversations=len(use.talks),
        callers=use.callers,
        tokens=use.tokens or estimated_tokens(head.text),
        age_s=(now - about.created_at).total_seconds(),
        settled_s=(now - about.updated_at).total_seconds(),
        changes=version - 1,
        standing=standing,
        proposed=proposed,
    )
