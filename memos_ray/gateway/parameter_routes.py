"""Parameter memory: has models taught, and shows what they have learnt."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.parameter_models import (
    ExternaliseResult,
    Externalising,
    LessonList,
    LessonReport,
    Teaching,
)
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["parameter"])
_AS_A_RULE = Externalising()


@router.post("/adapters", status_code=202)
async def teach_model(body: Teaching, caller: CallerDep, doorway: DoorwayDep) -> LessonReport:
    """Begins to teach a model memories of a namespace; the lesson goes on by itself."""
    return await doorway.parameter.teach(caller, body)


@router.get("/adapters")
async def list_lessons(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonList:
    """Lists the lessons of a namespace, and the adapters that they have led to."""
    return await doorway.parameter.lessons(caller, namespace)


@router.get("/adapters/{id}")
async def show_lesson(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonReport:
    """Shows a lesson, with the report of its adapter."""
    return await doorway.parameter.lesson(caller, id, namespace)


@router.post("/adapters/{id}/cancel")
async def cancel_lesson(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonReport:
    """Ends a lesson; one that has ended is left as it is."""
    return await doorway.parameter.cancel(caller, id, namespace)


@router.post("/adapters/{id}/externalise")
async def externalise_adapter(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Externalising = _AS_A_RULE,
    namespace: Namespace = None,
) -> ExternaliseResult:
    """Makes plaintext memories from an adapter; asked again, it makes nothing new."""
    return await doorway.parameter.externalise(caller, id, body, namespace)
