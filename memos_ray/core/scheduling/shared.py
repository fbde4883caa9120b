"""What a prompt begins with: the same for everybody in a namespace, or in a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from memos_ray.core.activation import KvManifest, SourceVersion
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.metadata import ExpiresAt
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.scheduling.conversations import ConversationState
from memos_ray.core.scheduling.forms import MemoryFacts
from memos_ray.core.scheduling.plan import PromptMemory

# So that an edit right behind the first version does not pass for a habit.
_SETTLING_H = 6.0


@crossing
@dataclass(frozen=True, slots=True)
class Taught:
    """What the model has learnt of a namespace.

    Attributes:
        id: of the parameter memory.
        adapter: content digest of the LoRA adapter.
        learnt: the memories that it knows as they are now.
        stale: those that have changed since, as they are now: prompts must say them.
        weights: reference to the `AdapterPayload`.
        kv: the KV cache, computed with the adapter, of what prompts for it begin with, when there
            is one.
        reference: to that.
    """

    id: str
    adapter: str
    learnt: tuple[SourceVersion, ...]
    stale: tuple[PromptMemory, ...]
    weights: object | None = None
    kv: KvManifest | None = None
    reference: object | None = None

    @property
    def known(self) -> frozenset[tuple[str, int]]:
        """Ids and versions of what need not be said."""
        return frozenset((one.cube_id, one.version) for one in self.learnt)


@crossing
@dataclass(frozen=True, slots=True)
class PromptStart:
    """What a prompt begins with: as the base has it, and as the model has it that was taught.

    Which of the two a prompt is for shows only when it is known what was found for it.

    Attributes:
        memories: those that all prompts of the namespace begin with, in their order.
        kv: the KV cache of exactly these for the base, when there is one.
        conversation: what its earlier prompts had; nothing when none is kept.
        references: where the caches lie in the object store: of `kv`, then of the conversation's.
        taught: what the model has learnt of the namespace, if it has.
        expected: ids of what was in memory for this turn, by the forecast behind the last one.
    """

    memories: tuple[PromptMemory, ...] = ()
    kv: KvManifest | None = None
    conversation: ConversationState | None = None
    references: tuple[object, ...] = ()
    taught: Taught | None = None
    expected: tuple[str, ...] = ()

    @property
    def caches(self) -> tuple[tuple[KvManifest, ...], tuple[object, ...]]:
        """The caches that fit, and where they lie: with what is taught only those of the adapter.

        Those of a conversation are the base's.
        """
        if self.taught is not None:
            kv = self.taught.kv
            return ((), ()) if kv is None else ((kv,), (self.taught.reference,))
        shared = () if self.kv is None else (self.kv,)
        kept = () if self.conversation is None else self.conversation.kv
        return (*shared, *kept), self.references

    def apart(self) -> tuple[PromptStart, list[object]]:
        """Returns this without its references, and them beside it."""
        if self.taught is None:
            return replace(self, references=()), list(self.references)
        taught = replace(self.taught, weights=None, reference=None)
        beside = [*self.references, self.taught.weights]
        if taught.kv is not None:
            beside.append(self.taught.reference)
        return replace(self, references=(), taught=taught), beside

    def together(self, references: Sequence[object]) -> PromptStart:
        """Returns this with the references that `apart` has returned beside it."""
        rest, taught = list(references), self.taught
        if taught is not None:
            reference = None if taught.kv is None else rest.pop()
            taught = replace(taught, weights=rest.pop(), reference=reference)
        return replace(self, references=tuple(rest), taught=taught)


def prompt_line(text: str, speaker: str | None, event_time: datetime | None) -> str:
    """Returns a memory as it stands in a prompt: when, who, what."""
    said = f"{speaker}: " if speaker else ""
    day = f"[{event_time:%Y-%m-%d}] " if event_time else ""
    return f"{day}{said}{text}"


def prompt_memory(cube: MemCube) -> PromptMemory:
    """Returns a plaintext memory as a prompt needs it."""
    about = cube.descriptive
    return PromptMemory(
        id=cube.id,
        version=cube.version.number,
        text=prompt_line(cube.text, about.setting.speaker, about.event_time),
        order=to_micros(about.event_time or about.created_at),
    )


def memory_facts(cube: MemCube, uses_hour: float, tokens: int, now: datetime) -> MemoryFacts:
    """Returns what decides of a memory's form; it has changed as often as it has versions."""
    age_h = max((now - cube.descriptive.created_at).total_seconds() / 3600, _SETTLING_H)
    lifespan = cube.governance.lifespan
    left_s = (lifespan.at - now).total_seconds() if isinstance(lifespan, ExpiresAt) else None
    return MemoryFacts(
        tokens=tokens,
        uses_hour=uses_hour,
        changes_hour=(cube.version.number - 1) / age_h,
        lifetime_s=left_s,
    )


def holds(cube: MemCube, now: datetime) -> bool:
    """Tells whether a memory may stand in a prompt: a text, not put away, gone or superseded."""
    lifespan, ended = cube.governance.lifespan, cube.descriptive.valid_to
    return (
        isinstance(cube.payload, Plaintext)
        and cube.state in LIVE
        and not (isinstance(lifespan, ExpiresAt) and lifespan.at <= now)
        and not (ended is not None and ended <= now)
    )


def sources_of(memories: Sequence[PromptMemory]) -> tuple[SourceVersion, ...]:
    """Names what a prompt's beginning is made of."""
    return tuple(SourceVersion(memory.id, memory.version) for memory in memories)
