"""Organising: lists, accepts and refuses what is proposed about memories."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.organising.models import Automation, OrganisingList, OrganisingProposal
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["organising"])


@router.get("/organise")
async def organising_proposals(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> OrganisingList:
    """Lists duplicates, and facts that newer ones have overtaken, the surest first."""
    return await doorway.organising.proposals(caller, namespace)


@router.post("/organise/{id}/accept")
async def accept_organising(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> OrganisingProposal:
    """Does what is proposed; nothing is deleted."""
    return await doorway.organising.settle(caller, id, namespace, accept=True)


@router.post("/organise/{id}/refuse")
async def refuse_organising(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> OrganisingProposal:
    """Leaves the memories as they are; it is not proposed again."""
    return await doorway.organising.settle(caller, id, namespace, accept=False)


@router.put("/organise/automatic")
async def automate_organising(
    body: Automation, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> OrganisingList:
    """Has what is sure done at once from now on, with the caller's rights, or only proposed."""
    return await doorway.organising.automate(caller, namespace, automatic=body.automatic)
