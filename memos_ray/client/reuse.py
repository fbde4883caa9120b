"""Cross-task reuse: what a client needs of a service, and how it asks over HTTP."""

from __future__ import annotations

from typing import Protocol

from memos_ray.client.rest_link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.reuse.models import ReuseQuery, ReuseResult


class ReuseApi(Protocol):
    """Offers memories for a task; raises the errors of `memos_ray.errors`."""

    async def find(self, caller: Caller, query: ReuseQuery) -> ReuseResult:
        """Returns what tasks like this one have used."""
        ...


class HttpReuse:
    """Speaks REST. Implements `ReuseApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def find(self, caller: Caller, query: ReuseQuery) -> ReuseResult:
        """Returns what tasks like this one have used."""
        body = query.model_dump(mode="json", exclude_none=True)
        return await self._link.call(ReuseResult, "POST", "/v1/reuse", caller, body)
