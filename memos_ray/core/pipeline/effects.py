"""What a run will do, decided before anything is done: writes, their inverses, what follows.

An effect names the version that it expects, so that a memory that somebody else has changed since
the run has read it makes the commit fail and is not overwritten. Its idempotency key follows from
run, step and item: done twice it has happened once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.metadata import Origin, SemanticType, SourceRef
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Operation,
    Restore,
    Rollback,
    Update,
    UpdateMode,
    Write,
)


class EffectKind(StrEnum):
    """What is written."""

    CREATE = "create"
    UPDATE = "update"
    TAG = "tag"
    DELETE = "delete"
    ARCHIVE = "archive"


_AWAY = frozenset((EffectKind.DELETE, EffectKind.ARCHIVE))
"""What a restoration undoes."""


@crossing
@dataclass(frozen=True, slots=True)
class Effect:
    """One write.

    Attributes:
        index: place among the writes of its step.
        version: of the memory before it, as the run has read it; 0 when it is new.
        chained: whether an earlier effect of the run changes the same memory.
        sensitivity: of all that the text may say something of.
        compliance: as `sensitivity`.
    """

    kind: EffectKind
    step: str
    index: int
    partition: int
    namespace: str
    cube_id: str
    version: int = 0
    text: str | None = None
    mode: UpdateMode = UpdateMode.MERGE
    tags: tuple[str, ...] = ()
    semantic_type: SemanticType = SemanticType.FACT
    sources: tuple[tuple[str, int], ...] = ()
    chained: bool = False
    sensitivity: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()

    def bare(self) -> Effect:
        """Returns the effect without what it writes."""
        return replace(self, text=None, tags=(), sources=(), sensitivity=(), compliance=())

    def write(self, run: str) -> Write:
        """Returns the write that carries it out."""
        key = f"pipeline:{run}/{self.step}/{self.index}"
        return Write(self.namespace, self._operation(), key, f"pipeline run {run}")

    def _operation(self) -> Operation:
        expected = None if self.chained else self.version
        match self.kind:
            case EffectKind.CREATE:
                return Create(
                    Plaintext(self.text or ""),
                    id=self.cube_id,
                    origin=Origin.INFERENCE,
                    semantic_type=self.semantic_type,
                    tags=self.tags,
                    sources=tuple(
                        SourceRef(None, None, cube_id, version) for cube_id, version in self.sources
                    ),
                    sensitivity=self.sensitivity,
                    compliance=self.compliance,
                )
            case EffectKind.UPDATE:
                return Update(
                    self.cube_id,
                    self.mode,
                    text=self.text,
                    expected=expected,
                    sensitivity=self.sensitivity,
                    compliance=self.compliance,
                )
            case EffectKind.TAG:
                return Update(self.cube_id, UpdateMode.MERGE, tags=self.tags, expected=expected)
            case EffectKind.DELETE:
                return Delete(self.cube_id, expected=expected)
            case EffectKind.ARCHIVE:
                return Archive(self.cube_id, expected=expected)


@crossing
@dataclass(frozen=True, slots=True)
class FollowUp:
    """What comes after the commit: it cannot be undone, and is repeated until it is done.

    Attributes:
        kind: `convert`, `teach` or `publish`.
        minted_id: of what it makes, or the key of what it sends.
        ids: the memories concerned, of `namespace`.
    """

    kind: str
    minted_id: str
    namespace: str = ""
    ids: tuple[str, ...] = ()
    model: str = ""
    url: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a memory says at a point of a run, and whether it is put away."""

    text: str | None
    tags: frozenset[str]
    archived: bool = False

    def after(self, effect: Effect) -> Content:
        """Returns the content behind one more effect; a change brings back what was put away."""
        if effect.kind is EffectKind.ARCHIVE:
            return replace(self, archived=True)
        said = self._said(effect)
        return self if said == self else replace(said, archived=False)

    def _said(self, effect: Effect) -> Content:
        match effect.kind, effect.mode:
            case (EffectKind.CREATE, _):
                return replace(self, text=effect.text, tags=frozenset(effect.tags))
            case (EffectKind.TAG, _):
                return replace(self, tags=self.tags | set(effect.tags))
            case (EffectKind.UPDATE, UpdateMode.OVERWRITE):
                return replace(self, text=effect.text, tags=frozenset())
            case (EffectKind.UPDATE, UpdateMode.APPEND):
                return replace(self, text=f"{self.text or ''}\n{effect.text}")
            case (EffectKind.UPDATE, _):
                return replace(self, text=effect.text)
            case _:
                return self


def inverses(run: str, effects: Sequence[Effect], versions: Sequence[int]) -> list[Write]:
    """Returns what undoes committed effects of one partition, memory by memory.

    What was made is deleted, what was changed goes back to its version from before, what was
    deleted or put away is restored, each in the state that it was in, while the memory is as the
    run has left it.

    Args:
        versions: that the effects have made, in order.
    """
    first: dict[str, Effect] = {}
    last: dict[str, tuple[Effect, int]] = {}
    for effect, version in zip(effects, versions, strict=True):
        first.setdefault(effect.cube_id, effect)
        last[effect.cube_id] = (effect, version)
    found: list[Write] = []
    for cube_id, effect in reversed(first.items()):
        newest, version = last[cube_id]
        wanted: list[Operation] = []
        if effect.kind is EffectKind.CREATE:
            if newest.kind is not EffectKind.DELETE:
                wanted.append(Delete(cube_id, expected=version))
        elif newest.kind in _AWAY:
            wanted.append(Restore(cube_id, version, state_of=effect.version))
            if effect is not newest:
                wanted.append(Rollback(cube_id, effect.version, with_state=True))
        else:
            wanted.append(Rollback(cube_id, effect.version, version, with_state=True))
        found += [
            Write(
                effect.namespace,
                operation,
                f"pipeline:{run}/undo/{cube_id}/{number}",
                f"pipeline run {run} undone",
            )
            for number, operation in enumerate(wanted)
        ]
    return found
