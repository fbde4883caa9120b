"""When memories are worth a lesson: not too early, never to and fro, and nothing that ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Decay, ExpiresAt
from memos_ray.core.cube.payload import Attachment, ParameterRef, Plaintext
from memos_ray.core.scheduling import (
    Learnable,
    Learning,
    LessonCost,
    LessonPlan,
    Standing,
    alike,
    lasting,
    lesson_plan,
)
from memos_ray.core.scheduling.learning import life_s, saved_s
from memos_ray.testing.cubes import make_cube

DAY = 86_400.0
RULES = Learning(enter=3.0, leave=1.0, conversations=3, settled_s=DAY, memories_max=20)
COST = LessonCost(30.0, 1.0, 1e-3)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
HORIZON = 30 * DAY


def memory(id: str, uses: float = 50.0, **changes: object) -> Learnable:
    made = Learnable(
        source=SourceVersion(id, 1),
        uses=uses,
        conversations=5,
        callers=2,
        tokens=40,
        age_s=400 * DAY,
        settled_s=400 * DAY,
        changes=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ids(plan: LessonPlan) -> list[str]:
    return [source.cube_id for source in plan.sources]


def test_what_is_used_often_by_several_is_worth_a_lesson() -> None:
    plan = lesson_plan([memory("often"), memory("seldom", 0.1)], 50.0, RULES, COST)
    assert ids(plan) == ["often"]
    assert plan.tokens == 40.0 and plan.lesson_s == 31.0
    assert plan.saved_s > RULES.enter * RULES.lesson_share * plan.lesson_s
    said = " ".join(plan.reasons)
    for word in ("40 tokens", "50.0 of 50.0 prompts", "5 conversations", "2 callers", "400.0 d"):
        assert word in said


@pytest.mark.parametrize(
    "changes",
    [
        {"conversations": 2},
        {"settled_s": DAY / 2},
        {"uses": 1.0},
        {"tokens": 1},
        # It changed every other day: prompts would correct it most of the time.
        {"changes": 200},
        {"age_s": 0.0},
    ],
)
def test_what_is_not(changes: dict[str, object]) -> None:
    assert lesson_plan([memory("one", **changes)], 50.0, RULES, COST) == LessonPlan()  # type: ignore[arg-type]


def test_what_is_proposed_stays_so_until_it_pays_no_longer() -> None:
    outside = memory("one", 4.0)
    inside = replace(outside, proposed=True)
    assert lesson_plan([outside], 4.0, RULES, COST) == LessonPlan()
    assert ids(lesson_plan([inside], 4.0, RULES, COST)) == ["one"]
    # It is not asked again whether it is stable: a change ends the proposal.
    assert ids(lesson_plan([replace(inside, conversations=0)], 4.0, RULES, COST)) == ["one"]
    cold = replace(inside, uses=0.4)
    assert lesson_plan([cold], 1.0, RULES, COST) == LessonPlan()


def test_what_the_model_knows_is_taught_again_and_is_no_reason_for_a_lesson() -> None:
    known = memory("known", standing=Standing.LEARNT)
    assert lesson_plan([known], 50.0, RULES, COST) == LessonPlan()
    cold = replace(known, uses=0.0)
    plan = lesson_plan([memory("new"), cold], 50.0, RULES, COST)
    assert ids(plan) == ["known", "new"]
    assert [one.learnt for one in plan.memories] == [True, False]
    assert plan.lesson_s == 32.0


def test_what_prompts_correct_is_taught_anew_even_if_nobody_asks_for_it() -> None:
    outdated = memory("one", 0.0, standing=Standing.OUTDATED)
    plan = lesson_plan([outdated], 50.0, RULES, COST)
    assert ids(plan) == ["one"] and "prompts correct it" in plan.reasons[-1]


def test_there_is_room_for_so_many() -> None:
    several = [memory(f"m{number:02}", 50.0 + number) for number in range(30)]
    plan = lesson_plan(several, 90.0, RULES, COST)
    assert ids(plan) == [f"m{number:02}" for number in range(29, 9, -1)]


def test_a_memory_is_expected_to_stay_as_long_as_it_has_stayed() -> None:
    assert life_s(memory("old"), HORIZON) > 0.9 * HORIZON
    assert life_s(memory("young", age_s=DAY), HORIZON) < 3 * DAY
    assert life_s(memory("new", age_s=0.0), HORIZON) < 60.0
    assert saved_s(memory("young", age_s=DAY), 50.0, RULES, COST) < 0


def cube(**changes: object) -> MemCube:
    made = make_cube("The garden is kept by Ana.")
    governance = {key: changes.pop(key) for key in list(changes) if hasattr(made.governance, key)}
    about = {key: changes.pop(key) for key in list(changes) if hasattr(made.descriptive, key)}
    return replace(
        made,
        governance=replace(made.governance, **governance),  # type: ignore[arg-type]
        descriptive=replace(made.descriptive, **about),  # type: ignore[arg-type]
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"lifespan": ExpiresAt(NOW + timedelta(days=29))}, False),
        ({"lifespan": ExpiresAt(NOW + timedelta(days=31))}, True),
        ({"lifespan": Decay(10 * DAY)}, False),
        ({"lifespan": Decay(100 * DAY)}, True),
        ({"valid_to": NOW + timedelta(days=2)}, False),
        ({"valid_to": NOW + timedelta(days=100)}, True),
        ({"legal_hold": True}, False),
        ({"sensitivity": ("health",)}, False),
        ({"compliance": ("gdpr",)}, False),
        ({"state": State.DELETED}, False),
        ({"state": State.ARCHIVED}, False),
        ({"payload": Plaintext("x", attachments=(Attachment("ab", "image/png"),))}, False),
        ({"payload": ParameterRef("ab", "base", 4, 10)}, False),
    ],
)
def test_what_ends_or_is_no_plain_text_is_not_taught(
    changes: dict[str, object], expected: bool
) -> None:
    assert lasting(cube(**changes), NOW, HORIZON) is expected


def test_what_is_alike() -> None:
    some = frozenset(SourceVersion(str(number), 1) for number in range(4))
    assert alike(some, some)
    assert alike(some, some | {SourceVersion("more", 1)})
    assert not alike(some, frozenset(replace(one, version=2) for one in some))
    assert not alike(some, frozenset())


candidates = st.lists(
    st.builds(
        Learnable,
        source=st.uuids().map(lambda id: SourceVersion(str(id), 1)),
        uses=st.floats(0, 200),
        conversations=st.integers(0, 10),
        callers=st.integers(1, 3),
        tokens=st.integers(1, 300),
        age_s=st.floats(0, 1000 * DAY),
        settled_s=st.floats(0, 1000 * DAY),
        changes=st.integers(0, 5),
        standing=st.sampled_from(Standing),
        proposed=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda one: one.source,
)


def after(found: list[Learnable], plan: LessonPlan) -> list[Learnable]:
    return [replace(one, proposed=one.source in plan.sources) for one in found]


@given(candidates, st.floats(0, 500))
def test_nothing_is_proposed_to_and_fro(found: list[Learnable], prompts: float) -> None:
    made = lesson_plan(found, prompts, RULES, COST)
    then = after(found, made)
    again = lesson_plan(then, prompts, RULES, COST)
    # With nothing used meanwhile, the next decision is the same.
    assert set(again.sources) == set(made.sources)
    # Nor does a little less use take anything out that has just been put in for the first time.
    fresh = [replace(one, proposed=False) for one in found]
    first = lesson_plan(fresh, prompts, RULES, COST)
    less = [replace(one, uses=0.6 * one.uses) for one in after(found, first)]
    later = lesson_plan(less, 0.6 * prompts, RULES, COST)
    assert set(first.sources) <= set(later.sources)


@given(candidates, st.floats(0, 500))
def test_what_is_decided_is_within_bounds(found: list[Learnable], prompts: float) -> None:
    made = lesson_plan(found, prompts, RULES, COST)
    assert len(set(made.sources)) == len(made.sources)
    known = {one.source for one in found if one.standing is Standing.LEARNT}
    fresh = [one for one in made.memories if not one.learnt]
    if made.memories:
        assert known <= set(made.sources)
        assert fresh and made.reasons
        assert len(fresh) <= max(0, RULES.memories_max - len(known))
        assert made.saved_s >= round(RULES.lesson_share * RULES.leave * made.lesson_s, 3) - 0.1
    by_source = {one.source: one for one in found}
    for one in fresh:
        candidate = by_source[one.source]
        stable = candidate.conversations >= 3 and candidate.settled_s >= DAY
        assert candidate.proposed or stable


@given(candidates, st.floats(0, 500))
def test_the_order_of_the_candidates_does_not_matter(
    found: list[Learnable], prompts: float
) -> None:
    assert lesson_plan(found, prompts, RULES, COST) == lesson_plan(
        found[::-1], prompts, RULES, COST
    )
