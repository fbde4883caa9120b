"""Parameter memory: has models taught, and shows what they have learnt."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from memos_ray.core.parameter.peft_format import TENSORS_FILE
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.parameter.models import (
    ExternaliseResult,
    Externalising,
    LessonList,
    LessonReport,
    Merging,
    Teaching,
)
from memos_ray.gateway.problems import error_of_validation
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["parameter"])
_AS_A_RULE = Externalising()

_FILE = {"type": "string", "format": "binary"}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["about", "config", "weights"],
                    "properties": {
                        "about": Teaching.model_json_schema(),
                        "config": _FILE,
                        "weights": _FILE,
                    },
                }
            }
        },
    }
}
_TENSORS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": _FILE}}}
}


@router.post("/adapters", status_code=202)
async def teach_model(body: Teaching, caller: CallerDep, doorway: DoorwayDep) -> LessonReport:
    """Begins to teach a model memories of a namespace; the lesson goes on by itself."""
    return await doorway.parameter.teach(caller, body)


@router.post("/adapters/merge", status_code=202)
async def merge_adapters(body: Merging, caller: CallerDep, doorway: DoorwayDep) -> LessonReport:
    """Begins to combine live adapters of a namespace into one; that goes on like a lesson."""
    return await doorway.parameter.merge(caller, body)


@router.post("/adapters/import", status_code=202, openapi_extra=_FORM)
async def import_adapter(request: Request, caller: CallerDep, doorway: DoorwayDep) -> LessonReport:
    """Begins to check an adapter in PEFT's two files; that goes on like a lesson.

    `about` is JSON: the memories that it is about, the model, the namespace.
    """
    # The caller is known before anything long is read.
    await doorway.admin.whoami(caller)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise InvalidInputError("send multipart/form-data", field="Content-Type")
    async with request.form(max_files=2, max_fields=1) as form:
        about = form.get("about")
        config, weights = form.get("config"), form.get("weights")
        if not isinstance(about, str):
            raise InvalidInputError("the form has no field `about`", field="about")
        if not isinstance(config, UploadFile) or not isinstance(weights, UploadFile):
            raise InvalidInputError("the form lacks a part: `config`, `weights`", field="weights")
        try:
            teaching = Teaching.model_validate_json(about)
        except ValidationError as error:
            raise error_of_validation(error, ("body", "about")) from None
        return await doorway.parameter.bring(
            caller, teaching, await config.read(), await weights.read()
        )


@router.get("/adapters")
async def list_lessons(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonList:
    """Lists the lessons of a namespace, and the adapters that they have led to."""
    return await doorway.parameter.lessons(caller, namespace)


@router.get("/adapters/{id}")
async def show_lesson(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonReport:
    """Shows a lesson, with the report of its adapter."""
    return await doorway.parameter.lesson(caller, id, namespace)


@router.post("/adapters/{id}/cancel")
async def cancel_lesson(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> LessonReport:
    """Ends a lesson; one that has ended is left as it is."""
    return await doorway.parameter.cancel(caller, id, namespace)


@router.get("/adapters/{id}/config", response_class=Response)
async def adapter_config(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Response:
    """Returns an adapter's configuration, as PEFT writes it."""
    files = await doorway.parameter.files(caller, id, namespace)
    return Response(files.config, media_type="application/json")


@router.get("/adapters/{id}/weights", response_class=StreamingResponse, responses=_TENSORS)
async def adapter_weights(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> StreamingResponse:
    """Returns an adapter's safetensors file, as PEFT writes it."""
    files = await doorway.parameter.files(caller, id, namespace)
    headers = {
        "Content-Length": str(files.size_bytes),
        "Content-Disposition": f'attachment; filename="{TENSORS_FILE}"',
    }
    return StreamingResponse(files.tensors, media_type="application/octet-stream", headers=headers)


@router.post("/adapters/{id}/externalise")
async def externalise_adapter(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Externalising = _AS_A_RULE,
    namespace: Namespace = None,
) -> ExternaliseResult:
    """Makes plaintext memories from an adapter; asked again, it makes nothing new."""
    return await doorway.parameter.externalise(caller, id, body, namespace)
