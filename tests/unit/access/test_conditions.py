"""Conditions on calls, on memories and on names."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime, time, timedelta

import pytest

from memos_ray.core.access.conditions import Call, CallTest, NamePatterns, to_predicate
from memos_ray.core.access.model import Circumstances, MemoryCondition, TimeWindow
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import Everything, evaluate
from memos_ray.errors import InvalidInputError

WEDNESDAY = datetime(2026, 3, 4, tzinfo=UTC)


def holds(circumstances: Circumstances, now: datetime = WEDNESDAY, **parts: str) -> bool:
    test = CallTest.of(circumstances)
    call = Call(parts.get("purpose"), parts.get("role"), parts.get("application"), now)
    return test is None or test.holds(call)


def opens(window: TimeWindow, now: datetime) -> bool:
    return holds(Circumstances(windows=(window,)), now)


def test_no_circumstances_hold_for_every_call() -> None:
    assert CallTest.of(Circumstances()) is None


@pytest.mark.parametrize("field", ["purpose", "role", "application"])
def test_a_list_wants_one_of_its_names_and_silence_is_none(field: str) -> None:
    wanted = Circumstances(**{f"{field}s": ("a", "b")})  # type: ignore[arg-type]
    assert holds(wanted, **{field: "b"})  # type: ignore[arg-type]
    assert not holds(wanted, **{field: "c"})  # type: ignore[arg-type]
    assert not holds(wanted)


def test_every_part_must_hold() -> None:
    wanted = Circumstances(purposes=("care",), applications=("app",))
    assert holds(wanted, purpose="care", application="app")
    assert not holds(wanted, purpose="care")


def test_bounds_are_half_open() -> None:
    wanted = Circumstances(not_before=WEDNESDAY, not_after=WEDNESDAY + timedelta(hours=1))
    moments = [WEDNESDAY + timedelta(minutes=m) for m in (-1, 0, 59, 60)]
    assert [holds(wanted, moment) for moment in moments] == [False, True, True, False]


def test_a_window_is_half_open_too() -> None:
    window = TimeWindow(time(8), time(18))
    moments = [WEDNESDAY.replace(hour=h, minute=m) for h, m in ((7, 59), (8, 0), (17, 59), (18, 0))]
    assert [opens(window, moment) for moment in moments] == [False, True, True, False]


def test_weekdays_are_iso_numbers() -> None:
    days = [WEDNESDAY + timedelta(days=n, hours=9) for n in range(7)]
    window = TimeWindow(time(8), time(18), (3, 7))
    assert [opens(window, day) for day in days] == [True, False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("hour", "offset_days", "expected"),
    [(21, 0, False), (22, 0, True), (3, 1, True), (6, 1, False), (3, 0, False), (23, 1, False)],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(
    hour: int, offset_days: int, expected: bool
) -> None:
    night = TimeWindow(time(22), time(6), (3,))
    assert opens(night, WEDNESDAY + timedelta(days=offset_days, hours=hour)) is expected


def test_sunday_night_ends_on_monday() -> None:
    monday = datetime(2026, 3, 9, 3, tzinfo=UTC)
    assert opens(TimeWindow(time(22), time(6), (7,)), monday)
    assert not opens(TimeWindow(time(22), time(6), (1,)), monday)


def test_equal_ends_are_a_whole_day_from_there() -> None:
    window = TimeWindow(time(6), time(6), (3,))
    moments = [WEDNESDAY + timedelta(hours=h) for h in (5, 6, 23, 29, 30)]
    assert [opens(window, moment) for moment in moments] == [False, True, True, True, False]


def test_the_clock_on_the_wall_of_the_place_counts_also_in_summer() -> None:
    window = TimeWindow(time(9), time(10), tz="Europe/Berlin")
    assert opens(window, datetime(2026, 1, 7, 8, 30, tzinfo=UTC))
    assert not opens(window, datetime(2026, 1, 7, 7, 30, tzinfo=UTC))
    assert opens(window, datetime(2026, 7, 7, 7, 30, tzinfo=UTC))


def test_an_unknown_time_zone_is_refused() -> None:
    for name in ("Europe/Atlantis", "", "../etc/passwd"):
        with pytest.raises(InvalidInputError):
            CallTest.of(Circumstances(windows=(TimeWindow(time(8), time(9), tz=name),)))


FACETS: Facets = {
    "owner": "user:ann",
    "semantic_type": "fact",
    "form": "plaintext",
    "tags": ("red",),
    "sensitivity": ("pii",),
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (MemoryCondition(semantic_types=(SemanticType.FACT, SemanticType.EVENT)), True),
        (MemoryCondition(semantic_types=(SemanticType.EVENT,)), False),
        (MemoryCondition(forms=(Form.PLAINTEXT,)), True),
        (MemoryCondition(forms=(Form.PARAMETER,)), False),
        (MemoryCondition(tags=("red", "blue")), True),
        (MemoryCondition(tags=("blue",)), False),
        (MemoryCondition(without_tags=("blue",)), True),
        (MemoryCondition(without_tags=("blue", "red")), False),
        (MemoryCondition(sensitivity=("pii",)), True),
        (MemoryCondition(sensitivity=("health",)), False),
        (MemoryCondition(without_sensitivity=("pii",)), False),
        (MemoryCondition(owners=("user:ann",)), True),
        (MemoryCondition(owners=("user:bob",)), False),
        (MemoryCondition(tags=("red",), owners=("user:bob",)), False),
    ],
)
def test_conditions_on_memories(condition: MemoryCondition, expected: bool) -> None:
    assert evaluate(to_predicate(condition), FACETS) is expected


def test_no_condition_is_everything() -> None:
    assert to_predicate(MemoryCondition()) == Everything()


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("team", "team", True),
        ("team", "teams", False),
        ("team*", "team", True),
        ("*", "", True),
        ("*", "@cluster", False),
        ("@cluster", "@cluster", True),
        ("*-eu", "team-eu", True),
        ("*-eu", "team-us", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "acb", False),
        ("a*a", "a", False),
        ("ab*bc", "abc", False),
        ("**", "x", True),
        ("a**z", "az", True),
    ],
)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert NamePatterns.of((pattern,)).match(name, private=False) is expected
    assert NamePatterns.of(("other", pattern)).match(name, private=False) is expected


def test_a_hostile_pattern_cannot_stall() -> None:
    patterns = NamePatterns.of(("*a" * 250 + "*b",))
    # Of this process's own time: the machine may be busy.
    start = clock.process_time()
    assert not patterns.match("a" * 600, private=False)
    assert clock.process_time() - start < 5
