"""The order among memories: `memos.topics` and `memos.graph`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check, valid
from memos_ray.gateway.browsing.models import (
    EntityList,
    LayerList,
    Most,
    PredictionList,
    RelatedList,
    RoutePlan,
    RouteQuery,
    TopicList,
    TopicName,
    TopicPage,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.fields import Model

if TYPE_CHECKING:
    from memos_ray.client.http.browsing import HttpBrowsing
    from memos_ray.gateway.browsing.service import BrowsingService


class _Named(Model):
    name: TopicName = "-"
    limit: Most = 1


class AsyncTopics:
    """What memories are about: topics, concepts, predicted tags, and the way of a search."""

    def __init__(self, api: HttpBrowsing | BrowsingService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def list(self, namespace: str | None = None) -> TopicList:
        """Returns the topics of a namespace with their concepts, the largest first."""
        check(namespace=namespace)
        return await self._api.topics(self._caller(), namespace)

    async def show(
        self,
        name: str,
        *,
        namespace: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> TopicPage:
        """Returns a topic or a concept, by id or label, with a page of its memories.

        Raises:
            NotFoundError: there is none that the caller may see.
        """
        check(namespace=namespace, cursor=cursor)
        valid(_Named, name=name, limit=limit)
        return await self._api.topic(self._caller(), name, namespace, cursor=cursor, limit=limit)

    async def tags(self, id: str, *, namespace: str | None = None) -> PredictionList:
        """Returns what is predicted of a memory (topic, source, credibility, sentiment), and why.

        Raises:
            NotFoundError: there is no such memory that the caller may read.
        """
        check(id=id, namespace=namespace)
        return await self._api.predicted(self._caller(), id, namespace)

    async def route(self, query: str) -> RoutePlan:
        """Plans where `search(…, route=True)` goes, without searching."""
        return await self._api.route(self._caller(), valid(RouteQuery, query=query))

    async def layers(self) -> LayerList:
        """Returns the namespaces that the caller may read, by layer."""
        return await self._api.layers(self._caller())


class AsyncGraph:
    """What memories have to do with one another, and the names that they tell."""

    def __init__(self, api: HttpBrowsing | BrowsingService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def entities(self, namespace: str | None = None, *, limit: int = 50) -> EntityList:
        """Returns the names that most memories of a namespace tell, and who speaks."""
        check(namespace=namespace)
        valid(_Named, limit=limit)
        return await self._api.entities(self._caller(), namespace, limit=limit)

    async def related(
        self, id: str, *, namespace: str | None = None, limit: int = 10
    ) -> RelatedList:
        """Returns what a memory has to do with others, and by what.

        Args:
            limit: most memories that only share words.

        Raises:
            NotFoundError: there is no such memory that the caller may read.
        """
        check(id=id, namespace=namespace)
        valid(_Named, limit=limit)
        return await self._api.related(self._caller(), id, namespace, limit=limit)
