"""Parameter memory: what a model is to learn, and what is known of its lessons."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from memos_ray.core.parameter import PARENTS_MAX, FusionMethod, ProbingState, TeachingState, Way
from memos_ray.gateway.fields import MemoryId, Model, Name, NamespaceName


class Teaching(Model):
    """Memories of one namespace that a model is to learn.

    `namespace` is the caller's own home when absent.
    """

    ids: Annotated[list[MemoryId], Field(min_length=1, max_length=1000)]
    model: Name
    namespace: NamespaceName | None = None


class Merging(Model):
    """Live adapters of one namespace and model that become one.

    Each counts with its weight, 1 when there are none. `density` is the share of the changes that
    `ties` and `dare` keep, 0.7 and 0.9 when absent. `namespace` is the caller's own home when
    absent.
    """

    ids: Annotated[list[MemoryId], Field(min_length=2, max_length=PARENTS_MAX)]
    method: FusionMethod = FusionMethod.SVD
    weights: Annotated[
        list[Annotated[float, Field(gt=-100, lt=100)]], Field(max_length=PARENTS_MAX)
    ] = []
    density: Annotated[float, Field(gt=0, lt=1)] | None = None
    namespace: NamespaceName | None = None


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter in PEFT's two files.

    Attributes:
        config: the whole configuration.
        tensors: pieces of the safetensors file, in their order.
        size_bytes: length of that file.
    """

    config: bytes
    tensors: AsyncGenerator[bytes, None]
    size_bytes: int


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


class Externalising(Model):
    """How an adapter is turned into text.

    `probe` says whether the model is asked, beside what is known of the adapter's sources.
    """

    probe: bool = True


class ExternalisedMemory(Model):
    """A plaintext memory that was made from an adapter.

    `source` is the memory that was learnt, at the version that was learnt. `confidence` is the
    share of the wordings in which the model says it, from 0 to 1; 1 for what is from lineage.
    """

    id: str
    source: LearntMemory
    way: Way
    confidence: float


class ExternaliseResult(Model):
    """What became of an adapter's knowledge.

    While `probing` is `running` the same request says how it goes on; `reason` is why it failed:
    the code of an error.
    """

    adapter: str
    namespace: str
    memories: list[ExternalisedMemory]
    probing: ProbingState
    reason: str | None = None
