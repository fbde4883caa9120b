"""Routes of the lifecycle."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.lifecycle.models import Lifecycle
from memos_ray.gateway.memories.bodies import Plain
from memos_ray.gateway.memories.models import WriteReport
from memos_ray.gateway.requests import (
    CallerDep,
    DoorwayDep,
    Id,
    IdempotencyKey,
    JsonRoute,
    Namespace,
    merged_key,
)

router = APIRouter(route_class=JsonRoute, tags=["lifecycle"])
_NO_BODY = Plain()


@router.get("/lifecycle")
async def lifecycle_status(caller: CallerDep, doorway: DoorwayDep) -> Lifecycle:
    """Says how memories age: the last sweep, and what it has moved."""
    return await doorway.lifecycle.status(caller)


@router.post("/lifecycle/sweep")
async def sweep_memories(caller: CallerDep, doorway: DoorwayDep) -> Lifecycle:
    """Sweeps all memories now: expires, archives and collects what is due."""
    return await doorway.lifecycle.sweep(caller)


@router.post("/memories/{id}/archive")
async def archive_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Puts a memory away: it can be read, but searches leave it out."""
    return await doorway.lifecycle.archive(
        caller, id, namespace, body.reason, merged_key(key, body.idempotency_key)
    )


@router.post("/memories/{id}/hold")
async def hold_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Puts a memory under legal hold: nothing takes it away, whatever its state is."""
    return await doorway.lifecycle.hold(
        caller, id, namespace, body.reason, merged_key(key, body.idempotency_key)
    )


@router.post("/memories/{id}/release")
async def release_memory(
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    body: Plain = _NO_BODY,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Lifts a legal hold; for administrators of the tenant."""
    return await doorway.lifecycle.hold(
        caller, id, namespace, body.reason, merged_key(key, body.idempotency_key), held=False
    )
