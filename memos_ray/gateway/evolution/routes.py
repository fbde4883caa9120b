"""Feedback, and how memories evolve by their use."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.core.evolution import Verdict
from memos_ray.gateway.evolution.models import (
    EvolutionProposal,
    EvolutionSetting,
    EvolutionStatus,
    Feedback,
    FeedbackResult,
)
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["evolution"])


@router.post("/feedback")
async def give_feedback(
    body: Feedback, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> FeedbackResult:
    """Keeps whether a memory, or an answer and what it was given, was useful to the caller."""
    return await doorway.evolution.feedback(caller, body, namespace)


@router.get("/evolution")
async def evolution_status(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionStatus:
    """Says how a namespace evolves: what is proposed, and what memories are worth."""
    return await doorway.evolution.status(caller, namespace)


@router.post("/evolution/look")
async def look_for_evolution(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionStatus:
    """Looks now for what use suggests."""
    return await doorway.evolution.evolve(caller, namespace)


@router.put("/evolution/mode")
async def set_evolution(
    body: EvolutionSetting, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionStatus:
    """Sets whether that happens by itself: not at all, as proposals, or with own rights."""
    return await doorway.evolution.evolve(caller, namespace, body.mode)


@router.post("/evolution/{id}/accept")
async def accept_evolution(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionProposal:
    """Does what is proposed; what it replaces is put away and not lost."""
    return await doorway.evolution.settle(caller, id, Verdict.ACCEPT, namespace)


@router.post("/evolution/{id}/refuse")
async def refuse_evolution(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionProposal:
    """Leaves the memories as they are; it is not proposed again."""
    return await doorway.evolution.settle(caller, id, Verdict.REFUSE, namespace)


@router.post("/evolution/{id}/undo")
async def undo_evolution(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> EvolutionProposal:
    """Takes an accepted proposal back, as long as nothing of it has been changed since."""
    return await doorway.evolution.settle(caller, id, Verdict.UNDO, namespace)
