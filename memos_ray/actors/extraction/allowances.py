"""Who may spend how much of a tenant's budget: one account for the whole cluster."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from memos_ray.core.extraction import Allowance, Budget, Spent, allow, give_back
from memos_ray.core.vault.log import ControlChange
from memos_ray.errors import StoreCorruptError
from memos_ray.ports import ClockPort, ControlStorePort

_ACCOUNTS, _KIND = "/extraction", "spent"
_log = logging.getLogger(__name__)


class Allowances:
    """Keeps the accounts of tenants. Implements `ports.AllowancePort`.

    What is allowed is written down as spent before it is answered: whatever dies on the way, less
    is spent than the budget says, and never more. An account that cannot be read allows nothing for
    an hour.

    Concurrency: one change at a time; the store is asked in threads. Another keeper that was faster
    is seen by the revision of the account, and the call fails.
    """

    def __init__(self, store: ControlStorePort, clock: ClockPort, budget: Budget) -> None:
        self._store = store
        self._clock = clock
        self._budget = budget
        self._changing = asyncio.Lock()

    async def allow(self, tenant: str, tokens: int) -> Allowance | datetime:
        """See `AllowancePort`."""
        async with self._changing:
            return await asyncio.to_thread(self._allow, tenant, tokens)

    async def give_back(self, tenant: str, left: Allowance) -> None:
        """See `AllowancePort`."""
        async with self._changing:
            await asyncio.to_thread(self._give_back, tenant, left)

    def _allow(self, tenant: str, tokens: int) -> Allowance | datetime:
        revision, spent = self._account(tenant)
        found = allow(spent, self._budget, tokens, self._clock.now())
        if isinstance(found, datetime):
            return found
        self._write(tenant, found[0], revision)
        return found[1]

    def _give_back(self, tenant: str, left: Allowance) -> None:
        revision, spent = self._account(tenant)
        if spent is not None and (less := give_back(spent, left)) != spent:
            self._write(tenant, less, revision)

    def _account(self, tenant: str) -> tuple[int, Spent | None]:
        record = self._store.get(_ACCOUNTS, _KIND, tenant)
        if record is None:
            return 0, None
        try:
            return record.revision, Spent.from_bytes(record.body)
        except StoreCorruptError as error:
            _log.error("an account of extraction begins anew in an hour: %s", error.code)
            full = self._budget
            spent = Spent(self._clock.now(), full.tokens or 0, full.requests or 1)
            self._write(tenant, spent, record.revision)
            return record.revision + 1, spent

    def _write(self, tenant: str, spent: Spent, revision: int) -> None:
        change = ControlChange(_ACCOUNTS, _KIND, tenant, spent.to_bytes(), revision)
        self._store.commit([change], [])
