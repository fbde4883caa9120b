"""How an operation is told in the log."""

from __future__ import annotations

from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.changes import CHANGES, Revision
from memos_ray.core.vault.log import ERASE
from memos_ray.core.vault.operations import Age, Delete, Freeze, Operation, Update

Detail = dict[str, str | int | float | bool | None]

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
