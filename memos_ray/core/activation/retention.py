"""Which KV caches are kept when there is not room for all.

A cache is worth what it saves: the seconds of prefill of each use, times how often it is used, for
each byte that it takes. Uses are counted with a half-life, so that what was hot once cools down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

HALF_LIFE_S = 3600.0
"""After this long a use counts for half."""

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Holding:
    """What decides over a cache that is held.

    Attributes:
        build_s: seconds that it took to compute, and that a use saves.
        pinned: whether it stays whatever else is needed.
        uses: how often it was used, decayed as of `used_at`.
        used_at: seconds on the clock of whoever holds it.
    """

    tenant: str
    size_bytes: int
    build_s: float
    pinned: bool = False
    uses: float = 0.0
    used_at: float = 0.0

    def use(self, now: float) -> None:
        """Counts a use."""
        self.uses = self.heat(now) + 1.0
        self.used_at = now

    def heat(self, now: float) -> float:
        """Returns the decayed number of uses."""
        return decayed(self.uses, now - self.used_at)


class RetentionPolicy(Protocol):
    """Orders caches: the one of least worth goes first."""

    def worth(self, holding: Holding, now: float) -> float:
        """Returns a number that grows with the wish to keep a cache."""
        ...


class LeastRecentlyUsed:
    """Keeps what was used last."""

    def worth(self, holding: Holding, now: float) -> float:
        """See `RetentionPolicy`."""
        return holding.used_at - now


class CostAware:
    """Keeps what saves most: seconds of prefill an hour for each megabyte."""

    def worth(self, holding: Holding, now: float) -> float:
        """See `RetentionPolicy`."""
        return holding.heat(now) * holding.build_s / max(holding.size_bytes / 1e6, 1e-6)


@dataclass(frozen=True, slots=True)
class KvBudget:
    """Bytes that caches may take: in all, and those of one tenant."""

    total_bytes: int
    tenant_bytes: int


def decayed(count: float, elapsed_s: float, half_life_s: float = HALF_LIFE_S) -> float:
    """Returns what is left of a count after a time."""
    return count * float(0.5 ** (max(elapsed_s, 0.0) / half_life_s))


def victims(
    held: Mapping[K, Holding],
    budget: KvBudget,
    policy: RetentionPolicy,
    now: float,
    newcomer: K | None = None,
) -> list[K]:
    """Names the caches to let go of, so that the rest is within the budget.

    A tenant over its share gives up its own; then the least worthy of all go. Pinned ones stay. The
    newcomer stays unless only pinned ones are left beside it: it was wanted a moment ago.

    Complexity: n log n.
    """
    bytes_of: defaultdict[str, int] = defaultdict(int)
    for one in held.values():
        bytes_of[one.tenant] += one.size_bytes
    total = sum(bytes_of.values())
    going: dict[K, None] = {}
    free = [key for key, one in held.items() if not one.pinned and key != newcomer]
    free.sort(key=lambda key: policy.worth(held[key], now))
    if newcomer is not None and newcomer in held and not held[newcomer].pinned:
        free.append(newcomer)
    for only_own in (True, False):
        for key in free:
            one = held[key]
            over = bytes_of[one.tenant] > budget.tenant_bytes
            if key in going or not (over if only_own else total > budget.total_bytes):
                continue
            going[key] = None
            bytes_of[one.tenant] -= one.size_bytes
            total -= one.size_bytes
    return list(going)
