"""How an operation is told in the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import orjson

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.identity import digest
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.vault.changes import CHANGES, Revision, cause_of
from memos_ray.core.vault.log import ERASE, Event, Outcome
from memos_ray.core.vault.operations import Age, Delete, Freeze, Hold, Operation, Update, Write

_MARK_DIGITS = 32

Detail = dict[str, str | int | float | bool | None]

DERIVE = "derive"
"""The operation in the log that tells of a memory what was made of it."""

DERIVED = "memory"
"""In the entries of `DERIVE` and `LEARN`: the id of what was made."""

LEARN = "learn"
"""The operation in the log that tells of a memory which parameter memory has learnt it.

It is told when the parameter memory is stored, and when something is made of the adapter that could
say again what it has learnt.
"""

THROUGH = "through"
"""In the entry of `DERIVE`: the parameter memory that what was made comes from, if it does."""

LABELLED = "labelled"
"""In the entry of a change: whether the memory has got labels by it."""

TOLD = frozenset((DERIVE, LEARN))
"""Operations that change nothing of the memory that they tell of."""

UNREAD = "unread"
"""In the entry of a release: that the memory cannot be read, so that there is no version of it."""

REASON = "reason"
"""In the entry of such a release: the reason that it was given, if any; else versions keep that."""

EXTRACT = "extract"
"""In the entry of a creation: that a model is to read the memory, and with which rights.

Also the operation in the log by which what was stored before is marked so.
"""
STATES_ONLY = frozenset((Change.ARCHIVE, Change.EXPIRE, Change.DELETE, Change.RESTORE))
"""Versions that say the same as the ones before them, and are only in another state."""


def changes(event: Event) -> bool:
    """Tells whether an entry is of a change that made or erased versions of its memory."""
    return event.operation not in TOLD and UNREAD not in event.detail


def only_moved(cube: MemCube, head: MemCube) -> bool:
    """Tells whether a version differs from the one before in its state and its times alone."""
    return cube.version.change in STATES_ONLY and cube.governance is head.governance


def verb_of(operation: Operation) -> str:
    """Names an operation in the log, by what it makes or would have made."""
    match operation:
        case Update(mode=mode):
            return CHANGES[mode].value
        case Delete(hard=True):
            return ERASE
        case Freeze(frozen=False):
            return Change.UNFREEZE.value
        case Hold(held=False):
            return Change.RELEASE.value
        case Age(move=Move.CLOSE):
            return Change.SHARE.value
        case Age(move=move):
            return ERASE if move in (Move.COLLECT, Move.ERASE) else move.value
        case _:
            return type(operation).__name__.lower()


def move_told(operation: Revision, before: State, to: State | None) -> Detail:
    """Describes a change of state for the log; empty when there was none."""
    if to is before:
        return {}
    cause = cause_of(operation).value
    return {"from": before.value, "to": to.value if to else None, "cause": cause}


def labels_told(before: MemCube, now: MemCube | None) -> Detail:
    """Tells the log that a memory has got labels; empty when it has not."""
    if now is None:
        return {}
    one, other = before.governance, now.governance
    same = (one.sensitivity, one.compliance) == (other.sensitivity, other.compliance)
    return {} if same else {LABELLED: True}


@dataclass(slots=True)
class PlannedLog:
    """Log entries of a commit that is being planned.

    Attributes:
        last_lsn: where the log ends before it.
    """

    last_lsn: int
    now: datetime
    entries: list[Event] = field(default_factory=list)

    @property
    def next_lsn(self) -> int:
        """Of the entry that comes next."""
        return self.last_lsn + len(self.entries) + 1

    def tell(
        self,
        context: CallContext,
        write: Write,
        namespace: str,
        outcome: Outcome,
        version: int | None,
        detail: Detail,
    ) -> int:
        """Adds an entry about a write and returns its LSN."""
        operation = write.operation
        named = verb_of(operation), operation.cube_id, namespace
        return self.add(context, *named, outcome, version, detail)

    def add(
        self,
        context: CallContext,
        verb: str,
        cube_id: str,
        namespace: str,
        outcome: Outcome,
        version: int | None,
        detail: Detail,
    ) -> int:
        """Adds an entry about an operation of the name `verb` and returns its LSN."""
        lsn, principal = self.next_lsn, context.principal
        who = principal.tenant, namespace, principal.id
        how = context.purpose, context.role, context.application
        call = principal.credential, context.request_id, detail
        # By place: thousands are made at once.
        self.entries.append(
            Event(lsn, self.now, *who, verb, cube_id, version, outcome, *how, *call)
        )
        return lsn

    def denied(self) -> tuple[Event, ...]:
        """Returns the entries of what was denied, as if nothing else had been planned."""
        denied = [event for event in self.entries if event.outcome is Outcome.DENIED]
        numbered = enumerate(denied, start=self.last_lsn + 1)
        return tuple(event._replace(lsn=lsn) for lsn, event in numbered)


def extraction_told(context: CallContext) -> Detail:
    """Marks a creation for extraction, with what else the entry does not say of the caller."""
    principal = context.principal
    return {EXTRACT: orjson.dumps([principal.roles, principal.scopes]).decode()}


def mark_of(principal: str, cube_id: str, lsn: int) -> tuple[str, str]:
    """Returns the scope and the key under which a version is marked for extraction, once.

    The scope is nobody's, so that no idempotency key of a caller is ever in the way; the LSN tells
    versions of an id apart that was given anew.

    Args:
        principal: who has it read.
        lsn: where the log has the version.
    """
    named = digest(b"memos-extract-1", cube_id.encode(), str(lsn).encode())
    return f"{EXTRACT} {principal}", named[:_MARK_DIGITS]


def extraction_wanted(event: Event) -> CallContext | None:
    """Returns with whose rights a new memory is to be read; nothing when nobody asked for that."""
    told = event.detail.get(EXTRACT)
    if not isinstance(told, str):
        return None
    roles, scopes = orjson.loads(told)
    principal = Principal(
        event.tenant,
        event.principal,
        tuple(roles),
        event.credential,
        tuple(Action(scope) for scope in scopes),
    )
    return CallContext(principal, event.purpose, event.role, event.application, event.request_id)
