"""LIFE-2, GOV-3: when a memory is due, and for what."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Decay, ExpiresAt, Lifespan, Usage
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import MOVES, moved
from memos_ray.core.lifecycle.sweeping import Sieve, SweepRules, Verdict, decide, heat
from memos_ray.testing.cubes import START, make_cube
from memos_ray.testing.strategies import cubes, instants

HOUR_S = 3600.0
DAY_S = 86_400.0
limits = st.none() | st.floats(0.001, 1e12)
CUBE = make_cube("tea at four", id="c-1")
RULES = SweepRules(0.05, unused_s=30 * DAY_S, deleted_s=7 * DAY_S, expired_s=DAY_S)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def living(lifespan: Lifespan, cube: MemCube = CUBE) -> MemCube:
    return replace(cube, governance=replace(cube.governance, lifespan=lifespan))


def in_state(state: State, *, held: bool = False) -> MemCube:
    return replace(CUBE, state=state, governance=replace(CUBE.governance, legal_hold=held))


def test_LIFE_2_a_memory_expires_when_its_time_is_over() -> None:
    cube = living(ExpiresAt(after(HOUR_S)))
    assert decide(cube, after(HOUR_S - 1), RULES) is None
    assert decide(cube, after(HOUR_S), RULES) == Verdict(Move.EXPIRE, Cause.LIFESPAN)
    archived = replace(cube, state=State.ARCHIVED)
    assert decide(archived, after(HOUR_S), RULES) == Verdict(Move.EXPIRE, Cause.LIFESPAN)


def test_LIFE_2_a_decaying_memory_is_archived_when_it_is_cold() -> None:
    cube = living(Decay(HOUR_S))
    assert heat(cube, after(0)) == 1.0
    assert heat(cube, after(2 * HOUR_S)) == pytest.approx(0.25)
    assert decide(cube, after(4 * HOUR_S), RULES) is None
    assert decide(cube, after(5 * HOUR_S), RULES) == Verdict(Move.ARCHIVE, Cause.DECAY)


def test_CUBE_4_use_keeps_a_decaying_memory_warm() -> None:
    used = Usage(access_count=9, last_access_at=after(3 * HOUR_S), frequency=9.0)
    cube = replace(living(Decay(HOUR_S)), usage=used)
    assert heat(cube, after(4 * HOUR_S)) == pytest.approx(5.0)
    assert decide(cube, after(10 * HOUR_S), RULES) is None
    assert decide(cube, after(11 * HOUR_S), RULES) == Verdict(Move.ARCHIVE, Cause.DECAY)


def test_GOV_3_what_nobody_reads_is_archived_where_that_is_wanted() -> None:
    assert decide(CUBE, after(30 * DAY_S), RULES) == Verdict(Move.ARCHIVE, Cause.UNUSED)
    assert decide(CUBE, after(30 * DAY_S), SweepRules()) is None
    read = replace(CUBE, usage=Usage(1, after(DAY_S), 1.0))
    assert decide(read, after(30 * DAY_S), RULES) is None


@pytest.mark.parametrize(("state", "days"), [(State.DELETED, 7), (State.EXPIRED, 1)])
def test_LIFE_2_what_is_gone_is_collected_after_its_retention(state: State, days: int) -> None:
    cube = in_state(state)
    assert decide(cube, after(days * DAY_S - 1), RULES) is None
    assert decide(cube, after(days * DAY_S), RULES) == Verdict(Move.COLLECT, Cause.RETENTION)
    assert decide(cube, after(1000 * DAY_S), SweepRules()) is None
    held = decide(in_state(state, held=True), after(days * DAY_S), RULES)
    assert held == Verdict(Move.COLLECT, Cause.RETENTION, held=True)


def test_LIFE_1_use_makes_no_version_of_a_generated_memory() -> None:
    made = in_state(State.GENERATED)
    assert decide(made, after(1), RULES) is None
    used = replace(made, usage=Usage(1, after(1), 1.0))
    # What was built of this version, such as an adapter, would be outdated by it.
    assert decide(used, after(2), RULES) is None


spans = st.sampled_from((0.0, 1.0, HOUR_S, DAY_S, 40 * DAY_S))


@given(
    state=st.sampled_from(State),
    frozen=st.booleans(),
    held=st.booleans(),
    lifespan=st.sampled_from((ExpiresAt(after(HOUR_S)), Decay(HOUR_S), CUBE.governance.lifespan)),
    used=st.booleans(),
    age_s=spans,
    limits=st.tuples(*[st.none() | spans] * 3),
)
def test_LIFE_1_a_verdict_is_always_a_legal_move(
    state: State,
    frozen: bool,
    held: bool,
    lifespan: Lifespan,
    used: bool,
    age_s: float,
    limits: tuple[float | None, float | None, float | None],
) -> None:
    rules = replace(CUBE.governance, lifespan=lifespan, legal_hold=held)
    usage = Usage(1, START, 1.0) if used else Usage()
    cube = replace(CUBE, state=state, frozen=frozen, governance=rules, usage=usage)
    now = after(age_s)
    verdict = decide(cube, now, SweepRules(0.05, *limits))
    if verdict is None:
        return
    assert not frozen
    if verdict.held:
        assert held and verdict.move is Move.COLLECT
    else:
        assert moved(cube, verdict.move, now, verdict.cause) is MOVES[verdict.move][state]


heats = st.floats(0, 3) | st.sampled_from((0.05, 0.5, 1.0, 1.5))


@given(cubes(), instants, heats, limits, limits, limits)
def test_LIFE_2_what_is_due_passes_the_sieve(
    cube: MemCube,
    now: datetime,
    cold_heat: float,
    unused_s: float | None,
    deleted_s: float | None,
    expired_s: float | None,
) -> None:
    rules = SweepRules(cold_heat, unused_s=unused_s, deleted_s=deleted_s, expired_s=expired_s)
    if decide(cube, now, rules) is not None:
        assert Sieve.of(rules, now).passes(cube)


@given(st.floats(1e-3, 1e9), st.floats(1e-6, 3), st.integers(-3, 3))
def test_LIFE_2_what_is_just_cold_passes_the_sieve(
    half_life_s: float, cold_heat: float, beside_us: int
) -> None:
    cold_s = half_life_s * max(-math.log2(cold_heat), 0.0)
    now = START + timedelta(seconds=cold_s, microseconds=beside_us)
    rules, cube = SweepRules(cold_heat), living(Decay(half_life_s))
    if decide(cube, now, rules) is not None:
        assert Sieve.of(rules, now).passes(cube)


def test_LIFE_2_the_sieve_holds_back_what_stays() -> None:
    sieve = Sieve.of(RULES, after(DAY_S))
    assert not sieve.passes(CUBE)
    assert not sieve.passes(living(ExpiresAt(after(DAY_S + 1))))
    assert not sieve.passes(replace(living(ExpiresAt(after(1))), frozen=True))
    assert not sieve.passes(in_state(State.DELETED))
    assert sieve.passes(living(ExpiresAt(after(DAY_S))))
    assert sieve.passes(living(Decay(HOUR_S)))
    assert not sieve.passes(living(Decay(6 * HOUR_S)))
    assert not Sieve.of(SweepRules(0.0), after(DAY_S)).passes(living(Decay(HOUR_S)))
    assert Sieve.of(RULES, after(30 * DAY_S)).passes(CUBE)
    assert Sieve.of(RULES, after(7 * DAY_S)).passes(in_state(State.DELETED))
