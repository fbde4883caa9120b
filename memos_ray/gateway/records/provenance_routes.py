"""Provenance: where a memory came from, and what was made of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from memos_ray.gateway.memories.routes import Cursor
from memos_ray.gateway.records.provenance import DEPTH_MAX
from memos_ray.gateway.records.provenance_models import Direction, Provenance
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["memories"])


@router.get("/memories/{id}/provenance")
async def memory_provenance(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    direction: Direction = Direction.BOTH,
    depth: Annotated[int, Query(ge=0, le=DEPTH_MAX)] = 3,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Provenance:
    """Says who made a memory, when, of what and by what trigger, and what was made of it.

    Links to what the caller may not read are shown as withheld, without a word about it.
    """
    return await doorway.provenance.provenance(
        caller,
        id,
        namespace,
        direction=direction,
        depth=depth,
        cursor=cursor,
        limit=limit,
    )
