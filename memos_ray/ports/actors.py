"""Actors, as their callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.access.snapshot import SignedLease, SignedSnapshot
from memos_ray.core.lifecycle.reports import LifecycleStatus
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.requests import (
    ShardStatus,
)
from memos_ray.core.vault.ring import Ring
from memos_ray.ports.records import EventQuery
from memos_ray.ports.shard.branches import BranchPort
from memos_ray.ports.shard.browsing import BrowsingPort
from memos_ray.ports.shard.memories import MemoriesPort
from memos_ray.ports.shard.model_memory import ModelMemoryPort
from memos_ray.ports.shard.order import OrderPort
from memos_ray.ports.shard.past import PastPort
from memos_ray.ports.shard.sources import ReusePort, SourcesPort


class ShardPort(
    MemoriesPort,
    ModelMemoryPort,
    OrderPort,
    PastPort,
    BranchPort,
    BrowsingPort,
    SourcesPort,
    ReusePort,
    Protocol,
):
    """A vault shard, as gateways and the supervisor see it; every call is one remote hop.

    All methods raise `NotOwnerError` for a partition that the shard does not hold,
    `PolicyUnavailableError` without a fresh policy, and `UnavailableError` when it is away.
    """

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over, each under an epoch above its last one; those held stay."""
        ...

    async def disown(self, partitions: Sequence[int]) -> None:
        """Finishes the writes that wait and gives partitions up."""
        ...

    async def status(self) -> ShardStatus:
        """Reports on itself."""
        ...


class GovernancePort(Protocol):
    """The policy authority, as readers of policy see it."""

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        """Returns the newest policy of a tenant under a fresh lease.

        Raises:
            PolicyUnavailableError: the authority is away, or there is no such tenant.
        """
        ...

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        """Returns as soon as there is a version above `version`, or else a renewed lease on it."""
        ...

    async def attest(self, tenant: str, receipt_digest: str) -> bytes:
        """Signs the digest of a complete receipt of an erasure, see `core.vault.receipts`."""
        ...

    async def change(
        self, context: CallContext, operation: AdminOperation | PersonaOperation
    ) -> Changed:
        """Carries out an administrator's request, durably and on record."""
        ...

    async def documents(self, context: CallContext, namespace: str) -> TenantDocuments:
        """Lists a tenant's policy documents, or one namespace's, to who administers them."""
        ...

    async def events(
        self, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns control events of the caller's tenant to its administrators, oldest first."""
        ...


class LifecyclePort(Protocol):
    """The schedule by which memories age."""

    async def status(self) -> LifecycleStatus:
        """Says how the lifecycle stands."""
        ...

    async def sweep(self) -> LifecycleStatus:
        """Sweeps all partitions now and returns how that went."""
        ...


class RingPort(Protocol):
    """Where the ring comes from."""

    async def ring(self) -> Ring:
        """Returns the newest ring."""
        ...


class SupervisorPort(RingPort, Protocol):
    """The supervisor, as gateways see it."""

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what each shard last said of itself; nothing for one that does not answer."""
        ...


class CrewPort(Protocol):
    """The actors that the supervisor starts and looks after, by name."""

    async def start_pipelines(self) -> None:
        """Starts the runner of pipelines unless it runs, and has it resume what it finds.

        Raises:
            UnavailableError: it does not come up.
        """
        ...

    async def has_pipelines(self) -> bool:
        """Says whether the runner of pipelines has been started."""
        ...

    async def start_shard(self, name: str) -> None:
        """Starts a shard unless it runs; does not wait."""
        ...

    async def has_shard(self, name: str) -> bool:
        """Says whether a shard of this name has been started and not been ended."""
        ...

    async def stop_shard(self, name: str) -> None:
        """Ends a shard that owns nothing any more."""
        ...

    def shard(self, name: str) -> ShardPort:
        """Returns the shard of this name, running or not."""
        ...
