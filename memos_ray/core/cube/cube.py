"""The MemCube: one type around all three forms of memory, and its version chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.fingerprint import Fingerprint
from memos_ray.core.cube.metadata import Descriptive, Governance, Usage
from memos_ray.core.cube.payload import Payload


class State(StrEnum):
    """Lifecycle state (LIFE-1); see `core.lifecycle.states` for what each means."""

    GENERATED = "generated"
    ACTIVATED = "activated"
    MERGED = "merged"
    ARCHIVED = "archived"
    EXPIRED = "expired"
    DELETED = "deleted"


class Change(StrEnum):
    """What made a version."""

    CREATE = "create"
    APPEND = "append"
    MERGE = "merge"
    OVERWRITE = "overwrite"
    SHARE = "share"
    ROLLBACK = "rollback"
    DELETE = "delete"
    RESTORE = "restore"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    HOLD = "hold"
    RELEASE = "release"
    ARCHIVE = "archive"
    EXPIRE = "expire"


@crossing
@dataclass(frozen=True, slots=True)
class ParentRef:
    """One parent of a version: usually the version before it; a merge has several."""

    cube_id: str
    version: int


@crossing
@dataclass(frozen=True, slots=True)
class VersionInfo:
    """The record of one immutable version.

    Attributes:
        number: 1 for the first; grows by one with each change of the cube.
        digest: blake2b-256 of the canonical content, hex (see `wire.content_digest`).
        parents: empty for the first version.
        author: principal that made it.
        lsn: position in the log of the cube's partition; 0 before it is committed.
    """

    number: int
    digest: str
    change: Change
    author: str
    created_at: datetime
    parents: tuple[ParentRef, ...] = ()
    reason: str | None = None
    lsn: int = 0


@crossing
@dataclass(frozen=True, slots=True)
class MemCube:
    """A memory at one version.

    Invariants: `id` and `provenance_id` never change; two cubes share a `provenance_id` only when
    one was copied, imported or converted from the other. `tenant` comes from the credential that
    created it. Everything but `usage` is fixed by the version.
    """

    id: str
    provenance_id: str
    tenant: str
    namespace: str
    payload: Payload
    descriptive: Descriptive
    governance: Governance
    version: VersionInfo
    fingerprint: Fingerprint
    state: State = State.ACTIVATED
    frozen: bool = False
    usage: Usage = field(default_factory=Usage)

    @property
    def text(self) -> str:
        """The searchable text; empty for forms that have none."""
        return getattr(self.payload, "text", "")
