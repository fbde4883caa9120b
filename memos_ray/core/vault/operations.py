"""What a caller may ask of a vault: the closed union `Operation`, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import (
    Arrangement,
    Attribute,
    Forever,
    Governance,
    Lifespan,
    Origin,
    SemanticType,
    Setting,
    SourceRef,
    TimeSpan,
    Visibility,
)
from memos_ray.core.cube.payload import Payload
from memos_ray.core.lifecycle.moves import Cause, Move

if TYPE_CHECKING:
    from memos_ray.core.lifecycle.archive import StoredVersion


@crossing
@dataclass(frozen=True, slots=True)
class Create:
    """Stores a new memory.

    Attributes:
        id: chosen by the caller, or absent to take `minted_id`.
        minted_id: fresh identifier from the gateway.
        visibility: the namespace's default when absent.
        provenance_id: set when the memory is a copy of another; its own id when absent.
    """

    payload: Payload
    id: str | None = None
    minted_id: str = ""
    origin: Origin = Origin.USER_INPUT
    semantic_type: SemanticType = SemanticType.FACT
    arrangement: Arrangement = Arrangement.ITEM
    tags: tuple[str, ...] = ()
    setting: Setting = field(default_factory=Setting)
    event_time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    mentions: tuple[TimeSpan, ...] = ()
    sources: tuple[SourceRef, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    visibility: Visibility | None = None
    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    sharers: tuple[str, ...] = ()
    lifespan: Lifespan = field(default_factory=Forever)
    priority: int = 0
    sensitivity: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    watermark: str | None = None
    legal_hold: bool = False
    provenance_id: str | None = None

    @property
    def cube_id(self) -> str:
        """The identifier that the memory will have."""
        return self.id or self.minted_id


class UpdateMode(StrEnum):
    """How an update treats what is there.

    `APPEND` adds the text behind the old one and unites tags; `MERGE` replaces only the fields that
    are given, uniting tags and attributes; `OVERWRITE` replaces payload, tags and attributes.
    """

    APPEND = "append"
    MERGE = "merge"
    OVERWRITE = "overwrite"


class Clearable(StrEnum):
    """What an update may take away: times, and the end or the half-life that a lifespan has."""

    EVENT_TIME = "event_time"
    VALID_FROM = "valid_from"
    VALID_TO = "valid_to"
    EXPIRES_AT = "expires_at"
    HALF_LIFE_S = "half_life_s"


@crossing
@dataclass(frozen=True, slots=True)
class Update:
    """Makes a new version of a memory.

    Attributes:
        expected: version that must be current (compare-and-set); any when absent.
        merged_from: further parents, for a version that unites several memories.
        sources: added to those that there are.
        sensitivity: labels that are added; no update takes one away, whatever its mode.
        compliance: as `sensitivity`.
        clear: fields that the memory has no longer, whatever the mode; of these no value is given.
    """

    cube_id: str
    mode: UpdateMode
    text: str | None = None
    payload: Payload | None = None
    semantic_type: SemanticType | None = None
    tags: tuple[str, ...] | None = None
    attributes: Mapping[str, Attribute] | None = None
    event_time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    lifespan: Lifespan | None = None
    priority: int | None = None
    expected: int | None = None
    merged_from: tuple[tuple[str, int], ...] = ()
    sources: tuple[SourceRef, ...] = ()
    sensitivity: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    clear: tuple[Clearable, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class Share:
    """Changes who may reach a memory: names added to and removed from its scopes."""

    cube_id: str
    visibility: Visibility | None = None
    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    sharers: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    expected: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes a memory: soft (it can be restored) or hard (every version is erased)."""

    cube_id: str
    hard: bool = False
    expected: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Restore:
    """Undoes a soft delete, an expiry or an archiving.

    A lifespan that is over ends with it: the memory lives until somebody says otherwise.

    Attributes:
        state_of: version whose state it takes again; it is in use when absent.
    """

    cube_id: str
    expected: int | None = None
    state_of: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Rollback:
    """Makes a new version with the content of an older one.

    Attributes:
        with_state: whether it takes the state of that version as well.
    """

    cube_id: str
    to: int
    expected: int | None = None
    with_state: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class Freeze:
    """Forbids every further change (LIFE-4), or allows changes again."""

    cube_id: str
    frozen: bool = True
    expected: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Hold:
    """Puts a memory under legal hold, so that nothing takes it away, or releases it."""

    cube_id: str
    held: bool = True
    expected: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Archive:
    """Puts a memory away: it is kept and can be read, but searches leave it out."""

    cube_id: str
    expected: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Age:
    """Moves a memory on by its age and use, or with what it was made of. No caller may ask for it.

    Attributes:
        move: `ARCHIVE`, `EXPIRE` or `COLLECT`; of a memory of a branch, `ERASE`; for
            `Cause.LINEAGE` `DELETE`, `RESTORE`, `ARCHIVE`, `CLOSE` or `ERASE`.
        expected: the version that the decision was made for; when there is a newer one, none is
            made.
        stub: that version without its content, which is in a file: so both, it and the one that
            is made, come to rest.
        rules: those that the memory has from a `CLOSE` on.
    """

    cube_id: str
    move: Move
    cause: Cause
    expected: int
    stub: StoredVersion | None = None
    rules: Governance | None = None


