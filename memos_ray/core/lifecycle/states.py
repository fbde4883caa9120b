"""The state machine of a memory (LIFE-1, LIFE-4): one table, and its guards.

    state       what it means                        read  searched  changed
    ----------  -----------------------------------  ----  --------  -------
    generated   made by a machine, nobody used it    yes   yes       yes
    activated   in use                               yes   yes       yes
    merged      unites several memories, in use      yes   yes       yes
    archived    put away; whoever asks for it, or    yes   if asked  yes
                changes it, gets it                        for
    expired     its lifespan is over                 no    no        no
    deleted     a caller took it away                yes   no        no

A restoration and a rollback may take the state of an earlier version: what was archived then is
archived again.

Frozen is no state but a condition that a state is held in: nothing but the thaw moves a frozen
memory, whoever asks. A legal hold is one, too: nothing takes a held memory away until it is
released. A lifespan ends by the clock: from that moment on a memory counts as expired, whether a
sweep has recorded it yet or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import ExpiresAt, Lifespan
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.errors import FrozenError, IllegalStateError, LegalHoldError

LIVE = (State.GENERATED, State.ACTIVATED, State.MERGED)
"""States of memories in use: those that a search looks at."""

GONE = (State.EXPIRED, State.DELETED)
"""States that only a restoration leads out of, until the memory is collected."""

_STAY: Mapping[State, State] = {state: state for state in (*LIVE, State.ARCHIVED)}

MOVES: Mapping[Move, Mapping[State, State | None]] = {
    Move.REVISE: {
        State.GENERATED: State.ACTIVATED,
        State.ACTIVATED: State.ACTIVATED,
        State.MERGED: State.MERGED,
        State.ARCHIVED: State.ACTIVATED,
    },
    Move.UNITE: dict.fromkeys((*LIVE, State.ARCHIVED), State.MERGED),
    Move.ARCHIVE: dict.fromkeys(LIVE, State.ARCHIVED),
    Move.EXPIRE: dict.fromkeys((*LIVE, State.ARCHIVED), State.EXPIRED),
    Move.DELETE: dict.fromkeys((*LIVE, State.ARCHIVED, State.EXPIRED), State.DELETED),
    Move.RESTORE: dict.fromkeys((State.ARCHIVED, *GONE), State.ACTIVATED),
    Move.FREEZE: _STAY,
    Move.UNFREEZE: _STAY,
    Move.HOLD: {state: state for state in State},
    Move.RELEASE: {state: state for state in State},
    Move.CLOSE: {state: state for state in State},
    Move.ERASE: dict.fromkeys(State, None),
    Move.COLLECT: dict.fromkeys(GONE, None),
}
"""Where each move leads from each state; nothing is an erasure, absent states forbid the move."""

_HELD = frozenset((Move.DELETE, Move.ERASE, Move.COLLECT))
# A sweep records what the clock has done, and these leave that to it: they go from where the record
# stands.
_BY_RECORD = frozenset((Move.EXPIRE, Move.UNFREEZE, Move.HOLD, Move.RELEASE, Move.CLOSE))


class LivingRules(Protocol):
    """What the state machine looks at of the governance."""

    @property
    def lifespan(self) -> Lifespan:
        """See `Governance`."""
        ...

    @property
    def legal_hold(self) -> bool:
        """See `Governance`."""
        ...


class Living(Protocol):
    """What the state machine looks at: a `MemCube`, or what somebody has read of one."""

    @property
    def id(self) -> str:
        """See `MemCube`."""
        ...

    @property
    def state(self) -> State:
        """See `MemCube`."""
        ...

    @property
    def frozen(self) -> bool:
        """See `MemCube`."""
        ...

    @property
    def governance(self) -> LivingRules:
        """See `MemCube`."""
        ...


def state_at(cube: Living, now: datetime) -> State:
    """Returns the state of a memory as of a moment: what is past its time has expired."""
    over = lifespan_over(cube, now)
    return State.EXPIRED if over and cube.state is not State.DELETED else cube.state


def lifespan_over(cube: Living, now: datetime) -> bool:
    """Tells whether a memory's time is over."""
    lifespan = cube.governance.lifespan
    return isinstance(lifespan, ExpiresAt) and lifespan.at <= now


def moved(cube: Living, move: Move, now: datetime, cause: Cause = Cause.REQUEST) -> State | None:
    """Returns the state that a move leads to, or nothing when it erases the memory.

    Raises:
        FrozenError: the memory is frozen, and this is no thaw.
        LegalHoldError: it is under legal hold, and this would take it away.
        IllegalStateError: the table has no such move, or it was made already; names the state, the
            move and the cause.
    """
    if cube.frozen and move is not Move.UNFREEZE:
        raise FrozenError("the memory is frozen", cube_id=cube.id)
    state = state_at(cube, now)
    if move in (Move.FREEZE, Move.UNFREEZE) and cube.frozen == (move is Move.FREEZE):
        raise _illegal("the memory is not frozen", cube, state, move, cause)
    held = cube.governance.legal_hold
    if move in (Move.HOLD, Move.RELEASE) and held == (move is Move.HOLD):
        raise _illegal(
            f"the memory is {'already' if held else 'not'} under legal hold",
            *(cube, state, move, cause),
        )
    if held and move in _HELD:
        raise LegalHoldError("the memory is under legal hold", cube_id=cube.id)
    start = cube.state if move in _BY_RECORD else state
    if start not in MOVES[move] or (move is Move.EXPIRE and not lifespan_over(cube, now)):
        raise _illegal(f"the memory is {start.value}", cube, start, move, cause)
    return MOVES[move][start]


def again(then: State, otherwise: State) -> State:
    """Returns the state of a memory that goes back to a version: what was gone is in use."""
    return otherwise if then in GONE else then


def _illegal(
    message: str, cube: Living, state: State, move: Move, cause: Cause
) -> IllegalStateError:
    target = MOVES[move].get(state)
    wanted = {value for value in MOVES[move].values() if value is not None}
    to = target or (wanted.pop() if len(wanted) == 1 else None)
    return IllegalStateError(
        message,
        cube_id=cube.id,
        move=move.value,
        cause=cause.value,
        **{"from": state.value, "to": to.value if to else None},
    )
