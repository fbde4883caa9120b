"""What models should learn: shown, accepted and refused."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.parameter.models import LessonReport
from memos_ray.gateway.parameter.proposal_models import Proposal, ProposalList
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["parameter"])


@router.get("/adapters/proposals")
async def list_proposals(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> ProposalList:
    """Lists what models should learn of a namespace, by what is used, with the reasons."""
    return await doorway.parameter.proposals(caller, namespace)


@router.post("/adapters/proposals/{id}/accept", status_code=202)
async def accept_proposal(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonReport:
    """Begins the lesson that is proposed; it goes on by itself."""
    return await doorway.parameter.accept(caller, id, namespace)


@router.post("/adapters/proposals/{id}/refuse")
async def refuse_proposal(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Proposal:
    """Has a proposal go; nothing like it is proposed again."""
    return await doorway.parameter.refuse(caller, id, namespace)
