"""Routes of browsing: topics, predicted tags, relations, paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

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
from memos_ray.gateway.memories.routes import Cursor
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["browsing"])

Limit = Annotated[Most, Query(description="Most results.")]


@router.get("/topics")
async def list_topics(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> TopicList:
    """Lists the topics of a namespace with their concepts, the largest first."""
    return await doorway.browsing.topics(caller, namespace)


@router.post("/topics/route")
async def route_query(body: RouteQuery, caller: CallerDep, doorway: DoorwayDep) -> RoutePlan:
    """Plans where a search with `route` goes, without searching."""
    return await doorway.browsing.route(caller, body)


@router.get("/topics/{name}")
async def show_topic(
    name: Annotated[TopicName, Path(description="Id or label of a topic or concept.")],
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> TopicPage:
    """Shows a topic, or a concept, with a page of its memories."""
    return await doorway.browsing.topic(caller, name, namespace, cursor=cursor, limit=limit)


@router.get("/entities")
async def list_entities(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None, limit: Limit = 50
) -> EntityList:
    """Lists the names that most memories tell, and who speaks."""
    return await doorway.browsing.entities(caller, namespace, limit=limit)


@router.get("/layers")
async def list_layers(caller: CallerDep, doorway: DoorwayDep) -> LayerList:
    """Lists the namespaces that the caller may read, by layer."""
    return await doorway.browsing.layers(caller)


@router.get("/memories/{id}/predicted")
async def predicted_tags(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> PredictionList:
    """Says what is predicted of a memory, and why."""
    return await doorway.browsing.predicted(caller, id, namespace)


@router.get("/memories/{id}/related")
async def related_memories(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    limit: Limit = 10,
) -> RelatedList:
    """Says what a memory has to do with others: sources, order in time, words."""
    return await doorway.browsing.related(caller, id, namespace, limit=limit)
