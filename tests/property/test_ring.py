"""The ring over random histories of shards coming and going."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.vault.ring import Ring, rebalance

names = st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])
shard_sets = st.sets(names, min_size=1)


@st.composite
def rings(draw: st.DrawFn) -> Ring:
    """Any assignment at all, balanced or not."""
    owners = draw(st.lists(names | st.just(""), min_size=7, max_size=40))
    return Ring(draw(st.integers(0, 9)), tuple(owners))


@given(rings(), shard_sets)
def test_every_shard_carries_its_share(ring: Ring, shards: set[str]) -> None:
    loads = Counter(rebalance(ring, sorted(shards)).owners)
    assert set(loads) == shards
    assert max(loads.values()) - min(loads.values()) <= 1


@given(rings(), shard_sets)
def test_no_more_moves_than_balance_needs(ring: Ring, shards: set[str]) -> None:
    """Each shard keeps up to its quota, and the larger quotas go to those that hold more."""
    after = rebalance(ring, sorted(shards))
    kept = sum(a == b for a, b in zip(ring.owners, after.owners, strict=True))
    base, larger = divmod(len(ring.owners), len(shards))
    held = Counter(owner for owner in ring.owners if owner in shards)
    spare = sum(held[shard] > base for shard in shards)
    assert kept == sum(min(held[shard], base) for shard in shards) + min(larger, spare)


@given(rings(), shard_sets, st.randoms(use_true_random=False))
def test_the_result_depends_on_the_set_of_shards_alone(
    ring: Ring, shards: set[str], random: object
) -> None:
    shuffled = sorted(shards)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rebalance(ring, shuffled) == rebalance(ring, sorted(shards))


@given(rings(), st.lists(shard_sets, max_size=5))
def test_versions_grow_through_a_history(ring: Ring, history: list[set[str]]) -> None:
    for shards in history:
        after = rebalance(ring, sorted(shards))
        assert after.version == ring.version + 1
        assert len(after.owners) == len(ring.owners)
        ring = after
