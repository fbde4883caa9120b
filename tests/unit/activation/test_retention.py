"""Which KV caches are kept when there is not room for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import (
    CostAware,
    Holding,
    KvBudget,
    LeastRecentlyUsed,
    RetentionPolicy,
    victims,
)
from memos_ray.core.activation.retention import HALF_LIFE_S

ROOMY = KvBudget(1 << 40, 1 << 40)

holdings = st.builds(
    Holding,
    tenant=st.sampled_from(["acme", "zoo"]),
    size_bytes=st.integers(0, 100),
    build_s=st.floats(0, 100),
    pinned=st.booleans(),
    uses=st.floats(0, 100),
    used_at=st.floats(0, 100),
)


def held(size: int = 10, **changes: object) -> Holding:
    values = {"tenant": "acme", "size_bytes": size, "build_s": 1.0, **changes}
    return Holding(**values)  # type: ignore[arg-type]


def test_a_use_counts_for_half_after_an_hour() -> None:
    one = held()
    one.use(0.0)
    assert one.heat(HALF_LIFE_S) == pytest.approx(0.5)
    one.use(HALF_LIFE_S)
    assert one.heat(HALF_LIFE_S) == pytest.approx(1.5)
    assert one.heat(0.0) == pytest.approx(1.5), "a clock that stands still takes nothing away"


def test_what_was_used_longest_ago_goes_first() -> None:
    all_held = {"new": held(used_at=9.0), "old": held(used_at=1.0), "mid": held(used_at=5.0)}
    assert victims(all_held, KvBudget(20, 99), LeastRecentlyUsed(), 10.0) == ["old"]
    assert victims(all_held, KvBudget(5, 99), LeastRecentlyUsed(), 10.0) == ["old", "mid", "new"]


def test_what_saves_least_for_its_bytes_goes_first() -> None:
    all_held = {
        "big and cheap": held(100, build_s=1.0, uses=5.0),
        "small and dear": held(10, build_s=9.0, uses=5.0),
        "never used": held(10, build_s=9.0, uses=0.0),
    }
    order = victims(all_held, KvBudget(0, 0), CostAware(), 0.0)
    assert order == ["never used", "big and cheap", "small and dear"]


def test_a_tenant_over_its_share_gives_up_its_own() -> None:
    all_held = {
        "hers": held(tenant="zoo", used_at=0.0),
        "old": held(used_at=1.0),
        "new": held(used_at=2.0),
    }
    assert victims(all_held, KvBudget(1000, 15), LeastRecentlyUsed(), 3.0) == ["old"]


def test_the_newcomer_stays_unless_only_pinned_ones_are_beside_it() -> None:
    worthless = held(uses=0.0)
    beside = {"new": worthless, "other": held(uses=50.0)}
    assert victims(beside, KvBudget(10, 99), CostAware(), 0.0, newcomer="new") == ["other"]
    beside["other"].pinned = True
    assert victims(beside, KvBudget(10, 99), CostAware(), 0.0, newcomer="new") == ["new"]


@pytest.mark.parametrize("policy", [CostAware(), LeastRecentlyUsed()])
@given(
    all_held=st.dictionaries(st.integers(0, 30), holdings, max_size=20),
    total=st.integers(0, 500),
    share=st.integers(0, 500),
    newcomer=st.integers(0, 30),
)
def test_the_rest_is_within_the_budget_but_for_pinned_ones(
    policy: RetentionPolicy,
    all_held: dict[int, Holding],
    total: int,
    share: int,
    newcomer: int,
) -> None:
    going = victims(all_held, KvBudget(total, share), policy, 100.0, newcomer)
    assert len(set(going)) == len(going)
    assert not any(all_held[key].pinned for key in going)
    left = {key: one for key, one in all_held.items() if key not in going}
    free = [one for one in left.values() if not one.pinned]
    for tenant in ("acme", "zoo"):
        size = sum(one.size_bytes for one in left.values() if one.tenant == tenant)
        assert size <= share or not [one for one in free if one.tenant == tenant]
    assert sum(one.size_bytes for one in left.values()) <= total or not free
    assert victims(all_held, ROOMY, policy, 100.0) == []
