"""SCHED-1: which of the forms that are there a prompt takes, by what they have cost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.payload import Form
from memos_ray.core.scheduling.choosing import (
    CostMeter,
    PromptForms,
    PromptSize,
    TokenCosts,
    decide,
    keeps_adapter,
    takes_caches,
)
from memos_ray.core.scheduling.forms import Reason
from memos_ray.core.scheduling.plan import Placing, PlannedMemory, PromptMemory

CHEAP_LOADS = TokenCosts(computed_s=1e-3, loaded_s=1e-5)
DEAR_LOADS = TokenCosts(computed_s=1e-3, loaded_s=2e-3)


def planned(placing: Placing, tokens: int = 20) -> PlannedMemory:
    return PlannedMemory(PromptMemory("m", 1, "text", 0), placing, tokens)


def measured(answers: int, *, loads: bool = True, alike: bool = False) -> CostMeter:
    random, meter = Random(1), CostMeter()
    for _ in range(answers):
        computed = 100 if alike else random.randint(50, 2000)
        loaded = random.randint(64, 2000) if loads else 0
        noise = random.gauss(0.0, 1e-3)
        meter.note(computed, loaded, 0.05 + 1e-3 * computed + 1e-5 * loaded + noise)
    return meter


def test_SCHED_1_costs_are_learnt_from_answers() -> None:
    costs = measured(200).costs
    assert costs is not None and costs.loaded_s is not None
    assert costs.computed_s == pytest.approx(1e-3, rel=0.02)
    assert costs.loaded_s == pytest.approx(1e-5, abs=5e-6)


def test_SCHED_1_costs_are_unknown_until_there_is_enough_to_tell() -> None:
    assert measured(15).costs is None
    assert measured(200, alike=True).costs is None, "prompts of one length tell nothing"
    without = measured(200, loads=False).costs
    assert without is not None and without.loaded_s is None


def test_SCHED_1_another_load_of_the_machine_is_learnt() -> None:
    meter, random = measured(200), Random(2)
    for _ in range(600):
        computed = random.randint(50, 2000)
        meter.note(computed, 0, 0.05 + 4e-3 * computed)
    costs = meter.costs
    assert costs is not None and costs.computed_s == pytest.approx(4e-3, rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000), st.floats(0, 100))))
def test_SCHED_1_no_cost_is_negative(answers: list[tuple[int, int, float]]) -> None:
    meter = CostMeter()
    for answer in answers:
        meter.note(*answer)
    costs = meter.costs
    assert costs is None or (costs.computed_s > 0 and (costs.loaded_s or 0.0) >= 0)


def test_SCHED_1_an_adapter_is_let_go_of_where_it_loses_a_long_cache() -> None:
    base, taught = PromptSize(2000, cached=1900), PromptSize(1950)
    assert not keeps_adapter(taught, base, CHEAP_LOADS)
    assert keeps_adapter(taught, base, None), "as long as costs are not known, it is used"
    assert keeps_adapter(PromptSize(100), PromptSize(140), CHEAP_LOADS)
    assert keeps_adapter(PromptSize(140), PromptSize(100), CHEAP_LOADS), "not by enough"


def test_SCHED_1_a_cache_is_brought_unless_that_takes_far_longer() -> None:
    assert takes_caches(500, CHEAP_LOADS)
    assert takes_caches(500, None)
    assert takes_caches(500, TokenCosts(1e-3)), "what loading costs is not known"
    assert takes_caches(500, TokenCosts(1e-3, 1.4e-3)), "not by enough"
    assert not takes_caches(500, DEAR_LOADS)


@pytest.mark.parametrize(
    ("placing", "cached", "form"),
    [
        (Placing.SHARED, True, Form.ACTIVATION),
        (Placing.SHARED, False, Form.PLAINTEXT),
        (Placing.KEPT, True, Form.ACTIVATION),
        (Placing.FRESH, True, Form.PLAINTEXT),
        (Placing.LEARNT, False, Form.PARAMETER),
        (Placing.REPEATED, True, None),
        (Placing.NO_ROOM, True, None),
    ],
)
@pytest.mark.parametrize("costs", [None, CHEAP_LOADS])
def test_SCHED_1_each_memory_has_a_form_and_a_reason(
    placing: Placing, cached: bool, form: Form | None, costs: TokenCosts | None
) -> None:
    there = frozenset({Placing.SHARED, Placing.KEPT}) if cached else frozenset[Placing]()
    ((_, decision),) = decide([planned(placing)], PromptForms(costs, there))
    assert decision.form is form
    assert form not in decision.refused
    if form is None:
        assert decision.reason in (Reason.REPEATED, Reason.NO_ROOM)
    else:
        assert decision.reason is (Reason.NOT_MEASURED if costs is None else Reason.CHEAPEST)
        assert bool(decision.costs) is (costs is not None)


def test_SCHED_1_why_a_form_is_not_there_is_told() -> None:
    forms = PromptForms(CHEAP_LOADS, refused={Form.PARAMETER: Reason.DEARER})
    ((_, decision),) = decide([planned(Placing.FRESH)], forms)
    assert dict(decision.refused) == {
        Form.ACTIVATION: Reason.NOT_CACHED,
        Form.PARAMETER: Reason.DEARER,
    }
    assert decision.costs == {Form.PLAINTEXT: pytest.approx(0.02)}
    assert decision.explain() == (
        "plaintext: cheapest; plaintext 0.02 s; no activation: not_cached, no parameter: dearer"
    )
