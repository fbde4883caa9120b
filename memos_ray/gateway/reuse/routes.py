"""Cross-task reuse."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute
from memos_ray.gateway.reuse.models import ReuseQuery, ReuseResult

router = APIRouter(route_class=JsonRoute, tags=["memories"])


@router.post("/reuse")
async def reuse(body: ReuseQuery, caller: CallerDep, doorway: DoorwayDep) -> ReuseResult:
    """Offers what earlier tasks like the one at hand have used usefully, with reasons."""
    return await doorway.reuse.find(caller, body)
