"""Understanding: what a search would make of a question."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["search"])


@router.post("/understand")
async def understand_question(
    body: Question, caller: CallerDep, doorway: DoorwayDep
) -> Understanding:
    """Says what a search would make of a question, in its dialogue, and by which rules."""
    return await doorway.memories.understand(caller, body)