Operation = Create | Update | Share | Delete | Restore | Rollback | Freeze | Hold | Archive | Age


def target_of(operation: Operation) -> int | None:
    """Returns the number of the older version that an operation goes back to, if it does."""
    match operation:
        case Rollback(to=number) | Restore(state_of=number):
            return number
        case _:
            return None


@crossing
@dataclass(frozen=True, slots=True)
class Learnt:
    """What came between a new memory and those that it says something of: an adapter.

    Attributes:
        parameter: id of the parameter memory, which may be the new memory itself.
        ids: of all that it has learnt, where the new memory may say any of that.
    """

    parameter: str
    ids: tuple[str, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class Write:
    """One item of a write call.

    Attributes:
        namespace: where a new memory goes; for an existing one, where it must be, or empty.
        idempotency_key: a retry with the same key and operation has no second effect and gets the
            first answer again.
        reason: kept with the version.
        retried: an earlier attempt may have had its effect: a minted id that is there already is
            then this write's own.
        branched_at: of a write in a branch, the moment of which it takes over what it changes.
        extract: whether a model is to read the new memory for facts, behind the log.
        derived_from: memories that the new one says something of, by id and version. Unless each is
            at that version still, nothing is written; of each the log has an entry about it.
        known_by_key: whether the first answer is given again whatever else a write under the key
            says, as long as it is for the same namespace; it is a conflict otherwise.
        learnt: unless all that it names is there, nothing is written; the log tells each of the
            parameter memory, once in a transaction. The new memory gets the labels of all of it.
    """

    namespace: str
    operation: Operation
    idempotency_key: str | None = None
    reason: str | None = None
    retried: bool = False
    branched_at: datetime | None = None
    extract: bool = False
    derived_from: tuple[tuple[str, int], ...] = ()
    learnt: Learnt | None = None
    known_by_key: bool = False

    def digest(self) -> str:
        """Identifies the request; freshly minted ids do not count."""
        operation = self.operation
        if isinstance(operation, Create):
            operation = replace(operation, minted_id="")
        body = orjson.dumps(
            (type(operation).__name__, self.namespace, operation, self.reason),
            option=orjson.OPT_SORT_KEYS,
        )
        return digest(b"memos-write-1", body)


@crossing
@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write that is durable.

    Attributes:
        version: number of the version made; 0 after an erasure.
        lsn: position in the log of `partition`, the material of a read-your-writes token.
        replayed: the effect is of an earlier call with this idempotency key.
    """

    cube_id: str
    version: int
    partition: int
    lsn: int
    replayed: bool = False
