"""Partitions and the ring that assigns them."""

from __future__ import annotations

from collections import Counter

import pytest

from memos_ray.core.vault.ring import Ring, bucket_of, build, partition_of, rebalance
from memos_ray.errors import InvalidInputError


def moved(before: Ring, after: Ring) -> int:
    return sum(a != b for a, b in zip(before.owners, after.owners, strict=True))


def test_a_partition_never_changes() -> None:
    """These are addresses of stored data: a change of the hash would lose all of it."""
    assert [partition_of("acme", "notes", 0, 16), partition_of("acme", "notes", 1, 16)] == [6, 11]
    assert partition_of("acme", "user:ann", 0, 256) == 66
    assert [bucket_of("c-1", 8), bucket_of("c-4", 8)] == [2, 1]


def test_tenant_namespace_and_bucket_count_separately() -> None:
    places = {
        partition_of(tenant, namespace, bucket, 2**32)
        for tenant, namespace, bucket in (
            ("a", "bc", 0),
            ("ab", "c", 0),
            ("a", "b", 1),
            ("a", "b", 11),
            ("a", "b1", 1),
        )
    }
    assert len(places) == 5


def test_partitions_spread_evenly() -> None:
    loads = Counter(partition_of("acme", f"user:{n}", 0, 16) for n in range(4096))
    assert set(loads) == set(range(16))
    assert max(loads.values()) < 1.3 * 256
    buckets = Counter(bucket_of(f"c-{n}", 4) for n in range(4096))
    assert set(buckets) == set(range(4))
    assert max(buckets.values()) < 1.15 * 1024


def test_one_bucket_is_bucket_zero() -> None:
    assert {bucket_of(f"c-{n}", 1) for n in range(10)} == {0}


def test_build_shares_partitions_out() -> None:
    ring = build(["b", "a", "c"], 16)
    assert ring.version == 1
    assert [len(ring.owned_by(shard)) for shard in "abc"] == [6, 5, 5]
    assert sorted(p for shard in "abc" for p in ring.owned_by(shard)) == list(range(16))
    assert all(ring.owner(p) == shard for shard in "abc" for p in ring.owned_by(shard))
    assert ring.owned_by("nobody") == ()


def test_the_order_and_repetition_of_names_do_not_matter() -> None:
    assert build(["a", "b"], 8) == build(["b", "a", "b"], 8)


@pytest.mark.parametrize(("shards", "partitions"), [([], 4), (list("abcde"), 4)])
def test_an_impossible_ring_is_refused(shards: list[str], partitions: int) -> None:
    with pytest.raises(InvalidInputError):
        build(shards, partitions)


def test_a_new_shard_takes_only_its_share() -> None:
    before = build(["a", "b", "c"], 16)
    after = rebalance(before, ["a", "b", "c", "d"])
    assert len(after.owned_by("d")) == 4
    assert moved(before, after) == 4


def test_the_partitions_of_a_lost_shard_are_shared_out() -> None:
    before = build(["a", "b", "c", "d"], 16)
    after = rebalance(before, ["a", "c", "d"])
    assert moved(before, after) == 4
    assert sorted(Counter(after.owners).values()) == [5, 5, 6]
    assert set(before.owned_by("a")) <= set(after.owned_by("a"))


def test_a_shard_that_is_replaced_hands_over_all_it_had() -> None:
    before = build(["a", "b"], 8)
    after = rebalance(before, ["a", "z"])
    assert after.owned_by("z") == before.owned_by("b")


def test_an_unchanged_set_moves_nothing_but_the_version() -> None:
    before = build(["a", "b", "c"], 16)
    after = rebalance(before, ["c", "b", "a"])
    assert after == Ring(2, before.owners)
