"""Ingest over REST: a file as a form, or an input inside JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from memos_ray.core.reader.formats import Format
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.fields import Moment, Name
from memos_ray.gateway.memories.bodies import IngestBody, IngestReport
from memos_ray.gateway.memories.ingestion import Ingestion, IngestOptions, drafts_of
from memos_ray.gateway.memories.models import NewMemory, WriteReport
from memos_ray.gateway.problems import error_of_validation
from memos_ray.gateway.requests import (
    CallerDep,
    DoorwayDep,
    JsonRequest,
    JsonRoute,
    MetricsDep,
    Namespace,
)

router = APIRouter(tags=["ingest"], route_class=JsonRoute)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": IngestBody.model_json_schema(),
                "example": {
                    "content": [{"role": "user", "content": "I moved to Lisbon last month."}]
                },
            },
        },
    }
}
_MIXED: dict[int | str, dict[str, Any]] = {
    207: {"model": IngestReport, "description": "Some items failed; see each result's `error`."}
}


async def _options(
    format: Annotated[
        Format | None, Query(description="Found out from the name and the content when absent.")
    ] = None,
    name: Annotated[str, Query(max_length=1024, description="File name, for JSON bodies.")] = "",
    source: Annotated[
        str | None,
        Query(max_length=2048, description="Stable identity of the input; its name when absent."),
    ] = None,
    conversation: Annotated[Name | None, Query()] = None,
    tz: Annotated[Name, Query(description="Zone of times that state none.")] = "UTC",
    event_time: Annotated[Moment | None, Query(description="When the input was made.")] = None,
    language: Annotated[Name | None, Query()] = None,
    chunk_words: Annotated[int, Query(ge=8, le=4096)] = 180,
    chunk_overlap: Annotated[int, Query(ge=0, le=2048)] = 0,
    tag: Annotated[list[Name] | None, Query(description="Tags of every memory made.")] = None,
    extract: Annotated[
        bool,
        Query(description="Whether a model reads what is stored for facts, behind the answer."),
    ] = False,
) -> IngestOptions:
    return IngestOptions(
        format=format,
        name=name,
        source=source,
        conversation=conversation,
        tz=tz,
        event_time=event_time,
        language=language,
        chunk_words=chunk_words,
        chunk_overlap=chunk_overlap,
        tags=tag or [],
        extract=extract,
    )


@router.post("/ingest", openapi_extra=_BODY, responses=_MIXED)
async def ingest(
    request: Request,
    options: Annotated[IngestOptions, Depends(_options)],
    caller: CallerDep,
    doorway: DoorwayDep,
    metrics: MetricsDep,
    response: Response,
    namespace: Namespace = None,
    only_failed: Annotated[bool, Query(description="List failed items only.")] = False,
) -> IngestReport:
    """Reads a dialogue, document or list of events and stores what is in it, item by item.

    Items that cannot be read or stored have their own error, and the status is then 207; the others
    are stored. Sending the same input again stores nothing twice.
    """
    # The caller is known before anything long is read.
    await doorway.admin.whoami(caller)
    data, name = await _input(request)
    options = options.model_copy(update={"name": options.name or name})

    async def write(memories: Sequence[NewMemory]) -> WriteReport:
        return await doorway.memories.add(caller, memories, namespace)

    run = Ingestion(options, write, keep=lambda content: doorway.blobs().put(content))
    report = await run.run(drafts_of(data, options))
    metrics.added(report.stored, report.failed)
    response.status_code = 207 if report.failed else 200
    if only_failed:
        failed = [result for result in report.results if result.error is not None]
        report = report.model_copy(update={"results": failed})
    return report


async def _input(request: Request) -> tuple[bytes, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=0) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InvalidInputError("the form has no part `file`", field="file")
            return await file.read(), file.filename or ""
    if kind != "application/json":
        raise InvalidInputError(
            "send multipart/form-data with a part `file`, or application/json",
            field="Content-Type",
        )
    value = await JsonRequest(request.scope, request.receive).json()
    try:
        body = IngestBody.model_validate(value)
    except ValidationError as error:
        raise error_of_validation(error, ("body",)) from None
    if (body.content is None) == (body.text is None):
        raise InvalidInputError("give either content or text", field="content")
    return (orjson.dumps(body.content) if body.text is None else body.text.encode()), ""
