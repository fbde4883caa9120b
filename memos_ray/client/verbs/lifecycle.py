"""How memories age, and what is put away: `memos.lifecycle`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.lifecycle.models import Lifecycle
from memos_ray.gateway.memories.models import WriteReport, WriteResult

if TYPE_CHECKING:
    from memos_ray.client.http.lifecycle import HttpLifecycle
    from memos_ray.gateway.lifecycle.service import LifecycleService


class AsyncLifecycleVerbs:
    """The life of memories."""

    def __init__(
        self,
        api: HttpLifecycle | LifecycleService,
        caller: Callable[[], Caller],
        single: Callable[[WriteReport], WriteResult],
    ) -> None:
        self._api = api
        self._caller = caller
        self._single = single

    async def status(self) -> Lifecycle:
        """Says how memories age: the last sweep, and what it has moved; for operators."""
        return await self._api.status(self._caller())

    async def sweep(self) -> Lifecycle:
        """Sweeps all memories now: expires, archives and collects what is due; for operators."""
        return await self._api.sweep(self._caller())

    async def archive(
        self,
        id: str,
        *,
        namespace: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Puts a memory away: it can be read, but searches leave it out."""
        check(id=id, namespace=namespace, reason=reason, idempotency_key=idempotency_key)
        caller = self._caller()
        report = await self._api.archive(caller, id, namespace, reason, idempotency_key)
        return self._single(report)

    async def hold(
        self,
        id: str,
        *,
        namespace: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Puts a memory under legal hold: nothing takes it away, whatever its state is."""
        check(id=id, namespace=namespace, reason=reason, idempotency_key=idempotency_key)
        caller = self._caller()
        report = await self._api.hold(caller, id, namespace, reason, idempotency_key)
        return self._single(report)

    async def release(
        self,
        id: str,
        *,
        namespace: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Lifts a legal hold; for administrators of the tenant."""
        check(id=id, namespace=namespace, reason=reason, idempotency_key=idempotency_key)
        caller = self._caller()
        report = await self._api.hold(caller, id, namespace, reason, idempotency_key, held=False)
        return self._single(report)
