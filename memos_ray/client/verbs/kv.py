"""KV caches, as an operator steers them: `memos.kv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check
from memos_ray.gateway.activation.models import Cache
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import (
    WriteReport,
    WriteResult,
)

if TYPE_CHECKING:
    from memos_ray.client.http.activation import HttpActivation
    from memos_ray.gateway.activation.service import ActivationService


class AsyncKv:
    """The KV caches of activation memories."""

    def __init__(
        self,
        api: HttpActivation | ActivationService,
        caller: Callable[[], Caller],
        single: Callable[[WriteReport], WriteResult],
    ) -> None:
        self._api = api
        self._caller = caller
        self._single = single

    async def list(self, namespace: str | None = None) -> list[Cache]:
        """Returns the activation memories of a namespace, and where their caches are."""
        check(namespace=namespace)
        return (await self._api.caches(self._caller(), namespace)).caches

    async def explain(self, id: str, *, namespace: str | None = None) -> Cache:
        """Says where a cache is and why, what it is worth, and what it was computed from."""
        check(id=id, namespace=namespace)
        return await self._api.cache(self._caller(), id, namespace)

    async def pin(
        self, id: str, *, pinned: bool = True, namespace: str | None = None
    ) -> WriteResult:
        """Has a cache stay whatever else needs room, or no longer."""
        check(id=id, namespace=namespace)
        report = await self._api.pin(self._caller(), id, namespace, pinned=pinned)
        return self._single(report)

    async def evict(self, id: str, *, namespace: str | None = None) -> Cache:
        """Lets go of a cache, hot and at rest; the next prompt has it computed again."""
        check(id=id, namespace=namespace)
        return await self._api.evict(self._caller(), id, namespace)
