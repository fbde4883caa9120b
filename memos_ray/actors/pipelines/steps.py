"""Carries out one step of a run: reads, computes, and decides what is to be written later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar, assert_never

from memos_ray.actors.pipelines.vault import PipelineVault
from memos_ray.core.activation import tenant_salt
from memos_ray.core.cube import filters
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Everything, evaluate
from memos_ray.core.generation import ChatMessage, ChatRequest, Sampling
from memos_ray.core.pipeline.conditions import fields_of, holds
from memos_ray.core.pipeline.definition import (
    ITEMS_MAX,
    AddTags,
    Archive,
    Augment,
    Convert,
    Create,
    Delete,
    Filter,
    Publish,
    Retrieve,
    Step,
    Teach,
    Update,
    Writing,
)
from memos_ray.core.pipeline.effects import Content, Effect, EffectKind, FollowUp
from memos_ray.core.pipeline.run import MemoryRef, Run, StepRecord, StepState
from memos_ray.core.pipeline.templates import ITEM, PARAMS, Scope, paths_in, render
from memos_ray.core.reader.turns import Turn, rewrite
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.errors import InvalidInputError, NotFoundError, PayloadTooLargeError
from memos_ray.ports import ModelPort

T = TypeVar("T")

SOURCES_MAX = 64


@dataclass(frozen=True, slots=True)
class StepWork:
    """One try of one step.

    Attributes:
        context_bytes: most text that a step may put into the context of its run.
    """

    vault: PipelineVault
    models: Mapping[str, ModelPort]
    context_bytes: int
    run: Run
    _held: dict[str, list[MemCube]] = field(default_factory=dict)

    async def perform(self, step: Step) -> StepRecord:
        """Returns what becomes of a step; nothing is written yet.

        Raises:
            MemosError: what the vault or a model raised, or what is wrong with a template.
        """
        context = self.run.context
        await self.vault.admit(context)
        now = self.vault.clock.now()
        if self.run.idle(step.id):
            return StepRecord(StepState.SKIPPED).identified()
        if step.when is not None:
            names = {name.partition(".")[0] for name in fields_of(step.when)}
            if not holds(step.when, await self._scope(names), now):
                return StepRecord(StepState.SKIPPED).identified()
        record = await self._performed(step, now)
        size = sum(len(text.encode()) for text in record.texts)
        size += sum(len((effect.text or "").encode()) for effect in record.effects)
        if size > self.context_bytes or len(record.memories) > ITEMS_MAX * ITEMS_MAX:
            raise PayloadTooLargeError(
                "a step puts too much into the context of its run",
                step=step.id,
                limit=self.context_bytes,
            )
        return record.identified()

    async def _performed(self, step: Step, now: datetime) -> StepRecord:
        match step:
            case Retrieve():
                found = await self._mapped(step.each, step.at_once, lambda at: self._find(step, at))
                cubes = {(one.namespace, one.id): one for part, _ in found for one in part}
                filled = sum(rewritten for _, rewritten in found)
                refs = tuple(map(_ref, cubes.values()))
                return StepRecord(StepState.DONE, refs, rewritten=filled)
            case Filter():
                wanted = filters.parse(step.keep, now)
                kept = [
                    cube
                    for cube in await self._memories(step.of)
                    if evaluate(wanted, facets_of(cube))
                ]
                return StepRecord(StepState.DONE, tuple(map(_ref, kept[: step.limit])))
            case Augment():
                texts = await self._mapped(step.each, step.at_once, lambda at: self._text(step, at))
                return StepRecord(StepState.DONE, texts=tuple(texts))
            case Create():
                effects = await self._mapped(
                    step.each, step.at_once, lambda at: self._creation(step, at)
                )
                numbered = [replace(one, index=place) for place, one in enumerate(effects)]
                made = tuple(MemoryRef(one.cube_id, 0, one.namespace) for one in numbered)
                return StepRecord(StepState.DONE, made, effects=tuple(numbered))
            case Update() | AddTags() | Delete() | Archive():
                return StepRecord(StepState.DONE, effects=await self._changes(step))
            case Convert() | Teach():
                return StepRecord(StepState.DONE, follow=await self._lesson(step))
            case Publish():
                text = render(step.text, await self._named(step.text))
                key = f"{self.run.id}/{step.id}"
                follow = FollowUp("publish", key, url=step.url, text=text)
                return StepRecord(StepState.DONE, follow=follow)
            case _ as never:
                assert_never(never)

    async def _mapped(
        self, each: str | None, at_once: int, act: Callable[[MemCube | None], Awaitable[T]]
    ) -> list[T]:
        """Acts once, or for each memory of a step, `at_once` of them at a time; in order."""
        if each is None:
            return [await act(None)]
        room = asyncio.Semaphore(at_once)

        async def one(cube: MemCube) -> T:
            async with room:
                return await act(cube)

        tasks = [asyncio.create_task(one(cube)) for cube in await self._memories(each)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _find(self, step: Retrieve, item: MemCube | None) -> tuple[list[MemCube], bool]:
        """Returns what was found, and whether the query was completed by what was said before."""
        context = self.run.context
        place = step.namespace or context.home
        said = [turn.content for turn in step.turns]
        scope = await self._named(*step.ids, step.query or "", *said, item=item)
        if step.ids:
            ids = [render(one, scope) for one in step.ids]
            return await self.vault.by_id(context, place, list(dict.fromkeys(ids))), False
        now = self.vault.clock.now()
        wanted = filters.parse(step.filter, now) if step.filter else Everything()
        text = render(step.query, scope) if step.query else ""
        turns = [
            Turn(render(one.content, scope), one.role == "user", one.name) for one in step.turns
        ]
        rewriting = rewrite(text, turns, now, UTC)
        found = await self.vault.search(context, place, rewriting.text, wanted, step.limit)
        return found, bool(rewriting.filled)

    async def _text(self, step: Augment, item: MemCube | None) -> str:
        text = render(step.template, await self._named(step.template, item=item))
        if step.model is None:
            return text
        model = self.models.get(step.model)
        if model is None:
            raise NotFoundError(
                "there is no such model", model=step.model, known=sorted(self.models)
            )
        context = self.run.context
        request = ChatRequest(
            self.vault.entropy(16).hex(),
            (ChatMessage("user", text),),
            Sampling(max_tokens=step.max_tokens, temperature=0.0),
            tenant_salt(context.principal.tenant),
        )
        async with aclosing(model.chat(request)) as parts:
            answer = "".join([part.text async for part in parts]).strip()
        if not answer:
            raise InvalidInputError("the model has answered nothing", step=step.id)
        return answer

    async def _creation(self, step: Create, item: MemCube | None) -> Effect:
        context = self.run.context
        place = step.namespace or context.home
        partition = await self.vault.partition(context, place)
        scope = await self._named(step.text, step.memory_id or "", *step.tags, item=item)
        sources = [_ref(item)] if item else self._met(step)
        sensitivity, compliance = await self._labels(item, step.text, *step.tags)
        return Effect(
            EffectKind.CREATE,
            step.id,
            0,
            partition,
            place,
            render(step.memory_id, scope) if step.memory_id else self.vault.mint(partition),
            text=render(step.text, scope),
            tags=tuple(dict.fromkeys(render(tag, scope) for tag in step.tags)),
            semantic_type=step.semantic_type,
            sources=tuple((one.cube_id, one.version) for one in sources[:SOURCES_MAX]),
            sensitivity=sensitivity,
            compliance=compliance,
        )

    async def _labels(
        self, item: MemCube | None, *texts: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the labels of all that templates may say something of, as they are now."""
        met = [item] if item else []
        named = _names_in(texts) - {ITEM, PARAMS}
        for name in sorted(named.union(*(self.run.spec.earlier(one) for one in named))):
            met += await self._memories(name)
        rules = [cube.governance for cube in met]
        sensitivity = {label for one in rules for label in one.sensitivity}
        compliance = {label for one in rules for label in one.compliance}
        return tuple(sorted(sensitivity)), tuple(sorted(compliance))

    def _met(self, step: Step) -> list[MemoryRef]:
        """Returns the memories that earlier steps have met."""
        earlier = sorted(self.run.spec.earlier(step.id))
        refs = [ref for name in earlier for ref in self.run.record(name).memories if ref.version]
        return list(dict.fromkeys(refs))

    async def _changes(self, step: Writing) -> tuple[Effect, ...]:
        context, effects = self.run.context, []
        earlier = self.run.spec.earlier(step.id)
        decided = [effect for effect in self.run.effects() if effect.step in earlier]
        for index, ref in enumerate(self.run.record(step.of).memories):
            fresh = ref.version == 0
            item = None if fresh else (await self._memories(step.of))[index]
            partition = await self.vault.partition(context, ref.namespace)
            # Another partition may hold another memory of this id.
            place = (partition, ref.cube_id)
            staged = [one for one in decided if (one.partition, one.cube_id) == place]
            effect = Effect(
                _KINDS[type(step)],
                step.id,
                index,
                partition,
                ref.namespace,
                ref.cube_id,
                ref.version,
                chained=bool(staged),
            )
            if isinstance(step, Update):
                text = render(step.text, await self._named(step.text, item=item))
                sensitivity, compliance = await self._labels(item, step.text)
                effect = replace(
                    effect,
                    text=text,
                    mode=UpdateMode(step.mode),
                    sensitivity=sensitivity,
                    compliance=compliance,
                )
            elif isinstance(step, AddTags):
                scope = await self._named(*step.tags, item=item)
                effect = replace(effect, tags=tuple(render(tag, scope) for tag in step.tags))
            content = _content(item) if item else _NOTHING
            for one in staged:
                content = content.after(one)
            # The vault refuses what changes nothing.
            if isinstance(step, Delete) or content.after(effect) != content:
                effects.append(effect)
        return tuple(effects)

    async def _lesson(self, step: Convert | Teach) -> FollowUp | None:
        refs = self.run.record(step.of).memories
        places = {ref.namespace for ref in refs}
        if not refs:
            return None
        if len(places) > 1:
            raise InvalidInputError("these memories are of several namespaces", step=step.id)
        (place,) = places
        partition = await self.vault.partition(self.run.context, place)
        ids = tuple(ref.cube_id for ref in refs)
        minted = self.vault.mint(partition)
        return FollowUp(step.kind, minted, place, ids, step.model)

    async def _memories(self, step: str) -> list[MemCube]:
        """Returns the memories of a step, read once in this try; those yet to be made are not."""
        if step not in self._held:
            refs = [ref for ref in self.run.record(step).memories if ref.version]
            self._held[step] = await self.vault.read(self.run.context, refs)
        return self._held[step]

    async def _named(self, *texts: str, item: MemCube | None = None) -> Scope:
        scope = await self._scope(_names_in(texts))
        return scope if item is None else {**scope, ITEM: _described(item)}

    async def _scope(self, names: set[str]) -> dict[str, Mapping[str, object]]:
        scope: dict[str, Mapping[str, object]] = {}
        for name in sorted(names - {ITEM}):
            if name == PARAMS:
                scope[name] = self.run.params
                continue
            record = self.run.record(name)
            texts: Sequence[str] = record.texts
            if not texts:
                cubes = await self._memories(name)
                texts = [effect.text or "" for effect in record.effects]
                texts = texts or [cube.text for cube in cubes]
            scope[name] = {
                "text": "\n".join(texts),
                "list": "\n".join(f"- {text}" for text in texts),
                "first": texts[0] if texts else "",
                "count": len(record.texts) or len(record.memories),
                "id": record.memories[0].cube_id if record.memories else "",
                "state": record.state.value,
            }
        return scope


def _names_in(texts: Iterable[str]) -> set[str]:
    return {path.partition(".")[0] for text in texts for path in paths_in(text)}


_NOTHING = Content(None, frozenset())
_KINDS = {
    Update: EffectKind.UPDATE,
    AddTags: EffectKind.TAG,
    Delete: EffectKind.DELETE,
    Archive: EffectKind.ARCHIVE,
}


def _content(cube: MemCube) -> Content:
    return Content(cube.text, frozenset(cube.descriptive.tags), cube.state is State.ARCHIVED)


def _ref(cube: MemCube) -> MemoryRef:
    return MemoryRef(cube.id, cube.version.number, cube.namespace)


def _described(cube: MemCube) -> Mapping[str, object]:
    setting = cube.descriptive.setting
    return {
        "text": cube.text,
        "id": cube.id,
        "version": cube.version.number,
        "speaker": setting.speaker,
        "session": setting.session,
        "created_at": cube.descriptive.created_at.isoformat(),
    }
