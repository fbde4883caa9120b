"""Browsing over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.browsing.models import (
    EntityList,
    LayerList,
    PredictionList,
    RelatedList,
    RoutePlan,
    RouteQuery,
    TopicList,
    TopicPage,
)
from memos_ray.gateway.callers import Caller


class HttpBrowsing:
    """Speaks REST; has the verbs of `BrowsingService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def topics(self, caller: Caller, namespace: str | None = None) -> TopicList:
        """Lists topics."""
        return await self._link.call(TopicList, "GET", "/v1/topics", caller, namespace=namespace)

    async def topic(
        self,
        caller: Caller,
        name: str,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 20,
    ) -> TopicPage:
        """Shows a topic."""
        path = f"/v1/topics/{quote(name, safe='')}"
        return await self._link.call(
            TopicPage, "GET", path, caller, namespace=namespace, cursor=cursor, limit=limit
        )

    async def predicted(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> PredictionList:
        """Says what is predicted."""
        path = f"/v1/memories/{quote(memory_id, safe=':')}/predicted"
        return await self._link.call(PredictionList, "GET", path, caller, namespace=namespace)

    async def entities(
        self, caller: Caller, namespace: str | None = None, *, limit: int = 50
    ) -> EntityList:
        """Lists names."""
        return await self._link.call(
            EntityList, "GET", "/v1/entities", caller, namespace=namespace, limit=limit
        )

    async def related(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        limit: int = 10,
    ) -> RelatedList:
        """Says what a memory has to do with others."""
        path = f"/v1/memories/{quote(memory_id, safe=':')}/related"
        return await self._link.call(
            RelatedList, "GET", path, caller, namespace=namespace, limit=limit
        )

    async def route(self, caller: Caller, query: RouteQuery) -> RoutePlan:
        """Plans a search."""
        body = query.model_dump(mode="json")
        return await self._link.call(RoutePlan, "POST", "/v1/topics/route", caller, body)

    async def layers(self, caller: Caller) -> LayerList:
        """Lists namespaces by layer."""
        return await self._link.call(LayerList, "GET", "/v1/layers", caller)
