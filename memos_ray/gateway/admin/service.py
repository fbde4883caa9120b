"""AdminService: policy administration for all doors."""

from __future__ import annotations

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.vault.log import Event
from memos_ray.gateway.admin.models import NamespaceUsage, Who
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, EventQuery, GovernancePort


class AdminService:
    """Changes and lists policy, and tells what namespaces hold; the authority checks who may."""

    def __init__(
        self,
        authenticator: Authenticator,
        guard: PolicyGuard,
        governance: GovernancePort,
        router: Router,
        clock: ClockPort,
    ) -> None:
        self._authenticator = authenticator
        self._guard = guard
        self._governance = governance
        self._router = router
        self._placement = Placement(router, clock)

    async def whoami(self, caller: Caller) -> Who:
        """Returns who a credential stands for."""
        context, _ = await self._authenticator.context(caller)
        who = context.principal
        return Who(
            tenant=who.tenant,
            principal=who.id,
            roles=list(who.roles),
            credential=who.credential,
            scopes=list(who.scopes),
        )

    async def change(self, caller: Caller, operation: AdminOperation | PersonaOperation) -> Changed:
        """Carries out an administrator's request; the next call here is judged by what it changed.

        Raises:
            PermissionDeniedError: no rule lets the caller do this.
        """
        context, _ = await self._authenticator.context(caller)
        changed = await self._governance.change(context.hop(), operation)
        await self._guard.refresh(changed.tenant)
        return changed

    async def documents(self, caller: Caller, namespace: str = TENANT_ITSELF) -> TenantDocuments:
        """Lists the documents of the caller's tenant, or of one namespace.

        Raises:
            PermissionDeniedError: the caller does not administer it.
        """
        context, _ = await self._authenticator.context(caller)
        return await self._governance.documents(context.hop(), namespace)

    async def usage(self, caller: Caller, namespace: str | None = None) -> NamespaceUsage:
        """Returns how much a namespace holds, and may hold.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
            PermissionDeniedError: the caller does not administer it.
        """
        context, policy = await self._authenticator.context(caller)
        place, hop = namespace or context.home, context.hop()
        partition = await self._placement.home(context, place)
        size = await self._router.call(
            partition, lambda shard, _: shard.size(partition, hop, place)
        )
        return NamespaceUsage(
            namespace=place,
            memories=size.cubes,
            text_bytes=size.text_bytes,
            quota_bytes=policy.namespace(place).quota_bytes,
        )

    async def events(
        self, caller: Caller, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns the control events of the caller's tenant, oldest first.

        Raises:
            PermissionDeniedError: the caller is no administrator.
        """
        context, _ = await self._authenticator.context(caller)
        return await self._governance.events(context.hop(), query, after, limit)
