"""The rows of a partition's log and what one commit carries.

The event table of a partition is its log; an event's LSN is its position there. The outbox to the
vector store, lifecycle sweeps, audit and feeds are cursors on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.facets import Facets

if TYPE_CHECKING:
    from memos_ray.core.lifecycle.archive import StoredVersion

ERASE = "erase"
"""The operation in the log that leaves no version behind: a hard delete."""


ANSWER = "answer"
"""The operation in the access log by which a memory was given to a model for an answer.

Its request id is that of the answer; the detail says in which form the memory came.
"""


class Outcome(StrEnum):
    """How a call ended, for the audit log."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


_NOTHING: Mapping[str, str | int | float | bool | None] = {}


class Event(NamedTuple):
    """One entry of the log: who did what to which memory, under which circumstances.

    A tuple: each write makes one, and each reader of the log.

    Attributes:
        lsn: 1 for the first event of the partition, without gaps; 0 before it is committed.
        operation: a `Change`, or `erase`, `read`, `search`, `grant`, `key`, ….
        detail: facts about the operation; never memory content and never a secret.
    """

    lsn: int
    at: datetime
    tenant: str
    namespace: str
    principal: str
    operation: str
    cube_id: str | None = None
    version: int | None = None
    outcome: Outcome = Outcome.DONE
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    credential: str = ""
    request_id: str = ""
    detail: Mapping[str, str | int | float | bool | None] = _NOTHING


@dataclass(frozen=True, slots=True)
class Reply:
    """A stored answer: a retry with the same key and request gets it again instead of an effect.

    Attributes:
        scope: principal that used the key; two principals never collide.
        request: digest of the request; another request under the key is a conflict.
        body: the answer, canonical JSON.
    """

    tenant: str
    scope: str
    key: str
    request: str
    body: bytes
    at: datetime


class CubeKey(NamedTuple):
    """Names one cube inside its partition. A tuple: it is looked up more often than anything."""

    tenant: str
    id: str


class Resting(NamedTuple):
    """A head as it rests. A tuple: thousands are read at once.

    Attributes:
        sketch: what has come to be known since the version was made.
        body: `wire.to_json` of its version, with the content where that can be had.
    """

    key: CubeKey
    namespace: str
    number: int
    state: str
    frozen: bool
    sketch: str | None
    body: bytes


class Moved(NamedTuple):
    """A new version of a text that says what the one before it said, in another state.

    Attributes:
        expires_at: end of its lifespan, microseconds since 1970, if it has one.
        parents: JSON of `VersionInfo.parents`.
        body: `wire.to_json` of the version, as it is to rest.
        payload: its payload, when that is in a file and the body refers to it.
    """

    key: CubeKey
    namespace: str
    number: int
    change: Change
    state: State
    author: str
    reason: str | None
    created_at: datetime
    expires_at: int | None
    digest: str
    parents: bytes
    lsn: int
    body: bytes
    payload: bytes | None = None

    def cube(self) -> MemCube:
        """Decodes the version, with its content."""
        return decode(self.body if self.payload is None else wire.filled(self.body, self.payload))


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction adds to a partition; all of it or none.

    Attributes:
        epoch: the writer's fence; the store refuses the commit when the partition has a newer one.
        erased: cubes that vanish with all versions, vectors, labels and usage; applied first.
            Replies stay: they hold no content, and without them a retry would act again.
        cubes: new versions in log order; the last one of each cube becomes its head.
        events: log entries, with contiguous LSNs that follow the partition's last one.
        facets: `facets_of` each cube, in order, when whoever made the commit has flattened and
            checked the cubes (`storable.check_cube`); the store does so itself when empty.
        bodies: `wire.to_json` of each cube, in order, where whoever made the commit has it.
        moved: new versions that differ from what is stored in their state alone, one a memory, and
            of none that is among `cubes`.
        stowed: older versions of `moved`, whose content is elsewhere from now on; see
            `RecordStorePort.stow`.
    """

    partition: int
    epoch: int
    cubes: tuple[MemCube, ...] = ()
    erased: tuple[CubeKey, ...] = ()
    events: tuple[Event, ...] = ()
    replies: tuple[Reply, ...] = ()
    facets: tuple[Facets, ...] = ()
    bodies: tuple[bytes | None, ...] = ()
    moved: tuple[Moved, ...] = ()
    stowed: tuple[StoredVersion, ...] = ()

    @property
    def touched(self) -> set[CubeKey]:
        """The memories that it changes or erases."""
        made = {CubeKey(cube.tenant, cube.id) for cube in self.cubes}
        return made.union((one.key for one in self.moved), self.erased)


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may write a partition: the owner with the newest epoch."""

    partition: int
    epoch: int
    owner: str


@dataclass(frozen=True, slots=True)
class UsageDelta:
    """Accesses of one cube since the last flush."""

    key: CubeKey
    count: int
    last_at: datetime
    cache_hits: int = 0
    usefulness: float = 0.0
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One document of the control plane: a principal, a key, a grant, the ring, ….

    Attributes:
        revision: grows with each change of this document; the token for compare-and-set.
    """

    tenant: str
    kind: str
    key: str
    revision: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ControlChange:
    """Puts (`body`) or removes (`None`) one control document.

    Attributes:
        expected: revision that must be current, 0 for "must not exist".
    """

    tenant: str
    kind: str
    key: str
    body: bytes | None
    expected: int
