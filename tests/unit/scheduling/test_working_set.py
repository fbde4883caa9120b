"""SCHED-3: what a session uses, and what its next turn will."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling.working_set import CoUse, Foresight, WorkingSet, beside

ORDER = [f"m{number}" for number in range(20)]


def test_SCHED_3_neighbours_of_what_was_used_are_loaded() -> None:
    session = WorkingSet(beside(ORDER), CoUse(), Foresight(reach=3))
    session.note(["m10"])
    assert set(session.next_turn(5)) == {"m8", "m9", "m10", "m11", "m12"}


def test_SCHED_3_what_followed_before_is_loaded() -> None:
    shared = CoUse()
    first = WorkingSet(beside([]), shared)
    for used in ("booking", "seat", "meal"):
        first.note([used])
    second = WorkingSet(beside([]), shared)
    second.note(["booking"])
    assert set(second.next_turn(2)) == {"booking", "seat"}


def test_SCHED_3_the_working_set_is_the_newest_first_and_fades() -> None:
    session = WorkingSet(beside([]), CoUse(), Foresight(turns=8))
    for number in range(20):
        session.note([f"m{number}"])
    assert session.recent == [f"m{number}" for number in range(19, 11, -1)]
    assert session.next_turn(2)[0] == "m19"


def test_SCHED_3_a_turn_without_memories_changes_nothing() -> None:
    session = WorkingSet(beside(ORDER), CoUse())
    session.note(["m3"])
    before = session.next_turn(4)
    session.note([])
    assert session.next_turn(4) == before


@given(
    turns=st.lists(st.lists(st.sampled_from(ORDER), max_size=4), max_size=20),
    limit=st.integers(0, 25),
)
def test_SCHED_3_a_forecast_has_no_more_than_asked_for_and_each_once(
    turns: list[list[str]], limit: int
) -> None:
    session = WorkingSet(beside(ORDER), CoUse())
    for turn in turns:
        session.note(turn)
    found = session.next_turn(limit)
    assert len(found) <= limit
    assert len(set(found)) == len(found)
    if any(turns) and limit >= 3:
        assert set(found) <= set(ORDER)
        assert found
