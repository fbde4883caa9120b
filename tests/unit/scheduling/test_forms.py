"""SCHED-1: in which form a memory serves a request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.payload import Form
from memos_ray.core.scheduling.forms import (
    FormCosts,
    MemoryFacts,
    Reason,
    RequestFacts,
    choose_form,
)

COSTS = FormCosts(teach_s=2.0)
TALK, LONE = RequestFacts(coherent=True), RequestFacts(coherent=False)
BUSY = MemoryFacts(tokens=400, uses_hour=20.0)


def test_SCHED_1_a_coherent_dialogue_has_a_kv_cache() -> None:
    chosen = choose_form(BUSY, TALK, COSTS)
    assert (chosen.form, chosen.reason) == (Form.ACTIVATION, Reason.CHEAPEST)
    assert chosen.costs[Form.ACTIVATION] < chosen.costs[Form.PLAINTEXT]
    assert choose_form(BUSY, LONE, COSTS).refused[Form.ACTIVATION] is Reason.NOT_COHERENT


def test_SCHED_1_what_is_settled_and_procedural_is_taught() -> None:
    known = replace(BUSY, procedural=True)
    assert choose_form(known, LONE, COSTS).form is Form.PARAMETER
    assert choose_form(known, LONE, FormCosts()).refused[Form.PARAMETER] is Reason.NO_ADAPTERS
    changing = choose_form(replace(known, changes_hour=0.1), LONE, COSTS)
    assert changing.refused[Form.PARAMETER] is Reason.NOT_SETTLED
    assert choose_form(BUSY, LONE, COSTS).refused[Form.PARAMETER] is Reason.NOT_PROCEDURAL


@pytest.mark.parametrize("change", [{"lifetime_s": 600.0}, {"changes_hour": 4.0}])
def test_SCHED_1_what_is_time_sensitive_stays_text(change: dict[str, float]) -> None:
    memory = MemoryFacts(**{"tokens": 400, "uses_hour": 20.0, "procedural": True, **change})  # type: ignore[arg-type]
    chosen = choose_form(memory, TALK, COSTS)
    assert (chosen.form, chosen.reason) == (Form.PLAINTEXT, Reason.TIME_SENSITIVE)


def test_SCHED_1_what_is_seldom_used_stays_text() -> None:
    chosen = choose_form(replace(BUSY, uses_hour=0.1), TALK, COSTS)
    assert (chosen.form, chosen.reason) == (Form.PLAINTEXT, Reason.CHEAPEST)


def test_SCHED_1_window_and_similarity_count() -> None:
    full = replace(TALK, window_tokens=100)
    assert choose_form(BUSY, full, COSTS).form is None
    assert choose_form(replace(BUSY, procedural=True), full, COSTS).form is Form.PARAMETER
    beside = choose_form(BUSY, replace(TALK, similarity=0.0), COSTS)
    assert (beside.form, beside.reason) == (None, Reason.IRRELEVANT)


def test_SCHED_1_priority_weighs_uses() -> None:
    seldom = replace(BUSY, uses_hour=0.5)
    assert choose_form(seldom, TALK, COSTS).form is Form.PLAINTEXT
    assert choose_form(replace(seldom, priority=20.0), TALK, COSTS).form is Form.ACTIVATION


def test_SCHED_1_forms_do_not_change_to_and_fro() -> None:
    rates = [uses / 100 for uses in range(1, 600)]
    up = next(rate for rate in rates if _form(rate, Form.PLAINTEXT) is Form.ACTIVATION)
    down = next(rate for rate in rates[::-1] if _form(rate, Form.ACTIVATION) is Form.PLAINTEXT)
    assert down < up / 1.3


def _form(rate: float, now: Form) -> Form | None:
    return choose_form(replace(BUSY, uses_hour=rate, form=now), TALK, COSTS).form


def test_SCHED_1_decisions_are_explained() -> None:
    line = choose_form(BUSY, TALK, COSTS).explain()
    assert line.startswith("activation: cheapest; plaintext ")
    assert "no parameter: not_procedural" in line


@given(
    memory=st.builds(
        MemoryFacts,
        tokens=st.integers(1, 4000),
        uses_hour=st.floats(0, 1000),
        changes_hour=st.floats(0, 3),
        lifetime_s=st.none() | st.floats(0, 1e6),
        procedural=st.booleans(),
        form=st.sampled_from([Form.PLAINTEXT, Form.ACTIVATION, Form.PARAMETER]),
    ),
    request=st.builds(
        RequestFacts,
        coherent=st.booleans(),
        similarity=st.floats(0, 1),
        window_tokens=st.integers(0, 8000),
    ),
)
def test_SCHED_1_the_choice_was_weighed_and_never_refused(
    memory: MemoryFacts, request: RequestFacts
) -> None:
    chosen = choose_form(memory, request, COSTS)
    assert chosen.form is None or chosen.form in chosen.costs
    assert chosen.form not in chosen.refused
    if chosen.form is not None and chosen.reason is not Reason.STAYS:
        assert chosen.costs[chosen.form] == min(chosen.costs.values())
