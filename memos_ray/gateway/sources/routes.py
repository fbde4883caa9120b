"""Trusted sources: added, listed, compared; their findings shown, accepted and refused."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from memos_ray.gateway.fields import MemoryId
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute, Namespace
from memos_ray.gateway.sources.models import (
    FINDINGS_MAX,
    Deciding,
    DecisionReport,
    FindingList,
    NewSource,
    SourceInfo,
    SourceList,
)

router = APIRouter(route_class=JsonRoute, tags=["sources"])

_Id = Annotated[MemoryId, Path(description="Id of the source.")]
_Source = Annotated[MemoryId | None, Query(description="Of one source; of all when absent.")]
_Decided = Annotated[bool, Query(description="Those that were decided instead of the open ones.")]
_Limit = Annotated[int, Query(ge=1, le=FINDINGS_MAX, description="Most results.")]


@router.post("/sources", status_code=201)
async def add_source(
    body: NewSource, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> SourceInfo:
    """Adds an edition of an authoritative document, and compares it with what is held."""
    return await doorway.sources.add(caller, body, namespace)


@router.get("/sources")
async def list_sources(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> SourceList:
    """Lists the sources of a namespace."""
    return await doorway.sources.list(caller, namespace)


@router.get("/sources/findings")
async def source_findings(
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    source: _Source = None,
    decided: _Decided = False,
    limit: _Limit = 50,
) -> FindingList:
    """Shows what sources would supersede, with reasons and both texts; the surest first."""
    return await doorway.sources.findings(
        caller, namespace, source=source, decided=decided, limit=limit
    )


@router.post("/sources/findings/accept")
async def accept_findings(
    body: Deciding, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> DecisionReport:
    """Ends the validity of what is held; nothing is deleted."""
    return await doorway.sources.decide(caller, body, namespace, accept=True)


@router.post("/sources/findings/refuse")
async def refuse_findings(
    body: Deciding, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> DecisionReport:
    """Leaves what is held as it is; it is not found again."""
    return await doorway.sources.decide(caller, body, namespace, accept=False)


@router.post("/sources/{id}/compare")
async def compare_source(
    id: _Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> SourceInfo:
    """Goes on comparing a source, where adding it has not come to the end."""
    return await doorway.sources.compare(caller, id, namespace)
