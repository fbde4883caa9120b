"""Typed handles of the authorities: their ports, carried by Ray.

The authorities share one process, the actor `control`; see `control.py`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from memos_ray.cluster.remote import RemoteActor
from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.access.snapshot import SignedLease, SignedSnapshot
from memos_ray.core.extraction import Allowance
from memos_ray.core.lifecycle.reports import LifecycleStatus
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.requests import (
    ShardStatus,
)
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import EventQuery

CONTROL = "control"
_BOOT_TIMEOUT_S = 120.0
_SWEEP_TIMEOUT_S = 3600.0


class Authority(StrEnum):
    """Who answers a call to the control actor."""

    SUPERVISOR = "supervisor"
    GOVERNANCE = "governance"
    LIFECYCLE = "lifecycle"
    ALLOWANCES = "allowances"


class _RemoteAuthority:
    """One of the authorities, wherever the control actor runs."""

    def __init__(self, authority: Authority, namespace: str) -> None:
        self._authority = authority
        self._actor = RemoteActor(CONTROL, namespace)

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Calls a method of its port; see `RemoteActor.call`."""
        return await self._actor.call("ask", self._authority, method, *args, timeout_s=timeout_s)


class PolicyHandle:
    """The remote policy authority. Implements `ports.GovernancePort`."""

    def __init__(self, namespace: str) -> None:
        self._authority = _RemoteAuthority(Authority.GOVERNANCE, namespace)

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        """Returns the newest policy."""
        found: SignedSnapshot = await self._authority.call("snapshot", tenant)
        return found

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        """Returns a newer policy, or a renewed lease."""
        news: SignedSnapshot | SignedLease = await self._authority.call(
            "wait_for_newer", tenant, version, timeout_s, timeout_s=timeout_s + 10.0
        )
        return news

    async def attest(self, tenant: str, receipt_digest: str) -> bytes:
        """Signs the digest of a receipt."""
        signature: bytes = await self._authority.call("attest", tenant, receipt_digest)
        return signature

    async def change(
        self, context: CallContext, operation: AdminOperation | PersonaOperation
    ) -> Changed:
        """Carries out an administrator's request."""
        changed: Changed = await self._authority.call("change", context, operation)
        return changed

    async def documents(self, context: CallContext, namespace: str) -> TenantDocuments:
        """Lists policy documents."""
        found: TenantDocuments = await self._authority.call("documents", context, namespace)
        return found

    async def events(
        self, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns control events."""
        found: list[Event] = await self._authority.call("events", context, query, after, limit)
        return found


class LifecycleHandle:
    """The remote lifecycle. Implements `ports.LifecyclePort`."""

    def __init__(self, namespace: str) -> None:
        self._authority = _RemoteAuthority(Authority.LIFECYCLE, namespace)

    async def status(self) -> LifecycleStatus:
        """Says how the lifecycle stands."""
        status: LifecycleStatus = await self._authority.call("status")
        return status

    async def sweep(self) -> LifecycleStatus:
        """Sweeps all partitions."""
        status: LifecycleStatus = await self._authority.call("sweep", timeout_s=_SWEEP_TIMEOUT_S)
        return status


class AllowanceHandle:
    """The remote accounts of what extraction may cost. Implements `ports.AllowancePort`."""

    def __init__(self, namespace: str) -> None:
        self._authority = _RemoteAuthority(Authority.ALLOWANCES, namespace)

    async def allow(self, tenant: str, tokens: int) -> Allowance | datetime:
        """Allows a part of a budget."""
        found: Allowance | datetime = await self._authority.call("allow", tenant, tokens)
        return found

    async def give_back(self, tenant: str, left: Allowance) -> None:
        """Takes back what was not spent."""
        await self._authority.call("give_back", tenant, left)


class SupervisorHandle:
    """The remote supervisor. Implements `ports.RingPort`."""

    def __init__(self, namespace: str) -> None:
        self._authority = _RemoteAuthority(Authority.SUPERVISOR, namespace)

    async def boot(self) -> Ring:
        """Starts everything."""
        ring: Ring = await self._authority.call("boot", timeout_s=_BOOT_TIMEOUT_S)
        return ring

    async def ring(self) -> Ring:
        """Returns the newest ring."""
        ring: Ring = await self._authority.call("ring", timeout_s=_BOOT_TIMEOUT_S)
        return ring

    async def scale(self, shards: int) -> Ring:
        """Changes the number of shards."""
        ring: Ring = await self._authority.call("scale", shards, timeout_s=_BOOT_TIMEOUT_S)
        return ring

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what the shards say of themselves."""
        status: dict[str, ShardStatus | None] = await self._authority.call("status")
        return status

    async def start_pipelines(self) -> None:
        """Has the runner of pipelines started, unless it runs."""
        await self._authority.call("start_pipelines", timeout_s=_BOOT_TIMEOUT_S)
