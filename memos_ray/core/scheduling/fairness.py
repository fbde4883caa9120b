"""Who goes next where tenants share something that not all can have at once.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each request gets a start tag, which
is the end of its tenant's previous one or the virtual time of now, whichever is later, and an end
tag behind it by its cost over the tenant's weight. The least start tag goes first. So a tenant with
many requests waits behind itself, and one with few goes almost at once; what nobody uses is free
for all.

Foreground goes before background, but for one turn in `background_turn`: background work yields,
and never starves.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Generic, TypeVar

from memos_ray.core.access.context import CallContext

T = TypeVar("T")

_TENANTS = 4096


class Priority(IntEnum):
    """How urgent a request is."""

    FOREGROUND = 0
    """Somebody waits for it."""
    BACKGROUND = 1


def priority_of(context: CallContext) -> Priority:
    """Returns how urgent a call is."""
    return Priority.BACKGROUND if context.background else Priority.FOREGROUND


@dataclass(slots=True)
class _Class(Generic[T]):
    """The requests of one priority."""

    heap: list[tuple[float, int, str, T]] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    virtual: float = 0.0


class FairQueue(Generic[T]):
    """Requests that wait, in a fair order.

    Invariants: requests of one tenant and priority keep their order. Between two tenants that both
    wait all the time, what they have got for their weights differs by at most the largest cost of
    each (over its weight).

    Complexity: log n for each request.

    Args:
        weights: shares of tenants; 1 for those not named.
        background_turn: one in so many turns is background work's, when both wait.
    """

    def __init__(
        self, weights: Mapping[str, float] | None = None, background_turn: int = 8
    ) -> None:
        self._weights = dict(weights or {})
        self._background_turn = background_turn
        self._classes: dict[Priority, _Class[T]] = {one: _Class() for one in Priority}
        self._numbers = count()
        self._since_background = 0

    def __len__(self) -> int:
        return sum(len(one.heap) for one in self._classes.values())

    def waiting(self, tenant: str, priority: Priority | None = None) -> int:
        """Returns how many requests of a tenant wait: of one priority, or all."""
        asked = self._classes.values() if priority is None else [self._classes[priority]]
        return sum(one.waiting.get(tenant, 0) for one in asked)

    def push(
        self,
        tenant: str,
        request: T,
        cost: float = 1.0,
        priority: Priority = Priority.FOREGROUND,
    ) -> None:
        """Lets a request wait."""
        queue = self._classes[priority]
        start = max(queue.virtual, queue.ends.get(tenant, 0.0))
        queue.ends[tenant] = start + cost / self._weights.get(tenant, 1.0)
        queue.waiting[tenant] = queue.waiting.get(tenant, 0) + 1
        heapq.heappush(queue.heap, (start, next(self._numbers), tenant, request))

    def pop(self) -> tuple[str, T]:
        """Returns the tenant and the request that go next.

        Raises:
            IndexError: nothing waits.
        """
        queue = self._classes[self._next_class()]
        start, _, tenant, request = heapq.heappop(queue.heap)
        queue.virtual = start
        queue.waiting[tenant] -= 1
        if not queue.waiting[tenant]:
            del queue.waiting[tenant]
        if not queue.heap:
            # Nobody has a debt to anybody: the next ones begin alike.
            queue.ends.clear()
            queue.virtual = 0.0
        return tenant, request

    def _next_class(self) -> Priority:
        foreground = bool(self._classes[Priority.FOREGROUND].heap)
        background = bool(self._classes[Priority.BACKGROUND].heap)
        if foreground and background:
            self._since_background += 1
            if self._since_background < self._background_turn:
                return Priority.FOREGROUND
            self._since_background = 0
            return Priority.BACKGROUND
        return Priority.BACKGROUND if background else Priority.FOREGROUND


@dataclass(slots=True)
class TokenBucket:
    """So many requests a second in the long run, and a burst at once.

    Invariant: in any time t, at most `burst + rate * t` pass.

    Attributes:
        rate: a second.
        burst: most at once; at least 1.
    """

    rate: float
    burst: float
    level: float = -1.0
    at: float = 0.0

    def take(self, now: float, cost: float = 1.0) -> float:
        """Takes `cost` and returns 0, or takes nothing and returns the seconds to wait."""
        level = self.burst if self.level < 0 else self.level
        level = min(self.burst, level + max(now - self.at, 0.0) * self.rate)
        self.at = max(now, self.at)
        # What costs more than a whole burst waits for a full one.
        needed = min(cost, self.burst)
        if level + 1e-9 >= needed:
            self.level = max(level - needed, 0.0)
            return 0.0
        self.level = level
        return (needed - level) / self.rate


class RateLimits:
    """A token bucket for each tenant.

    Eviction: the tenant that was silent longest; its bucket has filled up long since.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, tenant: str, now: float) -> int:
        """Lets a request of a tenant pass and returns 0, or returns whole seconds to wait."""
        bucket = self._buckets.setdefault(tenant, TokenBucket(self._rate, self._burst))
        self._buckets.move_to_end(tenant)
        if len(self._buckets) > _TENANTS:
            self._buckets.popitem(last=False)
        return math.ceil(bucket.take(now))


