"""Parameter memory: what a model is to learn, and what is known of its lessons."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from memos_ray.core.parameter import TeachingState
from memos_ray.gateway.models import MemoryId, Model, Name, NamespaceName


class Teaching(Model):
    """Memories of one namespace that a model is to learn.

    `namespace` is the caller's own home when absent.
    """

    ids: Annotated[list[MemoryId], Field(min_length=1, max_length=1000)]
    model: Name
    namespace: NamespaceName | None = None


class LearntMemory(Model):
    """A memory at the version that was learnt."""

    id: str
    version: int


class LessonReport(Model):
    """A lesson, and the adapter that it has led to.

    `share` says how much of the training is done, from 0 to 1; `reason` why it failed. `adapter` is
    the digest of the adapter once there is one, `report` what the gate has found, in Markdown,
    `figures` the same as numbers.
    """

    id: str
    namespace: str
    model: str
    state: TeachingState
    share: float
    loss: float | None = None
    reason: str | None = None
    adapter: str | None = None
    size_bytes: int = 0
    report: str = ""
    figures: dict[str, float] = {}
    memories: list[LearntMemory]


class LessonList(Model):
    """The lessons and adapters of a namespace."""

    lessons: list[LessonReport]
