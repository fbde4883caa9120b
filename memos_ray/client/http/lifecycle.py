"""The lifecycle over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.lifecycle.models import Lifecycle
from memos_ray.gateway.memories.models import WriteReport


class HttpLifecycle:
    """Speaks REST; has the verbs of `LifecycleService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def status(self, caller: Caller) -> Lifecycle:
        """Says how the lifecycle stands."""
        return await self._link.call(Lifecycle, "GET", "/v1/lifecycle", caller)

    async def sweep(self, caller: Caller) -> Lifecycle:
        """Sweeps all memories."""
        return await self._link.call(Lifecycle, "POST", "/v1/lifecycle/sweep", caller)

    async def archive(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Puts a memory away."""
        return await self._post(caller, memory_id, "archive", namespace, reason, key)

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
        """Puts a memory under legal hold, or releases it."""
        verb = "hold" if held else "release"
        return await self._post(caller, memory_id, verb, namespace, reason, key)

    async def _post(
        self,
        caller: Caller,
        memory_id: str,
        verb: str,
        namespace: str | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        path = f"/v1/memories/{quote(memory_id, safe=':')}/{verb}"
        body = {"reason": reason, "idempotency_key": key}
        return await self._link.call(WriteReport, "POST", path, caller, body, namespace=namespace)
