"""Keeps fresh policy at hand and decides from it, without asking the authority on each call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.documents import Directory
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.access.snapshot import DIRECTORY, PolicyCache, SignedLease
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.predicate import Predicate
from memos_ray.errors import MemosError, NotFoundError, PolicyUnavailableError
from memos_ray.ports import ClockPort, GovernancePort

_POLL_S = 10.0
_RETRY_S = 0.5
_FETCHES = 2
# Each poll is a call that waits at the authority, which has room for so many of them.
_IDLE_S = 900.0


class PolicyGuard:
    """The policies of the tenants in use, kept fresh by one long poll each.

    Of a tenant that nobody has asked for in a quarter of an hour the policy is fetched anew.

    A change of policy arrives within a round trip, and at once where a caller has seen it already
    (`at_least`, `refresh`); when the authority is away, decisions go on until the lease ends and
    are refused from then on.
    """

    def __init__(self, public_key: bytes, governance: GovernancePort, clock: ClockPort) -> None:
        self._cache = PolicyCache(public_key)
        self._governance = governance
        self._clock = clock
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._asked_at: dict[str, float] = {}

    async def ensure(self, tenant: str, at_least: int = 0) -> TenantPolicy:
        """Returns a tenant's policy, fetching it first when there is no fresh one.

        Args:
            at_least: version below which a policy is not fresh.

        Raises:
            PolicyUnavailableError: the authority is away, or knows no such tenant or version.
        """
        failure = PolicyUnavailableError("the policy is behind", tenant=tenant)
        # A fetch that is under way already may have begun before the change that is wanted.
        for _ in range(_FETCHES):
            held = self._held(tenant, at_least)
            if held is not None:
                return held
            try:
                await self._fetch(tenant)
            except PolicyUnavailableError as error:
                # Or what it brought came second, after something newer.
                failure = error
        held = self._held(tenant, at_least)
        if held is None:
            raise failure
        return held

    def _held(self, tenant: str, at_least: int) -> TenantPolicy | None:
        if not self._follows(tenant):
            return None
        try:
            held = self._cache.policy(tenant, self._clock.now())
        except PolicyUnavailableError:
            return None
        return held if held.version >= at_least else None

    def _follows(self, tenant: str) -> bool:
        """Notes that a policy is asked for; tells whether its changes are heard of."""
        if tenant not in self._polls:
            return False
        self._asked_at[tenant] = self._clock.monotonic()
        return True

    async def ensure_for(self, context: CallContext) -> TenantPolicy:
        """Returns the policy to decide about a call by; raises as `ensure`."""
        return await self.ensure(context.principal.tenant, context.policy)

    async def ensure_each(self, contexts: Iterable[CallContext]) -> None:
        """Makes sure of the policies of several calls; raises as `ensure`."""
        newest: dict[str, int] = {}
        for context in contexts:
            tenant = context.principal.tenant
            newest[tenant] = max(context.policy, newest.get(tenant, 0))
        for tenant, version in newest.items():
            await self.ensure(tenant, version)

    async def refresh(self, tenant: str) -> None:
        """Fetches a policy that has just changed, and the directory with it.

        A failure is left to the next call, which needs the policy.
        """
        for changed in (tenant, DIRECTORY):
            with suppress(MemosError):
                await self._fetch_now(changed)

    async def ensure_directory(self) -> Directory:
        """Returns the directory of all tenants, fetching it first when there is no fresh one.

        Raises:
            PolicyUnavailableError: the authority is away.
        """
        if self._follows(DIRECTORY):
            with suppress(PolicyUnavailableError):
                return self._cache.directory(self._clock.now())
        await self._fetch(DIRECTORY)
        return self._cache.directory(self._clock.now())

    def policy(self, tenant: str) -> TenantPolicy:
        """Returns a tenant's policy.

        Raises:
            PolicyUnavailableError: there is none in lease.
        """
        return self._cache.policy(tenant, self._clock.now())

    def check(
        self, context: CallContext, action: Action, namespace: str, facets: Facets, now: datetime
    ) -> None:
        """Lets the call pass or raises; see `core.vault.guarding.GuardPort`."""
        self.policy(context.principal.tenant).require(context, action, facets, namespace, now)

    def permit(self, context: CallContext, action: Action, namespace: str) -> Predicate:
        """Returns the filter over the memories that the call may act on."""
        policy = self.policy(context.principal.tenant)
        return policy.permit(context, action, namespace, self._clock.now())

    def default_visibility(self, tenant: str, namespace: str) -> Visibility:
        """Returns the visibility of new memories that do not say theirs."""
        try:
            return self.policy(tenant).namespace(namespace).default_visibility
        except NotFoundError:
            return Visibility.PRIVATE

    def quota_bytes(self, tenant: str, namespace: str) -> int | None:
        """Returns most bytes of text that a namespace may hold, or nothing."""
        try:
            return self.policy(tenant).namespace(namespace).quota_bytes
        except NotFoundError:
            return None

    async def close(self) -> None:
        """Stops the polls."""
        tasks = [*self._polls.values(), *self._fetches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, tenant: str) -> None:
        """Fetches a policy; all who want it at one time share one call of the authority."""
        fetch = self._fetches.get(tenant)
        if fetch is None:
            fetch = self._fetches[tenant] = asyncio.create_task(self._fetch_now(tenant))
            fetch.add_done_callback(lambda done: self._fetched(tenant, done))
        await asyncio.shield(fetch)

    def _fetched(self, tenant: str, fetch: asyncio.Task[None]) -> None:
        self._fetches.pop(tenant, None)
        if not fetch.cancelled():
            # Heard, also when nobody waits for it any more.
            fetch.exception()

    async def _fetch_now(self, tenant: str) -> None:
        snapshot = await self._governance.snapshot(tenant)
        self._cache.accept(snapshot, tenant, self._clock.now())
        if tenant not in self._polls:
            self._asked_at[tenant] = self._clock.monotonic()
            self._polls[tenant] = asyncio.create_task(self._poll(tenant))

    async def _poll(self, tenant: str) -> None:
        try:
            while self._clock.monotonic() - self._asked_at[tenant] < _IDLE_S:
                await self._learn(tenant)
        finally:
            del self._polls[tenant], self._asked_at[tenant]

    async def _learn(self, tenant: str) -> None:
        """Takes in the next news of a policy."""
        try:
            news = await self._governance.wait_for_newer(
                tenant, self._cache.version(tenant), _POLL_S
            )
            now = self._clock.now()
            if isinstance(news, SignedLease):
                self._cache.renew(news, tenant, now)
            else:
                self._cache.accept(news, tenant, now)
        except MemosError:
            await asyncio.sleep(_RETRY_S)
