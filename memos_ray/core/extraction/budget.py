"""What extraction may cost a tenant in an hour. Pure; hours begin with what is spent first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.errors import StoreCorruptError

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """What each tenant may spend in an hour; nothing sets no limit."""

    tokens: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent since an hour began."""

    since: datetime
    tokens: int = 0
    requests: int = 0

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


def spend(spent: Spent | None, tokens: int, requests: int, now: datetime) -> Spent:
    """Adds to what was spent; a new hour begins when the last one is over."""
    held = spent if spent is not None and _runs(spent, now) else Spent(now)
    return replace(
        held, tokens=max(held.tokens + tokens, 0), requests=max(held.requests + requests, 0)
    )


def free_at(spent: Iterable[Spent], budget: Budget, tokens: int, now: datetime) -> datetime | None:
    """Returns when a request of so many tokens may be sent; nothing for now.

    One that exceeds the budget of an hour by itself has an hour for itself.
    """
    held = [one for one in spent if _runs(one, now)]
    requests = sum(one.requests for one in held)
    if not requests:
        return None
    over = (budget.requests is not None and requests + 1 > budget.requests) or (
        budget.tokens is not None and sum(one.tokens for one in held) + tokens > budget.tokens
    )
    return min(one.since for one in held) + _HOUR if over else None


def _runs(spent: Spent, now: datetime) -> bool:
    return spent.since <= now < spent.since + _HOUR
