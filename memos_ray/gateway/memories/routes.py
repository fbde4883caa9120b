"""Routes of the memory API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import Discriminator, Tag

from memos_ray.errors import MemosError
from memos_ray.gateway.fields import MANY, ONE, Name, Reason, Version
from memos_ray.gateway.memories import bulk
from memos_ray.gateway.memories.bodies import EXAMPLE, NewMemories, Plain, RollbackBody
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
)
from memos_ray.gateway.memories.record_models import Diff, History
from memos_ray.gateway.problems import error_of_problem
from memos_ray.gateway.requests import (
    CallerDep,
    DoorwayDep,
    Id,
    IdempotencyKey,
    JsonRoute,
    LimitsDep,
    MetricsDep,
    Namespace,
    keyed,
    merged_key,
)

router = APIRouter(route_class=JsonRoute)

Cursor = Annotated[str | None, Query(max_length=4096, description="From the page before.")]
_NO_BODY = Plain()
_MULTI: dict[int | str, dict[str, Any]] = {
    207: {"model": WriteReport, "description": "Some items failed; see each result's `error`."}
}


def _kind_of_body(value: object) -> str:
    many = isinstance(value, NewMemories) or (isinstance(value, dict) and "memories" in value)
    return MANY if many else ONE


@router.post("/memories", status_code=201, tags=["memories"], responses=_MULTI)
async def add_memories(
    body: Annotated[
        Annotated[NewMemory, Tag(ONE)] | Annotated[NewMemories, Tag(MANY)],
        Discriminator(_kind_of_body),
        Body(
            openapi_examples={
                ONE: {"value": EXAMPLE},
                MANY: {"value": {"memories": [EXAMPLE, {"text": "Ana likes trains."}]}},
            }
        ),
    ],
    caller: CallerDep,
    doorway: DoorwayDep,
    metrics: MetricsDep,
    response: Response,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Stores one memory, or several of which each has its own outcome.

    One: 201, or a problem. Several: 201 when all are stored, else 207, and each result then
    carries either an id or an error. An `Idempotency-Key` of several stands for `<key>/<index>`.
    """
    if isinstance(body, NewMemory):
        report = await doorway.memories.add(caller, [keyed(body, key)], namespace)
    else:
        items = [_with_key(item, key, place) for place, item in enumerate(body.memories)]
        report = await bulk.add_each(doorway.memories, caller, items, namespace)
    failed = report.failed
    metrics.added(len(report.results) - len(failed), len(failed))
    if failed and isinstance(body, NewMemory):
        raise error_of_problem(failed[0].error) if failed[0].error else MemosError("failed")
    response.status_code = 207 if failed else 201
    return report


def _with_key(item: dict[str, object], key: str | None, place: int) -> dict[str, object]:
    if key is None or "idempotency_key" in item:
        return item
    return {**item, "idempotency_key": f"{key}/{place}"}


@router.get("/memories", tags=["memories"])
async def list_memories(
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    filter: Annotated[
        str | None, Query(max_length=16_384, description="A filter, as in `docs/filters.md`.")
    ] = None,
    tag: Annotated[list[Name] | None, Query(description="Any of these tags.")] = None,
    include_deleted: bool = False,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> MemoryPage:
    """Lists the memories of a namespace that the caller may read, newest first."""
    return await doorway.memories.list(
        caller,
        namespace,
        filter=filter,
        tags=tag or (),
        include_deleted=include_deleted,
        cursor=cursor,
        limit=limit,
    )


@router.get("/memories/{id}", tags=["memories"])
async def get_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    version: Annotated[Version | None, Query()] = None,
) -> Memory:
    """Returns a memory at its newest version, or at an older one."""
    return await doorway.memories.get(caller, id, namespace, version=version)


@router.patch("/memories/{id}", tags=["memories"])
async def update_memory(
    id: Id,
    body: MemoryChange,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Makes a new version of a memory; `expected_version` makes it a compare-and-set."""
    return await doorway.memories.update(caller, id, keyed(body, key), namespace)


@router.delete("/memories/{id}", tags=["memories"])
async def delete_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    hard: Annotated[bool, Query(description="Erase it for good, with its history.")] = False,
    expected_version: Annotated[Version | None, Query()] = None,
    reason: Annotated[Reason | None, Query()] = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Deletes a memory: soft, so that `restore` undoes it, or hard."""
    return await doorway.memories.delete(
        caller,
        id,
        namespace,
        hard=hard,
        expected_version=expected_version,
        reason=reason,
        idempotency_key=key,
    )


@router.post("/memories/{id}/restore", tags=["memories"])
async def restore_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Undoes a soft deletion."""
    return await doorway.memories.restore(
        caller,
        id,
        namespace,
        reason=body.reason,
        idempotency_key=merged_key(key, body.idempotency_key),
    )


@router.post("/memories/{id}/rollback", tags=["memories"])
async def roll_memory_back(
    id: Id,
    body: RollbackBody,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Makes a new version with the content of an older one; access stays as it is."""
    return await doorway.memories.rollback(
        caller,
        id,
        body.to,
        namespace,
        expected_version=body.expected_version,
        reason=body.reason,
        idempotency_key=merged_key(key, body.idempotency_key),
    )


@router.post("/memories/{id}/share", tags=["memories"])
async def share_memory(
    id: Id,
    body: Annotated[
        Sharing, Body(openapi_examples={"read": {"value": {"readers": ["agent:planner"]}}})
    ],
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Changes who may reach a memory."""
    return await doorway.memories.share(caller, id, keyed(body, key), namespace)


async def _freeze(
    frozen: bool,
    id: str,
    body: Plain,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: str | None,
    key: str | None,
) -> WriteReport:
    return await doorway.memories.freeze(
        caller,
        id,
        namespace,
        frozen=frozen,
        reason=body.reason,
        idempotency_key=merged_key(key, body.idempotency_key),
    )


@router.post("/memories/{id}/freeze", tags=["memories"])
async def freeze_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Forbids every change of a memory."""
    return await _freeze(True, id, body, caller, doorway, namespace, key)


@router.post("/memories/{id}/unfreeze", tags=["memories"])
async def unfreeze_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Allows changes of a frozen memory again."""
    return await _freeze(False, id, body, caller, doorway, namespace, key)


@router.get("/memories/{id}/history", tags=["memories"])
async def memory_history(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> History:
    """Lists the versions of a memory, newest first: who made which, when and why."""
    return await doorway.memories.history(caller, id, namespace, cursor=cursor, limit=limit)


@router.get("/memories/{id}/diff", tags=["memories"])
async def memory_diff(
    id: Id,
    before: Annotated[Version, Query()],
    after: Annotated[Version, Query()],
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> Diff:
    """Compares two versions of a memory."""
    return await doorway.memories.diff(caller, id, before, after, namespace)


@router.post("/search", tags=["search"])
async def search_memories(
    body: Annotated[
        SearchQuery,
        Body(
            openapi_examples={
                "question": {"value": {"query": "Where does Ana live?", "limit": 5}},
                "filtered": {"value": {"query": "trains", "filter": "tags:home", "explain": True}},
            }
        ),
    ],
    caller: CallerDep,
    doorway: DoorwayDep,
    limits: LimitsDep,
    metrics: MetricsDep,
) -> SearchResult:
    """Finds memories by meaning, words, time and filters; `explain` shows each signal's part."""
    result = await doorway.memories.search(caller, body)
    metrics.searched(len(result.hits))
    return result
