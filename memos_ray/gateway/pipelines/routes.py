"""Pipelines: validated, run, shown, ended, and kept under a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from memos_ray.core.pipeline.definition import PipelineName, PipelineSpec
from memos_ray.gateway.fields import Version
from memos_ray.gateway.pipelines.models import (
    PipelineOrder,
    RunList,
    RunReport,
    RunRequest,
    StoredPipelineInfo,
    StoredPipelineList,
)
from memos_ray.gateway.requests import (
    CallerDep,
    DoorwayDep,
    Id,
    IdempotencyKey,
    JsonRoute,
    Namespace,
    keyed,
)

router = APIRouter(route_class=JsonRoute, tags=["pipelines"])

_Name = Annotated[PipelineName, Path(description="Name of the pipeline.")]
_Version = Annotated[Version | None, Query(description="Which one; the newest when absent.")]


@router.post("/pipelines/validate")
async def validate_pipeline(
    body: PipelineSpec, caller: CallerDep, doorway: DoorwayDep
) -> PipelineOrder:
    """Says whether a pipeline is sound, and in which order its steps may run; runs nothing."""
    return await doorway.pipelines.validate(caller, body)


@router.post("/pipelines/runs", status_code=202)
async def run_pipeline(
    body: RunRequest, caller: CallerDep, doorway: DoorwayDep, key: IdempotencyKey = None
) -> RunReport:
    """Begins a run of a pipeline with the rights of the caller; it goes on by itself."""
    return await doorway.pipelines.run(caller, keyed(body, key))


@router.get("/pipelines/runs")
async def list_runs(caller: CallerDep, doorway: DoorwayDep) -> RunList:
    """Lists the caller's runs, newest first; for administrators, those of the tenant."""
    return await doorway.pipelines.runs(caller)


@router.get("/pipelines/runs/{id}")
async def show_run(id: Id, caller: CallerDep, doorway: DoorwayDep) -> RunReport:
    """Shows a run, step by step."""
    return await doorway.pipelines.status(caller, id)


@router.post("/pipelines/runs/{id}/cancel")
async def cancel_run(id: Id, caller: CallerDep, doorway: DoorwayDep) -> RunReport:
    """Ends a run before it commits; one that has ended is left as it is."""
    return await doorway.pipelines.cancel(caller, id)


@router.get("/pipelines/templates")
async def list_pipelines(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> StoredPipelineList:
    """Lists the named pipelines of a namespace."""
    return await doorway.pipelines.templates(caller, namespace)


@router.put("/pipelines/templates/{name}")
async def keep_pipeline(
    name: _Name,
    body: PipelineSpec,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> StoredPipelineInfo:
    """Stores a new version of a named pipeline."""
    return await doorway.pipelines.keep(caller, name, body, namespace)


@router.get("/pipelines/templates/{name}")
async def show_pipeline(
    name: _Name,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    version: _Version = None,
) -> StoredPipelineInfo:
    """Shows a version of a named pipeline."""
    return await doorway.pipelines.template(caller, name, namespace, version=version)
