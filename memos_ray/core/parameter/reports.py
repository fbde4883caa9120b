"""What is known of lessons, and of the adapters that they lead to."""

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


@crossing
@dataclass(frozen=True, slots=True)
class AdapterPart:
    """A part of an adapter's safetensors file.

    Attributes:
        digest: of the adapter; parts of one file say the same.
        config: PEFT's configuration, the whole of it.
        size_bytes: of the whole file.
        data: from where it was asked for; nothing behind the end.
    """

    digest: str
    config: bytes
    size_bytes: int
    data: bytes


class Way(StrEnum):
    """How a plaintext memory came out of an adapter."""

    LINEAGE = "lineage"
    """It is what the adapter was taught, as it was then."""
    PROBING = "probing"
    """The model says it with the adapter, and not without."""


class ProbingState(StrEnum):
    """How far the asking of an adapter is."""

    OFF = "off"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@crossing
@dataclass(frozen=True, slots=True)
class Externalised:
    """A plaintext memory that was made from an adapter.

    Attributes:
        source: the memory that was learnt.
        confidence: share of the wordings that give it, from 0 to 1; 1 for what is from lineage.
    """

    cube_id: str
    source: SourceVersion
    way: Way
    confidence: float


@crossing
@dataclass(frozen=True, slots=True)
class ExternaliseReport:
    """What became of an adapter's knowledge.

    Attributes:
        memories: those that there are now, by lineage and then by probing.
        reason: why probing failed: the code of an error.
    """

    adapter_id: str
    namespace: str
    memories: tuple[Externalised, ...]
    probing: ProbingState
    reason: str | None = None
