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
