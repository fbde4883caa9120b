"""Lessons: models learn memories, one lesson at a time for a namespace and model."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.actors.adapter_rows import Adapter
from memos_ray.actors.adapters import Adapters, gone_in
from memos_ray.actors.promoting import Writing
from memos_ray.actors.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Attribute, Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ParameterRef
from memos_ray.core.defects import describe_defect
from memos_ray.core.parameter import AdapterPayload, TeachingReport, TeachingState
from memos_ray.core.scheduling import holds
from memos_ray.core.teaching import Knowledge
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Create, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.errors import (
    ClientError,
    IllegalStateError,
    InvalidInputError,
    MemosError,
    NotFoundError,
)
from memos_ray.ports import (
    AdapterRoom,
    CombinedAdapters,
    ForeignAdapter,
    ObjectsPort,
    TrainerPort,
    TrainingProgress,
    TrainingSpec,
)

_ENDED_MOST = 256
_REASON_MOST = 400
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Making:
    """How an adapter comes to be.

    Attributes:
        made_of: see `TrainingSpec`.
        origin: of the parameter memory.
        attributes: of the parameter memory, beside those that all have.
        through: activation memories whose sources are learnt.
    """

    made_of: CombinedAdapters | ForeignAdapter | None = None
    origin: Origin = Origin.FINE_TUNING
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    through: tuple[SourceVersion, ...] = ()


_BY_TRAINING = Making()


@dataclass(slots=True)
class _Lesson:
    place: Place
    request: TeachRequest
    making: Making
    sources: tuple[SourceVersion, ...]
    state: TeachingState = TeachingState.TRAINING
    progress: TrainingProgress = field(default_factory=lambda: TrainingProgress(0.0))
    reason: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.state is not TeachingState.TRAINING


class Lessons:
    """Teaches models, and has their adapters kept.

    An adapter is reported live when its file, its row and its parameter memory are there. A lesson
    that is under way when its shard ends is lost, and can be asked for again.

    Concurrency: methods run on the actor's event loop.
    """

    def __init__(
        self,
        adapters: Adapters,
        trainer: TrainerPort,
        *,
        objects: ObjectsPort,
        now: Callable[[], datetime],
        write: Writing,
    ) -> None:
        self._adapters = adapters
        self._trainer = trainer
        self._objects = objects
        self._now = now
        self._write = write
        self._lessons: OrderedDict[str, _Lesson] = OrderedDict()

    def room(self, model: str) -> AdapterRoom:
        """Returns what adapters a model takes.

        Raises:
            NotFoundError: there is no such model, or it cannot be taught.
        """
        known = self._trainer.models
        if model not in known:
            raise NotFoundError("no such model can be taught", model=model, known=sorted(known))
        return known[model]

    def teach(
        self,
        place: Place,
        request: TeachRequest,
        heads: Sequence[MemCube],
        making: Making = _BY_TRAINING,
    ) -> TeachingReport:
        """Begins a lesson; returns at once.

        Raises:
            NotFoundError: there is no such model, or it cannot be taught.
            InvalidInputError: none of the memories is a text that holds, or not all are of which
                an adapter knows already.
            IllegalStateError: the model is learning something of this namespace already.
        """
        self.room(request.model)
        now = self._now()
        held = [head for head in heads if holds(head, now)]
        if not held:
            raise InvalidInputError("none of these is a text that can be learnt")
        if making.made_of is not None and len(held) < len(heads):
            raise InvalidInputError("not all of these are texts that hold")
        for other in self._lessons.values():
            same = (other.place, other.request.model) == (place, request.model)
            if same and other.state is TeachingState.TRAINING:
                raise IllegalStateError(
                    "the model is learning something of this namespace",
                    lesson=other.request.minted_id,
                )
        knowledge = tuple(
            Knowledge(
                SourceVersion(head.id, head.version.number),
                head.text,
                head.descriptive.semantic_type,
            )
            for head in held
        )
        lesson = _Lesson(place, request, making, tuple(one.source for one in knowledge))
        self._lessons[request.minted_id] = lesson
        ended = [id for id, one in self._lessons.items() if one.ended]
        for id in ended[: max(0, len(self._lessons) - _ENDED_MOST)]:
            del self._lessons[id]
        spec = TrainingSpec(request.minted_id, request.model, knowledge, making.made_of)
        lesson.task = asyncio.create_task(self._learn(lesson, spec, heads))
        return _report(lesson)

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
            _report(lesson)
            for id, lesson in self._lessons.items()
            if lesson.place == place and id not in self._adapters
        ]

    def drop(self, partition: int) -> None:
        """Ends the lessons of a partition that this shard no longer owns."""
        for lesson in self._lessons.values():
            if lesson.place.partition == partition and lesson.task is not None:
                lesson.task.cancel()

    def apply(self, commit: Commit) -> None:
        """Ends the lessons about what a commit deletes."""
        gone = gone_in(commit)
        for lesson in self._lessons.values() if gone else ():
            tenant = lesson.place.tenant
            learning = {CubeKey(tenant, source.cube_id) for source in lesson.sources}
            if lesson.task is not None and not lesson.ended and learning & gone:
                lesson.reason = "a memory was deleted meanwhile"
                lesson.task.cancel()

    async def close(self) -> None:
        """Ends all lessons."""
        tasks = [one.task for one in self._lessons.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(self, lesson: _Lesson, spec: TrainingSpec, heads: Sequence[MemCube]) -> None:
        def note(progress: TrainingProgress) -> None:
            lesson.progress = progress

        try:
            trained = await self._trainer.train(spec, note)
            payload: AdapterPayload = await self._objects.get(trained.reference)
            adapter = Adapter(
                id=spec.id,
                place=lesson.place,
                model=spec.model,
                digest=trained.manifest.digest,
                base=trained.manifest.base,
                rank=trained.manifest.rank,
                alpha=trained.manifest.alpha,
                blob="",
                size_bytes=trained.manifest.size_bytes,
                state=TeachingState.LIVE if trained.accepted else TeachingState.REJECTED,
                sources=lesson.sources,
                report=trained.report,
                figures=dict(trained.figures),
            )
            adapter = await self._adapters.save(adapter, payload)
            await self._remember(lesson, adapter, heads)
            await self._adapters.admit(adapter, payload)
            lesson.state = adapter.state
            lesson.progress = TrainingProgress(1.0, lesson.progress.loss)
        except asyncio.CancelledError:
            lesson.state = TeachingState.CANCELLED
            raise
        except MemosError as error:
            lesson.state, lesson.reason = TeachingState.FAILED, _reason(error)
            _log.warning("a lesson failed: %s", error.code)
        except Exception as error:
            lesson.state, lesson.reason = TeachingState.FAILED, "internal"
            _log.warning("a lesson failed: %s", describe_defect(error))

    async def _remember(self, lesson: _Lesson, adapter: Adapter, heads: Sequence[MemCube]) -> None:
        """Makes the parameter memory: never wider open than the narrowest source."""
        private = any(head.governance.visibility is Visibility.PRIVATE for head in heads)
        create = Create(
            payload=ParameterRef(adapter.digest, adapter.base, adapter.rank, adapter.size_bytes),
            minted_id=adapter.id,
            origin=lesson.making.origin,
            sources=tuple(
                SourceRef(cube_id=source.cube_id, version=source.version)
                for source in (*adapter.sources, *lesson.making.through)
            ),
            attributes={
                **lesson.making.attributes,
                "model": adapter.model,
                "state": adapter.state.value,
            },
            visibility=Visibility.PRIVATE if private else None,
        )
        request = lesson.request
        write = Write(request.namespace, create, f"lesson:{adapter.id}", request.reason)
        partition = lesson.place.partition
        (outcome,) = await self._write(partition, [Submission(request.context, write)])
        if isinstance(outcome, MemosError):
            self._adapters.give_up(adapter)
            raise outcome


def _reason(error: MemosError) -> str:
    # What somebody can mend is said in full.
    return str(error)[:_REASON_MOST] if isinstance(error, ClientError) else error.code


def _report(lesson: _Lesson) -> TeachingReport:
    # It made an adapter, which is not there any more.
    made = lesson.state in (TeachingState.LIVE, TeachingState.REJECTED)
    return TeachingReport(
        id=lesson.request.minted_id,
        namespace=lesson.place.namespace,
        model=lesson.request.model,
        state=TeachingState.RETIRED if made else lesson.state,
        share=lesson.progress.share,
        loss=lesson.progress.loss,
        reason=lesson.reason,
        adapter=None,
        size_bytes=0,
        report="",
        sources=lesson.sources,
    )
