"""Routes for who operates the service: liveness, readiness, metrics, version."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from memos_ray import __version__
from memos_ray.errors import MemosError
from memos_ray.gateway.memories.record_models import Health
from memos_ray.gateway.requests import DoorwayDep, MetricsDep

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> Health:
    """Says that the process lives, and nothing about what it depends on."""
    return Health(status="ok", version=__version__)


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready."}})
async def readyz(doorway: DoorwayDep, response: Response) -> Health:
    """Says whether requests can be served: the ring, the policy and the shards answer."""
    health = Health.of(__version__, await doorway.components())
    if health.status == "down":
        response.status_code = 503
    return health


@router.get("/metrics", response_class=Response)
async def metrics(doorway: DoorwayDep, metrics: MetricsDep) -> Response:
    """Metrics of this gateway process, the shards and pipelines, in Prometheus' text format."""
    try:
        shards = dict(await doorway.supervisor.status())
    except MemosError:
        shards = {}
    pipelines = await doorway.pipelines.counts()
    return Response(metrics.render(shards, pipelines), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
async def version() -> dict[str, str]:
    """Returns the version of the server."""
    return {"name": "memos-ray", "version": __version__}
