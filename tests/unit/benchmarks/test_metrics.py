"""Scores and percentiles, against values worked out by hand."""

from __future__ import annotations

from math import log2

import pytest

from benchmarks.metrics import average, percentile, score, spread_ms


def test_a_perfect_ranking_scores_one() -> None:
    assert score(["a", "b", "c"], ["b", "a"]) == {
        "recall@1": 0.5,
        "recall@5": 1.0,
        "recall@10": 1.0,
        "ndcg@10": 1.0,
        "mrr": 1.0,
    }


def test_what_comes_late_counts_for_less_and_beyond_ten_not_at_all() -> None:
    ranked = ["x", "y", "gold-1", *(f"z{n}" for n in range(7)), "gold-2"]
    found = score(ranked, ["gold-1", "gold-2"])
    assert found["recall@1"] == 0.0
    assert found["recall@5"] == found["recall@10"] == 0.5
    assert found["mrr"] == pytest.approx(1 / 3)
    assert found["ndcg@10"] == pytest.approx((1 / log2(4)) / (1 + 1 / log2(3)))


def test_nothing_found_scores_zero() -> None:
    assert set(score(["x"], ["gold"]).values()) == {0.0}
    assert set(score([], ["gold"]).values()) == {0.0}


def test_gold_that_is_named_twice_counts_once() -> None:
    assert score(["a"], ["a", "a"])["recall@1"] == 1.0


def test_averages_go_metric_by_metric() -> None:
    assert average([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.5}]) == {"a": 0.5, "b": 0.25}
    assert average([]) == {}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)]
)
def test_percentiles_are_nearest_ranks(share: float, expected: int) -> None:
    shuffled = [float((n * 37) % 100 + 1) for n in range(100)]
    assert percentile(shuffled, share) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0), (0.51, 2.0), (0.99, 2.0)])
def test_percentiles_of_two_values(share: float, expected: float) -> None:
    assert percentile([2.0, 1.0], share) == expected


def test_spreads_are_in_milliseconds() -> None:
    found = spread_ms([n / 1000 for n in range(1, 101)])
    assert found == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}
