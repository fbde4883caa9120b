"""Cross-task reuse over HTTP."""

from __future__ import annotations

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.reuse.models import ReuseQuery, ReuseResult


class HttpReuse:
    """Speaks REST; has the verbs of `ReuseService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def find(self, caller: Caller, query: ReuseQuery) -> ReuseResult:
        """Returns what tasks like this one have used."""
        body = query.model_dump(mode="json", exclude_none=True)
        return await self._link.call(ReuseResult, "POST", "/v1/reuse", caller, body)
