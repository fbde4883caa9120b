"""Activation memory over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.activation.models import Cache, CacheList, Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import WriteReport


class HttpActivation:
    """Speaks REST; has the verbs of `ActivationService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def convert(self, caller: Caller, conversion: Conversion) -> WriteReport:
        """Makes memories the beginning of a namespace's prompts."""
        body = conversion.model_dump(mode="json", exclude_unset=True)
        # Twice would be two blocks of the same.
        return await self._link.call(
            WriteReport, "POST", "/v1/convert", caller, body, repeatable=False
        )

    async def caches(self, caller: Caller, namespace: str | None = None) -> CacheList:
        """Lists the caches of a namespace."""
        return await self._link.call(CacheList, "GET", "/v1/kv", caller, namespace=namespace)

    async def cache(self, caller: Caller, memory_id: str, namespace: str | None = None) -> Cache:
        """Explains a cache."""
        return await self._link.call(Cache, "GET", _path(memory_id), caller, namespace=namespace)

    async def pin(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        pinned: bool = True,
    ) -> WriteReport:
        """Has a cache stay, or no longer."""
        path, body = f"{_path(memory_id)}/pin", {"pinned": pinned}
        return await self._link.call(WriteReport, "PUT", path, caller, body, namespace=namespace)

    async def evict(self, caller: Caller, memory_id: str, namespace: str | None = None) -> Cache:
        """Lets go of a cache."""
        path = f"{_path(memory_id)}/evict"
        return await self._link.call(Cache, "POST", path, caller, namespace=namespace)


def _path(memory_id: str) -> str:
    return f"/v1/kv/{quote(memory_id, safe=':')}"
