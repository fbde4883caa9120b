"""What turns memories into adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import AdapterManifest, FusionPlan
from memos_ray.core.teaching import Knowledge, ProbedStatement


@dataclass(frozen=True, slots=True)
class CombinedAdapters:
    """Adapters that become one.

    Attributes:
        plan: made for these.
        references: to their `AdapterPayload`s in the object store.
    """

    plan: FusionPlan
    references: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ForeignAdapter:
    """An adapter that was made elsewhere: the files of PEFT, not yet looked at.

    Attributes:
        config: what its configuration says.
        references: one, to the bytes of its safetensors file.
    """

    config: bytes
    references: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Wordings:
    """Further questions of a lesson: written once, to be the same when it is taken up again.

    Attributes:
        questions: for memories, at the versions that they were written for.
        said: of how they were written, for the report.
    """

    questions: Mapping[SourceVersion, tuple[str, ...]]
    said: str


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What a trainer is given.

    Attributes:
        id: of the lesson: what was begun under it is gone on with.
        knowledge: what the adapter is to know.
        made_of: what the adapter is made of instead of being trained.
        wordings: what `TrainerPort.word` has returned for this lesson.
    """

    id: str
    model: str
    knowledge: tuple[Knowledge, ...]
    made_of: CombinedAdapters | ForeignAdapter | None = None
    wordings: Wordings | None = None


@dataclass(frozen=True, slots=True)
class AdapterRoom:
    """Largest rank and file of an adapter that a model's replicas take."""

    rank_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is: `share` from 0 to 1, and the newest loss."""

    share: float
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training.

    Attributes:
        reference: to the `AdapterPayload` in the object store.
        accepted: whether the gate lets it go live.
        report: what the gate has found, in Markdown.
        figures: the same, as numbers.
    """

    manifest: AdapterManifest
    reference: object
    accepted: bool
    report: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProbingSpec:
    """What a trainer asks an adapter about.

    Attributes:
        knowledge: memories as they were learnt.
        adapter: reference to the `AdapterPayload`.
    """

    model: str
    knowledge: tuple[Knowledge, ...]
    adapter: object


class TrainerPort(Protocol):
    """Makes LoRA adapters and asks them, one job after the other or side by side."""

    @property
    def models(self) -> Mapping[str, AdapterRoom]:
        """The models that can be taught, by their names."""
        ...

    async def word(self, spec: TrainingSpec) -> Wordings | None:
        """Has further questions written for a lesson; nothing where nobody writes any.

        Cancelling the call ends it.
        """
        ...

    async def train(
        self, spec: TrainingSpec, progress: Callable[[TrainingProgress], None]
    ) -> Trained:
        """Makes and checks an adapter; cancelling the call ends it.

        What was begun under the same id is gone on with.

        Raises:
            InvalidInputError: the memories cannot be taught, the model cannot be, or what the
                adapter is made of does not fit it.
            UnavailableError: the trainer has died more often than it is started again.
        """
        ...

    async def forget(self, lesson_id: str) -> None:
        """Erases what was begun under an id that nobody goes on with; nothing there is fine."""
        ...

    async def probe(self, spec: ProbingSpec) -> tuple[ProbedStatement, ...]:
        """Returns what a model says about memories with an adapter, and not without it.

        Cancelling the call ends it.

        Raises:
            InvalidInputError: the adapter does not fit the model.
            UnavailableError: the adapter is lost, or who asks it has died too often.
        """
        ...
