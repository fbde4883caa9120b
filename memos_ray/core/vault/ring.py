"""Which shard owns which partition.

A memory's partition follows from its tenant, namespace and bucket and never changes; the ring maps
partitions to shards and is replaced as a whole, with a growing version, when shards come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from memos_ray.errors import InvalidInputError


def partition_of(tenant: str, namespace: str, bucket: int, partitions: int) -> int:
    """Returns the partition of one bucket of a namespace, `0 <= p < partitions`."""
    key = b"\x1f".join((tenant.encode(), namespace.encode(), str(bucket).encode()))
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % partitions


def bucket_of(cube_id: str, buckets: int) -> int:
    """Returns the bucket of a cube in a namespace that is spread over several."""
    if buckets == 1:
        return 0
    return int.from_bytes(blake2b(cube_id.encode(), digest_size=8).digest(), "big") % buckets


@dataclass(frozen=True, slots=True)
class Ring:
    """An assignment of every partition to a shard.

    Invariants: each partition has exactly one owner; the loads of two shards differ by at most one.
    """

    version: int
    owners: tuple[str, ...]

    def owner(self, partition: int) -> str:
        """Returns the shard that owns a partition."""
        return self.owners[partition]

    def owned_by(self, shard: str) -> tuple[int, ...]:
        """Returns the partitions of a shard, ascending."""
        return tuple(p for p, owner in enumerate(self.owners) if owner == shard)


def build(shards: Sequence[str], partitions: int) -> Ring:
    """Makes the first ring.

    Raises:
        InvalidInputError: no shard, or fewer partitions than shards.
    """
    return rebalance(Ring(0, ("",) * partitions), shards)


def rebalance(ring: Ring, shards: Sequence[str]) -> Ring:
    """Returns a ring over `shards` that moves as few partitions as balance allows.

    Every partition of a shard that has gone moves; beyond that only the surplus of overloaded
    shards does. Deterministic: equal inputs give an equal ring.

    Raises:
        InvalidInputError: no shard, or fewer partitions than shards.
    """
    names = sorted(set(shards))
    total = len(ring.owners)
    if not 0 < len(names) <= total:
        raise InvalidInputError(
            "a ring needs at least one shard and at most as many as partitions",
            shards=len(names),
            partitions=total,
        )
    held = Counter(owner for owner in ring.owners if owner in names)
    ranked = sorted(names, key=lambda name: (-held[name], name))
    quota = {
        name: total // len(names) + (place < total % len(names))
        for place, name in enumerate(ranked)
    }
    owners = list(ring.owners)
    kept: Counter[str] = Counter()
    homeless = []
    for partition, owner in enumerate(owners):
        if owner in quota and kept[owner] < quota[owner]:
            kept[owner] += 1
        else:
            homeless.append(partition)
    free = [name for name in names for _ in range(quota[name] - kept[name])]
    for partition, name in zip(homeless, free, strict=True):
        owners[partition] = name
    return Ring(ring.version + 1, tuple(owners))
