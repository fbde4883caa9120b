"""Teaching a model: memories become a LoRA adapter, if that does what it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from memos_ray.core.activation import SourceVersion
from memos_ray.core.crossing import crossing


class TeachingState(StrEnum):
    """How far a lesson is."""

    TRAINING = "training"
    LIVE = "live"
    """Prompts to the model use it."""
    STALE = "stale"
    """Some memories have changed since: prompts use it, with their new text."""
    RETIRED = "retired"
    """A memory that it has learnt is gone, or may not be read by all: nothing uses it."""
    REJECTED = "rejected"
    """It did not do what it should; see the report."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@crossing
@dataclass(frozen=True, slots=True)
class Lesson:
    """A memory to be learnt, as prompts have it."""

    source: SourceVersion
    text: str


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What a trainer is given.

    Attributes:
        id: of the lesson: what was begun under it is gone on with.
    """

    id: str
    model: str
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is: `share` from 0 to 1, and the newest loss."""

    share: float
    loss: float | None = None


@crossing
@dataclass(frozen=True, slots=True)
class TeachingReport:
    """What is known of a lesson and its adapter.

    Attributes:
        share: how much of the training is done, from 0 to 1.
        reason: why it failed.
        adapter: digest of the adapter, when there is one.
        report: what the gate has found, in Markdown.
        figures: the same, as numbers.
        sources: the memories at the versions that were learnt.
    """

    id: str
    namespace: str
    model: str
    state: TeachingState
    share: float
    loss: float | None
    reason: str | None
    adapter: str | None
    size_bytes: int
    report: str
    sources: tuple[SourceVersion, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
