"""How an operation is told in the log."""

from __future__ import annotations

import orjson

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.changes import CHANGES, Revision
from memos_ray.core.vault.log import ERASE, Event
from memos_ray.core.vault.operations import Age, Delete, Freeze, Operation, Update

Detail = dict[str, str | int | float | bool | None]

DERIVE = "derive"
"""The operation in the log that tells of a memory what was made of it."""

DERIVED = "memory"
"""In the entries of `DERIVE` and `LEARN`: the id of what was made."""

LEARN = "learn"
"""The operation in the log that tells of a memory which parameter memory has learnt it.

It is told when something is made of the adapter that could say again what it has learnt.
"""

THROUGH = "through"
"""In the entry of `DERIVE`: the parameter memory that what was made comes from, if it does."""

TOLD = frozenset((DERIVE, LEARN))
"""Operations that change nothing of the memory that they tell of."""

EXTRACT = "extract"
"""In the entry of a creation: that a model is to read the memory, and with which rights."""

STATES_ONLY = frozenset((Change.ARCHIVE, Change.EXPIRE, Change.DELETE, Change.RESTORE))
"""Versions that say the same as the ones before them, and are only in another state."""


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
        case Age(move=move):
            return ERASE if move in (Move.COLLECT, Move.ERASE) else move.value
        case _:
            return type(operation).__name__.lower()


def move_told(operation: Revision, head: MemCube, cube: MemCube | None) -> Detail:
    """Describes a change of state for the log; empty when there was none."""
    to = cube.state if cube else None
    if to is head.state:
        return {}
    cause = operation.cause if isinstance(operation, Age) else Cause.REQUEST
    return {"from": head.state.value, "to": to.value if to else None, "cause": cause.value}


def extraction_told(context: CallContext) -> Detail:
    """Marks a creation for extraction, with what else the entry does not say of the caller."""
    principal = context.principal
    return {EXTRACT: orjson.dumps([principal.roles, principal.scopes]).decode()}


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
