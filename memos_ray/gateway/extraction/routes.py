"""Extraction: its progress, and a new try for what was parked."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.extraction.models import (
    ExtractionAutomation,
    ExtractionRetried,
    ExtractionRetry,
    ExtractionStatus,
)
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["extraction"])


@router.get("/extraction")
async def extraction_status(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> ExtractionStatus:
    """Says what a model has extracted in a namespace, what waits and what was parked."""
    return await doorway.extraction.status(caller, namespace)


@router.post("/extraction/retry")
async def retry_extraction(
    body: ExtractionRetry, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> ExtractionRetried:
    """Has a parked job tried again, or all of the caller's."""
    return await doorway.extraction.retry(caller, body.job, namespace)


@router.put("/extraction/automatic")
async def automate_extraction(
    body: ExtractionAutomation,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> ExtractionStatus:
    """Has a model read all that is stored from now on, or only what is marked with `extract`."""
    return await doorway.extraction.automate(caller, namespace, automatic=body.automatic)
