"""The logs: who has done what, and which memories an answer was given."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.log import Outcome
from memos_ray.gateway.fields import Key, MemoryId, Moment, Name
from memos_ray.gateway.memories.record_models import LogFilter, LogPage
from memos_ray.gateway.memories.routes import Cursor
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["log"])


@router.get("/log")
async def read_log(
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    principal: Annotated[Name | None, Query()] = None,
    operation: Annotated[Name | None, Query()] = None,
    memory_id: Annotated[MemoryId | None, Query()] = None,
    request_id: Annotated[Key | None, Query()] = None,
    response: Annotated[Key | None, Query(description="Id of an answer.")] = None,
    outcome: Annotated[Outcome | None, Query()] = None,
    form: Annotated[Form | None, Query()] = None,
    since: Annotated[Moment | None, Query()] = None,
    until: Annotated[Moment | None, Query()] = None,
    reads: Annotated[bool, Query(description="Reads and answers instead of changes.")] = False,
    everywhere: Annotated[bool, Query(description="All namespaces.")] = False,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> LogPage:
    """Reads the log of a namespace, or of all, oldest first: own entries, administrators all."""
    wanted = LogFilter(
        principal=principal,
        operation=operation,
        memory_id=memory_id,
        request_id=request_id,
        response=response,
        outcome=outcome,
        form=form,
        since=since,
        until=until,
        reads=reads,
        everywhere=everywhere,
    )
    return await doorway.logs.log(caller, namespace, wanted=wanted, cursor=cursor, limit=limit)
