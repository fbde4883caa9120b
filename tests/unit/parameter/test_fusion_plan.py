"""Which adapters can be combined, and where the result comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import (
    AdapterManifest,
    AdapterOrigin,
    FusionMethod,
    joined_origin,
    plan_fusion,
)
from memos_ray.errors import InvalidInputError


def manifest(digest: str, rank: int, *sources: str, base: str = "base") -> AdapterManifest:
    origin = AdapterOrigin(tuple(SourceVersion(one, 1) for one in sources))
    return AdapterManifest(digest, base, rank, 2.0 * rank, ("q_proj",), (), 0, origin)


ONE, TWO = manifest("one", 4, "a", "b"), manifest("two", 8, "b", "c")


@pytest.mark.parametrize(
    ("method", "rank", "wanted"),
    [
        (FusionMethod.LINEAR, 0, 12),
        (FusionMethod.LINEAR, 3, 12),
        (FusionMethod.SVD, 0, 8),
        (FusionMethod.TIES, 3, 3),
    ],
)
def test_CONV_7_ranks(method: FusionMethod, rank: int, wanted: int) -> None:
    assert plan_fusion([ONE, TWO], method, rank=rank, rank_max=16).rank == wanted


def test_CONV_7_sources_are_joined() -> None:
    plan = plan_fusion([ONE, TWO], FusionMethod.SVD, seed=5, rank_max=16)
    origin = joined_origin([ONE, TWO], plan)
    assert [source.cube_id for source in origin.sources] == ["a", "b", "c"]
    assert (origin.parents, origin.seed) == (("one", "two"), 5)
    assert origin.recipe != replace(plan, weights=(1.0, 2.0)).recipe


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ([ONE], {}),
        ([ONE, ONE], {}),
        ([ONE, manifest("three", 4, base="another")], {}),
        ([ONE, TWO], {"weights": (1.0,)}),
        ([ONE, TWO], {"weights": (1.0, float("nan"))}),
        ([ONE, TWO], {"weights": (1.0, float("inf"))}),
        ([ONE, TWO], {"density": 0.0}),
        ([ONE, TWO], {"density": 1.0}),
        ([ONE, TWO], {"rank": 17}),
        ([ONE, TWO], {"rank": -1}),
    ],
)
def test_CONV_7_what_cannot_be_combined(
    given: list[AdapterManifest], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError):
        plan_fusion(given, FusionMethod.SVD, rank_max=16, **options)


def test_CONV_7_the_exact_sum_may_be_too_large() -> None:
    with pytest.raises(InvalidInputError, match="rank=12"):
        plan_fusion([ONE, TWO], FusionMethod.LINEAR, rank_max=11)
