"""The REST door: a FastAPI application over the services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from memos_ray import __version__
from memos_ray.config import Settings
from memos_ray.errors import MemosError, all_errors
from memos_ray.gateway import problems
from memos_ray.gateway.activation.routes import router as activation_router
from memos_ray.gateway.admin.routes import router as admin_router
from memos_ray.gateway.branches.routes import router as branch_router
from memos_ray.gateway.browsing.routes import router as browsing_router
from memos_ray.gateway.chat.openai_routes import router as openai_router
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.edge import Edge
from memos_ray.gateway.evolution.routes import router as evolution_router
from memos_ray.gateway.extraction.routes import router as extraction_router
from memos_ray.gateway.lifecycle.routes import router as lifecycle_router
from memos_ray.gateway.memories.ingest_routes import router as ingest_router
from memos_ray.gateway.memories.routes import router as memory_router
from memos_ray.gateway.memories.understanding_routes import router as understanding_router
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.gateway.operations_routes import router as operations_router
from memos_ray.gateway.organising.routes import router as organising_router
from memos_ray.gateway.parameter.proposal_routes import router as proposal_router
from memos_ray.gateway.parameter.routes import router as parameter_router
from memos_ray.gateway.past.routes import router as past_router
from memos_ray.gateway.personas.routes import router as persona_router
from memos_ray.gateway.pipelines.routes import router as pipeline_router
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.records.log_routes import router as log_router
from memos_ray.gateway.records.provenance_routes import router as provenance_router
from memos_ray.gateway.records.receipt_routes import router as receipt_router
from memos_ray.gateway.reuse.routes import router as reuse_router
from memos_ray.gateway.sources.routes import router as source_router

_DESCRIPTION = (
    "Durable, governed, searchable memory for agents. Errors are RFC 9457 problem documents whose "
    "`code` is stable; every answer carries `X-Request-Id`."
)


def _problem(description: str, hundreds: int) -> dict[str, Any]:
    codes = ", ".join(
        f"`{cls.code}` ({cls.http_status})"
        for cls in all_errors()
        if cls.http_status // 100 == hundreds
    )
    return {
        "description": f"{description} Codes: {codes}.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": _problem("The caller can mend it; `code` says what is wrong.", 4),
    "5XX": _problem("The service failed; `retryable` says whether to try again.", 5),
}


def create_app(
    doorway: Doorway, settings: Settings, *, behind_proxy: bool = False, replica: str = "0"
) -> FastAPI:
    """Makes the application.

    Args:
        behind_proxy: whether Ray Serve's proxy stands in front, which returns the request id by
            itself.
        replica: tells the metrics of this process from those of others behind the same proxy.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await doorway.warm()
        yield
        await doorway.close()

    app = FastAPI(
        title="memos-ray",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        responses=_PROBLEMS,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    metrics = HttpMetrics(replica)
    doorway.chats.watch(metrics.answered)
    doorway.memories.watch(metrics.read)
    doorway.chats.watch_forms(metrics.formed)
    app.state.doorway = doorway
    app.state.limits = settings.limits
    app.state.metrics = metrics
    for error, handler in (
        (MemosError, problems.on_memos_error),
        (RequestValidationError, problems.on_validation_error),
        (HTTPException, problems.on_http_exception),
    ):
        app.add_exception_handler(error, handler)
    v1 = APIRouter(prefix="/v1")
    for router in (
        memory_router,
        understanding_router,
        receipt_router,
        provenance_router,
        log_router,
        activation_router,
        # Before the routes of one adapter, whose id could be anything.
        proposal_router,
        parameter_router,
        pipeline_router,
        organising_router,
        persona_router,
        source_router,
        reuse_router,
        evolution_router,
        browsing_router,
        ingest_router,
        extraction_router,
        admin_router,
        lifecycle_router,
        past_router,
        branch_router,
        openai_router,
    ):
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(operations_router)
    app.add_middleware(
        Edge,
        metrics=metrics,
        request_bytes=settings.limits.request_bytes,
        timeout_s=settings.gateway.timeout_s,
        echo_request_id=not behind_proxy,
    )
    _complete_schema(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _complete_schema(app: FastAPI) -> None:
    """Adds to the OpenAPI document what no route returns by its type: the problem document."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            codes = [cls.code for cls in all_errors()]
            # Examples and no enumeration: a newer server may know more of them.
            schemas["Problem"]["properties"]["code"]["examples"] = codes
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path in document["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
        return app.openapi_schema or original()

    app.openapi = openapi  # type: ignore[method-assign]
