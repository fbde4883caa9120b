"""What extraction may cost a tenant in an hour. Pure; hours begin with what is spent first.

A tenant's budget is one for the whole cluster. Who spends it has a part of it allowed, a bounded
one: what was allowed counts as spent until it is given back, so that all together never spend more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.errors import StoreCorruptError

_HOUR = timedelta(hours=1)
# Of what is left: the parts become smaller, and many spenders have one.
_SHARE = 8


@dataclass(frozen=True, slots=True)
class Budget:
    """What each tenant may spend in an hour; nothing sets no limit."""

    tokens: int | None = None
    requests: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.tokens is not None or self.requests is not None


@crossing
@dataclass(frozen=True, slots=True)
class Allowance:
    """A part of a budget, to be spent by one; nothing sets no limit.

    Attributes:
        until: when the hour is over, and what is left of it with it.
    """

    until: datetime
    tokens: int | None = None
    requests: int | None = None

    def suffices(self, tokens: int, now: datetime) -> bool:
        """Tells whether one request of so many tokens may be sent."""
        enough = self.tokens is None or self.tokens >= tokens
        return now < self.until and enough and (self.requests is None or self.requests >= 1)

    def covers(self, at: datetime) -> bool:
        """Tells whether a moment lies in the hour."""
        return self.until - _HOUR <= at < self.until

    def plus(self, tokens: int, requests: int) -> Allowance:
        """Adds to what is left, or takes from it."""
        return replace(
            self,
            tokens=None if self.tokens is None else self.tokens + tokens,
            requests=None if self.requests is None else self.requests + requests,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent since an hour began."""

    since: datetime
    tokens: int = 0
    requests: int = 0

    @property
    def until(self) -> datetime:
        """When the hour is over."""
        return self.since + _HOUR

    def to_bytes(self) -> bytes:
        """Encodes it."""
        return orjson.dumps([to_micros(self.since), self.tokens, self.requests])

    @classmethod
    def from_bytes(cls, body: bytes) -> Spent:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none.
        """
        try:
            since, tokens, requests = orjson.loads(body)
            return cls(from_micros(since), int(tokens), int(requests))
        except (ValueError, TypeError):
            raise StoreCorruptError("what extraction has spent cannot be read") from None


def allow(
    spent: Spent | None, budget: Budget, tokens: int, now: datetime
) -> tuple[Spent, Allowance] | datetime:
    """Allows a part of what is left, from which a request of so many tokens can be sent.

    A request that exceeds the budget of an hour by itself has an hour for itself.

    Returns:
        What is spent with it, and what is allowed; or when to ask again.
    """
    held = spent if spent is not None and spent.since <= now < spent.until else Spent(now)
    over = (budget.requests is not None and held.requests + 1 > budget.requests) or (
        budget.tokens is not None and held.tokens + tokens > budget.tokens
    )
    if over and (held.requests or held.tokens):
        return held.until
    granted = _part(budget.tokens, held.tokens, tokens)
    requests = _part(budget.requests, held.requests, 1)
    # Requests are counted without a limit, too: a first one is told from the others by that.
    counted = Spent(held.since, held.tokens + (granted or tokens), held.requests + (requests or 1))
    return counted, Allowance(held.until, granted, requests)


def give_back(spent: Spent, left: Allowance) -> Spent:
    """Takes what was not spent off; what was allowed in another hour is over."""
    if left.until != spent.until:
        return spent
    return replace(
        spent,
        tokens=max(spent.tokens - max(left.tokens or 0, 0), 0),
        requests=max(spent.requests - max(left.requests or 0, 0), 0),
    )


def _part(limit: int | None, spent: int, least: int) -> int | None:
    return None if limit is None else max(least, (limit - spent) // _SHARE)
