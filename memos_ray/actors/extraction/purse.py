"""What a shard has been allowed to spend on extraction, tenant by tenant."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from memos_ray.core.extraction import Allowance
from memos_ray.errors import MemosError
from memos_ray.ports import AllowancePort

_AGAIN = timedelta(seconds=5)
_log = logging.getLogger(__name__)


class Purse:
    """Spends from parts of budgets that were allowed, and asks for another when one is used up.

    So a request asks nobody but now and then. While nobody answers nothing is spent beyond what was
    allowed before. What a shard that dies has left counts as spent.

    Concurrency: runs on the actor's event loop; one question about a tenant at a time.
    """

    def __init__(
        self, allowances: AllowancePort, now: Callable[[], datetime], counters: Counter[str]
    ) -> None:
        self._allowances = allowances
        self._now = now
        self._counters = counters
        self._held: dict[str, Allowance] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(self, tenant: str, tokens: int) -> datetime | None:
        """Takes one request of so many tokens; returns when to try again, if there is no room."""
        async with self._asking[tenant]:
            held = self._held.get(tenant)
            if held is None or not held.suffices(tokens, self._now()):
                found = await self._allowed(tenant, tokens)
                if isinstance(found, datetime):
                    return found
                held = found
            self._held[tenant] = held.plus(-tokens, -1)
            return None

    def settle(self, tenant: str, tokens: int, at: datetime) -> None:
        """Puts back what a request has cost less, or takes what it has cost more.

        Args:
            at: when it was taken; what was taken in an hour that is over stays spent.
        """
        held = self._held.get(tenant)
        if held is not None and held.covers(at):
            self._held[tenant] = held.plus(tokens, 0)

    async def leave(self, tenant: str) -> None:
        """Gives back what is left for a tenant without work."""
        held = self._held.pop(tenant, None)
        if held is None or self._now() >= held.until:
            return
        try:
            await self._allowances.give_back(tenant, held)
        except MemosError as error:
            # It may have been taken back all the same; it counts as spent, until the hour is over.
            _log.info("a part of a budget was not given back: %s", error.code)

    async def _allowed(self, tenant: str, tokens: int) -> Allowance | datetime:
        self._counters["extraction_allowances"] += 1
        try:
            found = await self._allowances.allow(tenant, tokens)
        except MemosError as error:
            _log.warning("no budget of extraction is to be had now: %s", error.code)
            self._counters["extraction_allowances_failed"] += 1
            return self._now() + _AGAIN
        held = self._held.get(tenant)
        if isinstance(found, datetime) or held is None or held.until != found.until:
            return found
        return found.plus(held.tokens or 0, held.requests or 0)
