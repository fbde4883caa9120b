"""LifecycleService: how memories age, and what is put away, for all doors."""

from __future__ import annotations

from memos_ray.core.access.model import CLUSTER
from memos_ray.core.vault.operations import Hold
from memos_ray.errors import PermissionDeniedError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.lifecycle.models import Lifecycle
from memos_ray.gateway.memories.models import WriteReport
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.ports import ClockPort, LifecyclePort


class LifecycleService:
    """The verbs of the lifecycle; errors are those of `MemoryService`."""

    def __init__(
        self,
        authenticator: Authenticator,
        lifecycle: LifecyclePort,
        memories: MemoryService,
        clock: ClockPort,
    ) -> None:
        self._authenticator = authenticator
        self._lifecycle = lifecycle
        self._memories = memories
        self._clock = clock

    async def status(self, caller: Caller) -> Lifecycle:
        """Says how the lifecycle stands.

        Raises:
            PermissionDeniedError: the caller does not run the cluster.
        """
        await self._require_operator(caller)
        return Lifecycle.of(await self._lifecycle.status())

    async def sweep(self, caller: Caller) -> Lifecycle:
        """Sweeps all memories now and returns how that went.

        Raises:
            PermissionDeniedError: the caller does not run the cluster.
        """
        await self._require_operator(caller)
        return Lifecycle.of(await self._lifecycle.sweep())

    async def archive(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Puts a memory away; `restore`, or any change, brings it back."""
        return await self._memories.archive(
            caller, memory_id, namespace, reason=reason, idempotency_key=key
        )

    async def hold(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None,
        reason: str | None,
        key: str | None,
        *,
        held: bool = True,
    ) -> WriteReport:
        """Puts a memory under legal hold, or releases it.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace; or, to release it,
                the tenant.
        """
        return await self._memories.revise(caller, namespace, Hold(memory_id, held), key, reason)

    async def _require_operator(self, caller: Caller) -> None:
        context, policy = await self._authenticator.context(caller)
        if not policy.may_administer(context, CLUSTER, self._clock.now()):
            raise PermissionDeniedError("only who runs the cluster may do this")
