"""Who stands next to whom in a session, and whose words belong to a memory's context."""

from __future__ import annotations

import pytest

from memos_ray.core.retrieval.neighbours import NONE, Neighbours


@pytest.fixture
def line() -> Neighbours:
    """Seven memories of ten words each; up to two neighbours on each side, at most 45 words."""
    neighbours = Neighbours(2, 45)
    neighbours.grow(8)
    for slot in range(7):
        neighbours.put(slot, f"m{slot}", 10, "talk", slot)
    neighbours.flush()
    return neighbours


def before(neighbours: Neighbours, slot: int) -> int:
    return int(neighbours.previous[slot])


def test_the_nearest_join_first_and_the_earlier_before_the_later(line: Neighbours) -> None:
    assert line.context_of(3) == [1, 2, 3, 4]
    assert line.context_of(0) == [0, 1, 2]
    assert line.context_of(6) == [4, 5, 6]


def test_a_long_neighbour_closes_its_side(line: Neighbours) -> None:
    line.put(2, "m2", 40, "talk", 2)
    line.flush()
    assert line.context_of(3) == [3, 4, 5]
    assert line.context_of(2) == [2]


def test_a_context_is_inverted(line: Neighbours) -> None:
    for slot in range(7):
        for column, other in enumerate(line.included[slot].tolist()):
            if other != NONE:
                assert line.reverse[other, column] == slot


def test_neighbours_close_ranks(line: Neighbours) -> None:
    line.remove(3)
    line.flush()
    assert before(line, 2) == 1
    assert before(line, 4) == 2
    assert before(line, 3) == NONE
    assert line.context_of(2) == [0, 1, 2, 4]
    assert line.context_of(3) == []


def test_a_late_comer_takes_its_place(line: Neighbours) -> None:
    line.remove(3)
    line.flush()
    line.put(3, "m3", 10, "talk", 3)
    line.flush()
    assert before(line, 3) == 2
    assert before(line, 4) == 3


def test_one_position_is_shared_in_the_order_of_ids() -> None:
    neighbours = Neighbours(1, 100)
    neighbours.grow(3)
    for slot, id in enumerate(("b", "c", "a")):
        neighbours.put(slot, id, 1, "talk", 0)
    neighbours.flush()
    assert [before(neighbours, slot) for slot in range(3)] == [2, 0, NONE]
    assert neighbours.context_of(2) == [2, 0]


def test_sessions_do_not_mix() -> None:
    neighbours = Neighbours(2, 100)
    neighbours.grow(4)
    neighbours.put(0, "a", 1, "one", 0)
    neighbours.put(1, "b", 1, "two", 1)
    neighbours.put(2, "c", 1, None, 2)
    neighbours.put(3, "d", 1, "one", None)
    neighbours.flush()
    assert [neighbours.context_of(slot) for slot in range(4)] == [[0], [1], [2], [3]]
    assert before(neighbours, 0) == NONE


def test_a_gap_parts() -> None:
    neighbours = Neighbours(2, 100, max_gap=1)
    neighbours.grow(3)
    for slot, position in enumerate((0, 1, 3)):
        neighbours.put(slot, str(slot), 1, "talk", position)
    neighbours.flush()
    assert before(neighbours, 1) == 0
    assert neighbours.context_of(2) == [2]


def test_only_what_changed_is_reported(line: Neighbours) -> None:
    line.put(0, "m0", 10, "talk", 0)
    assert set(line.flush()) == {0, 1, 2}
    assert line.flush() == []


def test_without_reach_a_memory_still_has_a_predecessor() -> None:
    neighbours = Neighbours(0, 100)
    neighbours.grow(2)
    neighbours.put(0, "a", 1, "talk", 0)
    neighbours.put(1, "b", 1, "talk", 1)
    neighbours.flush()
    assert neighbours.context_of(1) == [1]
    assert before(neighbours, 1) == 0
    neighbours.remove(0)
    neighbours.flush()
    assert before(neighbours, 1) == NONE
