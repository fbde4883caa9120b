"""Lessons: models learn memories, one lesson at a time for a namespace and model."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from memos_ray.actors.activation.promoting import Writing
from memos_ray.actors.parameter.adapter_rows import Adapter
from memos_ray.actors.parameter.adapters import Adapters, gone_in
from memos_ray.actors.parameter.lesson_book import LessonBook
from memos_ray.actors.parameter.lesson_state import (
    MADE,
    Lesson,
    Making,
    adapter_of,
    by_training,
    knowledge_of,
    memory_of,
    reason_of,
    report_of,
    sources_of,
)
from memos_ray.actors.patience import patiently
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.defects import describe_defect
from memos_ray.core.parameter import AdapterPayload, TeachingReport, TeachingState
from memos_ray.core.scheduling import holds
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Learnt, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.errors import (
    FencedError,
    IllegalStateError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    NotOwnerError,
)
from memos_ray.ports import (
    AdapterRoom,
    ObjectsPort,
    TrainerPort,
    TrainingProgress,
    TrainingSpec,
    Wordings,
)

_ENDED_MOST = 256
_ATTEMPTS_MOST = 5
_OPENING_S = 5.0
_log = logging.getLogger(__name__)


class Lessons:
    """Teaches models, and has their adapters kept.

    An adapter is reported live when its file, its row and its parameter memory are there. A lesson
    is written down before its caller is answered; when its shard ends, the next owner of the
    partition goes on with it, if its caller may still have it. One that has ended its shards too
    often is failed. The record goes when the adapter is there.

    Concurrency: methods run on the actor's event loop.
    """

    def __init__(
        self,
        adapters: Adapters,
        trainer: TrainerPort,
        book: LessonBook,
        *,
        reader: RecordReader,
        guard: PolicyGuard,
        objects: ObjectsPort,
        now: Callable[[], datetime],
        write: Writing,
    ) -> None:
        self._adapters = adapters
        self._trainer = trainer
        self._book = book
        self._reader = reader
        self._guard = guard
        self._objects = objects
        self._now = now
        self._write = write
        self._lessons: OrderedDict[str, Lesson] = OrderedDict()
        self._opening: dict[int, asyncio.Task[None]] = {}

    def room(self, model: str) -> AdapterRoom:
        """Returns what adapters a model takes.

        Raises:
            NotFoundError: there is no such model, or it cannot be taught.
        """
        known = self._trainer.models
        if model not in known:
            raise NotFoundError("no such model can be taught", model=model, known=sorted(known))
        return known[model]

    async def teach(
        self,
        place: Place,
        request: TeachRequest,
        heads: Sequence[MemCube],
        making: Making,
    ) -> TeachingReport:
        """Begins a lesson; returns as soon as it will not be lost.

        Raises:
            NotFoundError: there is no such model, or it cannot be taught.
            InvalidInputError: none of the memories is a text that holds, or not all are of which
                an adapter knows already.
            IllegalStateError: the model is learning something of this namespace already.
        """
        self.room(request.model)
        await self.opened(place.partition)
        held = self._holding(heads)
        if making.made_of is not None and len(held) < len(heads):
            raise InvalidInputError("not all of these are texts that hold")
        for other in self._lessons.values():
            same = (other.place, other.request.model) == (place, request.model)
            if same and other.state is TeachingState.TRAINING:
                raise IllegalStateError(
                    "the model is learning something of this namespace",
                    lesson=other.request.minted_id,
                )
        lesson = Lesson(place, request, making, sources_of(held), making.made_of is not None)
        lesson.attempts = 1
        self._lessons[request.minted_id] = lesson
        try:
            await self._book.write(lesson.record)
        except BaseException:
            del self._lessons[request.minted_id]
            raise
        if lesson.reason is None:
            lesson.task = asyncio.create_task(self._run(lesson, heads))
        else:
            await self._end(lesson, TeachingState.CANCELLED)
        await self._trim()
        return report_of(lesson)

    async def cancel(self, lesson_id: str) -> None:
        """Ends a lesson; one that has ended is left as it is.

        Raises:
            NotFoundError: there is none.
        """
        lesson = self._lessons.get(lesson_id)
        if lesson is None:
            raise NotFoundError("there is no such lesson", lesson=lesson_id)
        if lesson.task is not None and not lesson.ended:
            lesson.task.cancel()
            await asyncio.gather(lesson.task, return_exceptions=True)

    @property
    def busy(self) -> bool:
        """Whether any lesson is under way."""
        return any(not lesson.ended for lesson in self._lessons.values())

    def place(self, lesson_id: str) -> Place | None:
        """Returns where a lesson belongs, if there is one of this id."""
        lesson = self._lessons.get(lesson_id)
        return None if lesson is None else lesson.place

    def reports(self, place: Place) -> list[TeachingReport]:
        """Says how the lessons of a namespace are going, but for those whose adapter is there."""
        return [
            report_of(lesson)
            for id, lesson in self._lessons.items()
            if lesson.place == place and id not in self._adapters
        ]

    def open(self, partition: int, epoch: int) -> None:
        """Goes on with a partition's lessons, once its adapters are known."""
        self._book.open(partition, epoch)
        self._opening[partition] = asyncio.create_task(self._take_over(partition))

    async def opened(self, partition: int) -> None:
        """Returns when a partition's lessons are known, or that takes too long."""
        if partition in self._opening:
            await asyncio.wait([self._opening[partition]], timeout=_OPENING_S)

    def drop(self, partition: int) -> None:
        """Leaves the lessons of a partition that this shard no longer owns to its next owner."""
        self._book.drop(partition)
        if (opening := self._opening.pop(partition, None)) is not None:
            opening.cancel()
        for id, lesson in list(self._lessons.items()):
            if lesson.place.partition == partition:
                del self._lessons[id]
                lesson.left = True
                if lesson.task is not None:
                    lesson.task.cancel()

    def touching(self, partition: int, key: CubeKey) -> list[str]:
        """Returns the lessons under way that are about a memory."""
        return [
            id
            for id, one in self._lessons.items()
            if (one.place.partition, one.place.tenant) == (partition, key.tenant)
            and not one.ended
            and key.id in {source.cube_id for source in one.sources}
        ]

    def apply(self, commit: Commit) -> None:
        """Ends the lessons about what a commit deletes."""
        gone = gone_in(commit)
        for lesson in self._lessons.values() if gone else ():
            tenant = lesson.place.tenant
            learning = {CubeKey(tenant, source.cube_id) for source in lesson.sources}
            if not lesson.ended and learning & gone:
                lesson.reason = "a memory was deleted meanwhile"
                if lesson.task is not None:
                    lesson.task.cancel()

    async def close(self) -> None:
        """Leaves all lessons to whoever owns their partitions next."""
        tasks = list(self._opening.values())
        for lesson in self._lessons.values():
            lesson.left = True
            if lesson.task is not None:
                tasks.append(lesson.task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_over(self, partition: int) -> None:
        await self._adapters.opened(partition)
        for record in await patiently(lambda: self._book.read(partition), "lessons"):
            id = record.request.minted_id
            if id in self._lessons:
                continue
            if id in self._adapters:
                # The crash came between the adapter and this.
                await patiently(partial(self._book.forget, record), "lessons")
                continue
            lesson = Lesson(
                record.place,
                record.request,
                by_training(record.request, record.through),
                record.sources,
                record.given,
                record.state,
                reason=record.reason,
                attempts=record.attempts,
                wordings=record.wordings,
            )
            self._lessons[id] = lesson
            if not lesson.ended:
                lesson.task = asyncio.create_task(self._run(lesson, None))

    async def _run(self, lesson: Lesson, heads: Sequence[MemCube] | None) -> None:
        """Teaches; without heads, after everything has been judged anew."""
        try:
            if heads is None:
                # What the last attempt left behind goes first: this one's has the same name.
                await self._adapters.retired(lesson.request.minted_id)
                heads = await patiently(lambda: self._judged_anew(lesson), "a lesson")
            state = await self._learn(lesson, heads)
        except asyncio.CancelledError:
            if not lesson.left:
                await self._end(lesson, TeachingState.CANCELLED)
            raise
        except (FencedError, NotOwnerError) as error:
            # The next owner goes on with it, from where this one's trainer was.
            _log.warning("a lesson is left to the next owner: %s", error.code)
        except MemosError as error:
            lesson.reason = lesson.reason or reason_of(error)
            _log.warning("a lesson failed: %s", error.code)
            await self._end(lesson, TeachingState.FAILED)
        except Exception as error:
            lesson.reason = "internal"
            _log.warning("a lesson failed: %s", describe_defect(error))
            await self._end(lesson, TeachingState.FAILED)
        else:
            await self._end(lesson, state)

    async def _end(self, lesson: Lesson, state: TeachingState) -> None:
        lesson.state = state
        try:
            if state in MADE:
                lesson.progress = TrainingProgress(1.0, lesson.progress.loss)
                await self._book.forget(lesson.record)
            else:
                # Nobody goes on with it: nothing of it is to stay.
                await self._trainer.forget(lesson.request.minted_id)
                await self._book.write(lesson.record)
        except MemosError as error:
            # Then the next owner of the partition finds it, and how it stands.
            _log.warning("the end of a lesson is not written: %s", error.code)

    async def _trim(self) -> None:
        ended = [id for id, one in self._lessons.items() if one.ended]
        for id in ended[: max(0, len(self._lessons) - _ENDED_MOST)]:
            record = self._lessons.pop(id).record
            try:
                await self._book.forget(record)
            except MemosError as error:
                _log.warning("an old lesson is not forgotten: %s", error.code)

    async def _judged_anew(self, lesson: Lesson) -> list[MemCube]:
        """Returns what is to be learnt, if whoever has asked may still have it.

        Raises:
            IllegalStateError: nobody can go on with it.
            NotFoundError: a memory is gone, or may not be read or taught any more.
        """
        if lesson.given:
            raise IllegalStateError("its shard ended, and what the adapter is made of with it")
        if lesson.attempts >= _ATTEMPTS_MOST:
            raise IllegalStateError("its shard has ended too often", attempts=lesson.attempts)
        request, place = lesson.request, lesson.place
        policy = await self._guard.ensure_for(request.context)
        policy.require_namespace(request.context, Action.CREATE, place.namespace, self._now())
        # Those asked for may stand for others: activation memories do.
        ids = list(dict.fromkeys([*request.ids, *(one.cube_id for one in lesson.sources)]))
        found = await self._reader.get(place.partition, request.context, ids)
        heads = [one for one in found if one is not None and one.namespace == place.namespace]
        held = {one.id for one in self._holding(heads)}
        if any(source.cube_id not in held for source in lesson.sources):
            raise NotFoundError("a memory is gone, or may not be learnt any more")
        lesson.sources = sources_of(self._holding(heads))
        # Counted once it is written: this is tried again when it cannot be.
        record = replace(lesson.record, attempts=lesson.attempts + 1)
        await self._book.write(record)
        lesson.attempts = record.attempts
        return heads

    def _holding(self, heads: Sequence[MemCube]) -> list[MemCube]:
        now = self._now()
        held = [head for head in heads if holds(head, now)]
        if not held:
            raise InvalidInputError("none of these is a text that can be learnt")
        return held

    async def _learn(self, lesson: Lesson, heads: Sequence[MemCube]) -> TeachingState:
        def note(progress: TrainingProgress) -> None:
            lesson.progress = progress

        request, knowledge = lesson.request, knowledge_of(lesson, heads)
        spec = TrainingSpec(request.minted_id, request.model, knowledge, lesson.making.made_of)
        spec = replace(spec, wordings=await self._worded(lesson, spec))
        trained = await self._trainer.train(spec, note)
        payload: AdapterPayload = await self._objects.get(trained.reference)
        adapter = await self._adapters.save(adapter_of(lesson, trained), payload)
        try:
            await self._remember(lesson, adapter, heads)
        except BaseException:
            if not lesson.left:
                self._adapters.give_up(adapter)
            raise
        await self._adapters.admit(adapter, payload)
        return adapter.state

    async def _worded(self, lesson: Lesson, spec: TrainingSpec) -> Wordings | None:
        """Returns further questions: with others than before a checkpoint would be of no use."""
        if lesson.wordings is None:
            lesson.wordings = await self._trainer.word(spec)
            if lesson.wordings is not None:
                try:
                    await self._book.write(lesson.record)
                except MemosError as error:
                    _log.warning("the wordings of a lesson are not written: %s", error.code)
        return lesson.wordings

    async def _remember(self, lesson: Lesson, adapter: Adapter, heads: Sequence[MemCube]) -> None:
        """Makes the parameter memory: never wider open than the narrowest source.

        It has the labels that the sources have by then, and follows later ones.
        """
        create = memory_of(lesson, adapter, heads)
        request = lesson.request
        learnt = Learnt(adapter.id, tuple(source.cube_id for source in adapter.sources))
        write = Write(
            request.namespace, create, f"lesson:{adapter.id}", request.reason, learnt=learnt
        )
        partition = lesson.place.partition
        (outcome,) = await self._write(partition, [Submission(request.context.aside(), write)])
        if isinstance(outcome, MemosError):
            raise outcome
