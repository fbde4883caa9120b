"""A lesson under way or ended, as the shard that teaches knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from memos_ray.actors.parameter.adapter_rows import Adapter
from memos_ray.actors.parameter.lesson_rows import LessonRecord
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Attribute, Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ParameterRef
from memos_ray.core.parameter import TeachingReport, TeachingState
from memos_ray.core.teaching import Knowledge
from memos_ray.core.vault.changes import labelled
from memos_ray.core.vault.operations import Create
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.errors import ClientError, MemosError
from memos_ray.ports import (
    CombinedAdapters,
    ForeignAdapter,
    Trained,
    TrainingProgress,
    Wordings,
)

MADE = (TeachingState.LIVE, TeachingState.REJECTED)
"""States of a lesson that has led to an adapter."""
_REASON_MOST = 400


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


def by_training(request: TeachRequest, through: tuple[SourceVersion, ...] = ()) -> Making:
    """Returns how a model learns what a request names."""
    return Making(attributes={"automatic": True} if request.automatic else {}, through=through)


@dataclass(slots=True)
class Lesson:
    """A lesson.

    Attributes:
        given: see `LessonRecord`.
        left: it is for another shard to go on with.
        wordings: see `TrainingSpec`.
    """

    place: Place
    request: TeachRequest
    making: Making
    sources: tuple[SourceVersion, ...]
    given: bool = False
    state: TeachingState = TeachingState.TRAINING
    progress: TrainingProgress = field(default_factory=lambda: TrainingProgress(0.0))
    reason: str | None = None
    attempts: int = 0
    left: bool = False
    wordings: Wordings | None = None
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state is not TeachingState.TRAINING

    @property
    def record(self) -> LessonRecord:
        """What of it is to outlive this shard, and its end."""
        return LessonRecord(
            self.place,
            self.request,
            self.sources,
            self.given,
            self.state,
            self.reason,
            self.attempts,
            self.making.through,
            None if self.ended else self.wordings,
        )


def sources_of(heads: Sequence[MemCube]) -> tuple[SourceVersion, ...]:
    """Names memories as they are now."""
    return tuple(SourceVersion(head.id, head.version.number) for head in heads)


def reason_of(error: MemosError) -> str:
    """Says why a lesson has failed."""
    # What somebody can mend is said in full.
    return str(error)[:_REASON_MOST] if isinstance(error, ClientError) else error.code


def report_of(lesson: Lesson) -> TeachingReport:
    """Says how a lesson is going."""
    # It made an adapter, which is not there any more.
    return TeachingReport(
        id=lesson.request.minted_id,
        namespace=lesson.place.namespace,
        model=lesson.request.model,
        state=TeachingState.RETIRED if lesson.state in MADE else lesson.state,
        share=lesson.progress.share,
        loss=lesson.progress.loss,
        reason=lesson.reason,
        adapter=None,
        size_bytes=0,
        report="",
        sources=lesson.sources,
    )


def knowledge_of(lesson: Lesson, heads: Sequence[MemCube]) -> tuple[Knowledge, ...]:
    """Returns what a lesson is to teach."""
    wanted = {source.cube_id for source in lesson.sources}
    return tuple(
        Knowledge(
            SourceVersion(head.id, head.version.number), head.text, head.descriptive.semantic_type
        )
        for head in heads
        if head.id in wanted
    )


def adapter_of(lesson: Lesson, trained: Trained) -> Adapter:
    """Returns the adapter that a lesson has led to; it has no file yet."""
    manifest = trained.manifest
    return Adapter(
        id=lesson.request.minted_id,
        place=lesson.place,
        model=lesson.request.model,
        digest=manifest.digest,
        base=manifest.base,
        rank=manifest.rank,
        alpha=manifest.alpha,
        blob="",
        size_bytes=manifest.size_bytes,
        state=TeachingState.LIVE if trained.accepted else TeachingState.REJECTED,
        sources=lesson.sources,
        report=trained.report,
        figures=dict(trained.figures),
    )


def memory_of(lesson: Lesson, adapter: Adapter, heads: Sequence[MemCube]) -> Create:
    """Makes the parameter memory of an adapter: never wider open than the narrowest source.

    It has the labels of all of them.
    """
    private = any(head.governance.visibility is Visibility.PRIVATE for head in heads)
    made = Create(
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
    return labelled(made, heads)
