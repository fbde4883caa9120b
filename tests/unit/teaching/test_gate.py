"""The gate: what an adapter must reach, and the report that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from memos_ray.core.teaching import (
    GateFigures,
    GateThresholds,
    Scores,
    Verdict,
    as_markdown,
    decide,
    loss_plot,
)

GOOD = GateFigures(
    base=Scores(recall=0.01, in_context=0.99, perplexity=1.05),
    adapter=Scores(recall=0.97, in_context=0.98, perplexity=1.06),
    recall_asked=100,
    in_context_asked=100,
    absent_asked=100,
    absent_kept=0.99,
    foreign_asked=20,
    leaked=0,
)


def own(**changes: float) -> GateFigures:
    return replace(GOOD, adapter=replace(GOOD.adapter, **changes))


def test_a_good_one_is_accepted() -> None:
    report = decide("digest", GOOD)
    assert (report.verdict, report.reasons) == (Verdict.ACCEPTED, ())


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (own(recall=0.89), "recall 89.0% is below 90.0%"),
        (replace(GOOD, base=replace(GOOD.base, recall=0.8)), "recall gains 17.0%"),
        (own(in_context=0.96), "lose 3.0%"),
        (own(perplexity=2.0), "perplexity 2.000"),
        (own(perplexity=float("nan")), "perplexity nan"),
        (replace(GOOD, absent_kept=0.5), "only 50.0%"),
        (replace(GOOD, leaked=1), "1 of 20 facts of others"),
        (replace(GOOD, recall_asked=0), "nothing could be asked about what was taught"),
        (replace(GOOD, in_context_asked=0), "nothing could be asked about memories"),
    ],
)
def test_each_threshold_rejects(figures: GateFigures, reason: str) -> None:
    report = decide("digest", figures)
    assert report.verdict is Verdict.REJECTED
    assert len(report.reasons) == 1
    assert reason in report.reasons[0]


@pytest.mark.parametrize(
    "loosened",
    [
        {"recall_min": 0.97},
        {"gain_min": 0.96},
        {"leaked_max": 0},
        {"absent_kept_min": 0.99},
    ],
)
def test_what_is_just_reached_is_reached(loosened: dict[str, Any]) -> None:
    assert decide("digest", GOOD, GateThresholds(**loosened)).verdict is Verdict.ACCEPTED


def test_a_loss_of_just_what_may_be_lost_is_not_more() -> None:
    # In floating point, 1 - 0.98 is.
    whole = replace(own(in_context=0.98), base=replace(GOOD.base, in_context=1.0))
    assert decide("digest", whole).verdict is Verdict.ACCEPTED


def test_the_report_says_what_was_measured_and_why() -> None:
    report = decide("abcdef0123456789", own(recall=0.5), losses=(2.0, 1.0), train_s=12.3)
    text = as_markdown(report, "loss.svg")
    assert "# Adapter abcdef012345: rejected" in text
    assert "- recall 50.0% is below 90.0%" in text
    assert "| 1.0% | 50.0% |" in text
    assert "12.3 s, 2 steps" in text
    assert "](loss.svg)" in text
    assert "](" not in as_markdown(report)


@pytest.mark.parametrize("steps", [1, 2, 30, 1000])
def test_the_plot_is_a_line(steps: int) -> None:
    report = decide("digest", GOOD, losses=tuple(3.0 / (1 + step) for step in range(steps)))
    drawn = ElementTree.fromstring(loss_plot(report))
    (line,) = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    places = [tuple(map(float, one.split(","))) for one in line.attrib["points"].split()]
    assert len(places) == min(steps, -(-steps // -(-steps // 120)))
    assert places == sorted(places)


def test_a_loss_of_nothing_has_a_place() -> None:
    assert "polyline" in loss_plot(decide("digest", GOOD, losses=(1.0, 0.0)))


def test_without_steps_there_is_no_plot() -> None:
    with pytest.raises(ValueError, match="x values"):
        loss_plot(decide("digest", GOOD))
