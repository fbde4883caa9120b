"""What two memories are to each other."""

from __future__ import annotations

from datetime import timedelta

import pytest

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Setting, Visibility
from memos_ray.core.organising import Kind, judge, writes_of
from memos_ray.core.vault.operations import Update
from memos_ray.testing.cubes import START, make_cube

DAY = timedelta(days=1)


def later(text: str, **fields: object) -> MemCube:
    return make_cube(text, at=START + DAY, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I live in Oslo.", "I moved to Berlin."),
        ("Ann lives in Oslo.", "Ann has moved to Berlin."),
        ("My favourite food is ramen.", "My favorite food is sushi."),
        ("I love tea.", "I don't like tea any more."),
        ("Project Apollo is in progress.", "Project Apollo is done."),
        ("我住在北京。", "我搬到了上海。"),
        ("我喜欢咖啡", "我不再喜欢咖啡了"),
    ],
)
def test_OPER_4_the_same_slot_with_another_value_is_overtaken(old: str, new: str) -> None:
    older, newer = make_cube(old), later(new)
    found = judge(newer, older)
    assert found is not None
    assert found.kind is Kind.SUPERSESSION
    assert found.confidence >= 0.8
    assert found == judge(older, newer)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I live in Oslo.", "I live in Oslo, Norway."),
        ("I live in Oslo.", "Ann moved to Berlin."),
        ("I live in Oslo.", "I work at Google."),
        ("My favourite food is ramen.", "My favourite colour is green."),
        ("I love tea.", "I don't like coffee any more."),
        ("I live in Oslo.", "Do I live in Berlin?"),
        ("We counted the 12 hens in the yard.", "We counted the 14 hens in the yard."),
        ("The door must not be locked at night.", "The door must be locked at night."),
    ],
)
def test_OPER_4_what_only_looks_alike_is_left_alone(old: str, new: str) -> None:
    assert judge(make_cube(old), later(new)) is None


def test_OPER_4_a_memory_that_tells_more_is_overtaken_less_surely() -> None:
    older = make_cube("I live in Oslo. I work at Google.")
    found = judge(older, later("I moved to Berlin."))
    assert found is not None
    assert found.confidence < 0.8
    assert "it tells 1 more" in found.reasons


def test_OPER_4_what_is_told_of_an_earlier_time_is_the_older() -> None:
    """Facts are ordered by when they were said, not by when they were stored."""
    stored_first = make_cube("I moved to Berlin.", event_time=START)
    stored_last = later("I live in Oslo.", event_time=START - 100 * DAY)
    (write,) = writes_of(Kind.SUPERSESSION, stored_last, stored_first, START)
    assert judge(stored_first, stored_last) is not None
    assert isinstance(write.operation, Update)
    assert (write.operation.cube_id, write.operation.valid_to) == (stored_last.id, START)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("The kettle is in the left cupboard.", "the kettle is in the left cupboard", True),
        (
            "The spare key for the cellar hangs behind the big green door in the hall upstairs.",
            "The spare key for the cellar hangs behind the big green door in the hall, upstairs!",
            True,
        ),
        ("The kettle is in the left cupboard.", "The kettle is in the right cupboard.", False),
        ("水壶在左边的柜子里。", "水壶在左边的柜子里", True),
    ],
)
def test_CUBE_5_near_duplicates_are_found(old: str, new: str, same: bool) -> None:
    found = judge(make_cube(old), later(new))
    assert (found is not None and found.kind is Kind.DUPLICATE) == same


def test_CUBE_5_turns_that_repeat_each_other_are_no_duplicates() -> None:
    turns = [
        make_cube("Nice picture!", setting=Setting("talk", "s1", position)) for position in (1, 9)
    ]
    assert judge(*turns) is None


@pytest.mark.parametrize(
    "other",
    [
        later("I moved to Berlin.", owner="user:bob"),
        later("I moved to Berlin.", visibility=Visibility.SHARED),
        later("I moved to Berlin.", readers=("user:bob",)),
        later("I moved to Berlin.", sensitivity=("health",)),
        later("I moved to Berlin.", namespace="elsewhere"),
        later("I moved to Berlin.", tenant="other"),
        later("I moved to Berlin.", frozen=True),
        later("I moved to Berlin.", state=State.DELETED),
        later("I moved to Berlin.", valid_to=START + 2 * DAY),
    ],
)
def test_OPER_4_memories_of_other_people_or_times_are_not_compared(other: MemCube) -> None:
    older = make_cube("I live in Oslo.")
    assert judge(older, other) is None
    assert judge(other, older) is None


def test_OPER_4_an_assistant_says_nothing_about_itself() -> None:
    said = Setting(role="assistant")
    assert judge(make_cube("I live in Oslo."), later("I moved to Berlin.", setting=said)) is None


def test_CUBE_6_a_merge_has_both_as_parents_and_deletes_nothing() -> None:
    older, newer = make_cube("A kettle.", tags=("a",)), later("A kettle!", tags=("b",))
    kept, ended = writes_of(Kind.DUPLICATE, older, newer, START + DAY)
    assert isinstance(kept.operation, Update)
    assert isinstance(ended.operation, Update)
    assert kept.operation.merged_from == ((newer.id, 1),)
    assert kept.operation.tags == ("b",)
    assert ended.operation.valid_to == START + DAY
    assert [one.cube_id for one in ended.operation.sources] == [older.id]
    assert {kept.operation.text, ended.operation.text} == {None}