class FairTurns(Generic[T]):
    """Who may begin, where only so many can be under way at once.

    One tenant never has all the places, so that another finds one free or soon to be free: what it
    waits for is one request to end, and not all that the first one has sent.

    Invariants: at most `places` are under way, of one tenant at most `tenant_places` that somebody
    waits for, and a third as many of its background work, but at least one; whoever may begin has
    begun. So a tenant's background work never stands before what somebody waits for.

    Args:
        places: how many may be under way.
        tenant_places: of one tenant; three quarters of all when absent.
    """

    def __init__(
        self,
        places: int,
        tenant_places: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._places = places
        most = tenant_places or max(1, places * 3 // 4)
        self._most = {Priority.FOREGROUND: most, Priority.BACKGROUND: max(1, most // 3)}
        self._queue: FairQueue[tuple[T, Priority]] = FairQueue(weights)
        self._behind: dict[tuple[str, Priority], deque[T]] = {}
        self._busy: dict[tuple[str, Priority], int] = {}
        self._under_way = 0

    def waiting(self, tenant: str) -> int:
        """Returns how many requests of a tenant wait."""
        behind = (len(self._behind.get((tenant, one), ())) for one in Priority)
        return self._queue.waiting(tenant) + sum(behind)

    def arrive(self, tenant: str, request: T, priority: Priority = Priority.FOREGROUND) -> list[T]:
        """Takes a request; returns those that may begin now."""
        self._behind.setdefault((tenant, priority), deque()).append(request)
        return self._advance(tenant, priority)

    def leave(self, tenant: str, priority: Priority = Priority.FOREGROUND) -> list[T]:
        """Notes that a request of a tenant has ended; returns those that may begin now."""
        self._under_way -= 1
        self._busy[tenant, priority] -= 1
        if not self._busy[tenant, priority]:
            del self._busy[tenant, priority]
        return self._advance(tenant, priority)

    def _advance(self, tenant: str, priority: Priority) -> list[T]:
        kind = (tenant, priority)
        behind, busy = self._behind.get(kind, deque()), self._busy.get(kind, 0)
        while behind and busy + self._queue.waiting(tenant, priority) < self._most[priority]:
            self._queue.push(tenant, (behind.popleft(), priority), priority=priority)
        if not behind:
            self._behind.pop(kind, None)
        begun = []
        while len(self._queue) and self._under_way < self._places:
            whose, (request, urgency) = self._queue.pop()
            self._under_way += 1
            self._busy[whose, urgency] = self._busy.get((whose, urgency), 0) + 1
            begun.append(request)
        return begun
