"""LIFE-1, LIFE-4: the table of states and moves, and its guards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import ExpiresAt
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import GONE, LIVE, MOVES, moved, state_at
from memos_ray.errors import FrozenError, IllegalStateError, LegalHoldError
from memos_ray.testing.cubes import START, make_cube

LATER = START + timedelta(hours=1)
CUBE = make_cube("tea at four", id="c-1")


def in_state(state: State, *, frozen: bool = False, held: bool = False) -> MemCube:
    rules = replace(CUBE.governance, legal_hold=held)
    return replace(CUBE, state=state, frozen=frozen, governance=rules)


def expiring(cube: MemCube) -> MemCube:
    return replace(cube, governance=replace(cube.governance, lifespan=ExpiresAt(LATER)))


@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("state", State)
def test_LIFE_1_a_move_is_made_if_and_only_if_the_table_has_it(state: State, move: Move) -> None:
    cube = in_state(state, frozen=move is Move.UNFREEZE, held=move is Move.RELEASE)
    if move is Move.EXPIRE:
        cube = expiring(cube)
    if state in MOVES[move]:
        assert moved(cube, move, LATER) is MOVES[move][state]
        return
    with pytest.raises(IllegalStateError) as caught:
        moved(cube, move, LATER, Cause.UNUSED)
    details = caught.value.details
    assert (details["from"], details["cause"], details["move"]) == (
        state.value,
        "unused",
        move.value,
    )


def test_LIFE_1_every_state_but_that_of_birth_is_reached_and_left() -> None:
    reached = {to for leads in MOVES.values() for start, to in leads.items() if to is not start}
    assert reached == {State.ACTIVATED, State.MERGED, State.ARCHIVED, *GONE, None}
    for state in State:
        assert any(MOVES[move].get(state, state) is not state for move in Move)


def test_LIFE_1_from_what_is_gone_nothing_leads_back_but_a_restoration() -> None:
    for move, leads in MOVES.items():
        for state in GONE:
            if leads.get(state) in (*LIVE, State.ARCHIVED):
                assert move is Move.RESTORE


def test_LIFE_1_the_error_says_from_where_to_where_and_why() -> None:
    with pytest.raises(IllegalStateError) as caught:
        moved(in_state(State.DELETED), Move.ARCHIVE, LATER, Cause.DECAY)
    assert caught.value.details == {
        "cube_id": "c-1",
        "move": "archive",
        "cause": "decay",
        "from": "deleted",
        "to": "archived",
    }


@pytest.mark.parametrize("move", [move for move in Move if move is not Move.UNFREEZE])
@pytest.mark.parametrize("state", State)
def test_LIFE_4_nothing_moves_a_frozen_memory_but_the_thaw(state: State, move: Move) -> None:
    with pytest.raises(FrozenError):
        moved(expiring(in_state(state, frozen=True)), move, LATER)


@pytest.mark.parametrize("move", [Move.DELETE, Move.ERASE, Move.COLLECT])
@pytest.mark.parametrize("state", State)
def test_LIFE_2_a_legal_hold_forbids_taking_away_in_every_state(state: State, move: Move) -> None:
    with pytest.raises(LegalHoldError):
        moved(in_state(state, held=True), move, LATER)


@pytest.mark.parametrize("state", State)
def test_LIFE_2_a_hold_is_laid_and_lifted_in_every_state_and_moves_nothing(state: State) -> None:
    for cube in (in_state(state), expiring(in_state(state))):
        assert moved(cube, Move.HOLD, LATER) is state
        with pytest.raises(IllegalStateError, match="not under legal hold"):
            moved(cube, Move.RELEASE, LATER)
    assert moved(in_state(state, held=True), Move.RELEASE, LATER) is state
    with pytest.raises(IllegalStateError, match="already under legal hold"):
        moved(in_state(state, held=True), Move.HOLD, LATER)


def test_LIFE_2_a_lifespan_ends_by_the_clock_and_not_before() -> None:
    cube = expiring(in_state(State.ACTIVATED))
    before = LATER - timedelta(microseconds=1)
    assert state_at(cube, before) is State.ACTIVATED
    assert state_at(cube, LATER) is State.EXPIRED
    with pytest.raises(IllegalStateError):
        moved(cube, Move.EXPIRE, before, Cause.LIFESPAN)
    with pytest.raises(IllegalStateError):
        moved(cube, Move.REVISE, LATER)
    assert moved(cube, Move.RESTORE, LATER) is State.ACTIVATED
    assert state_at(replace(cube, state=State.DELETED), LATER) is State.DELETED
