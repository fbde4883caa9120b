"""Activation memory: converts memories, and shows and steers KV caches."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.activation.models import Cache, CacheList, Conversion, Pinning
from memos_ray.gateway.memories.models import WriteReport
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["activation"])


@router.post("/convert", status_code=201)
async def convert_memories(body: Conversion, caller: CallerDep, doorway: DoorwayDep) -> WriteReport:
    """Makes memories the beginning of every prompt of their namespace, with a KV cache.

    The result is an activation memory, whose sources they are; deleting it ends this.
    """
    return await doorway.activation.convert(caller, body)


@router.get("/kv")
async def list_caches(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> CacheList:
    """Lists the activation memories of a namespace, and where their KV caches are."""
    return await doorway.activation.caches(caller, namespace)


@router.get("/kv/{id}")
async def explain_cache(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Cache:
    """Says where a KV cache is and why, what it is worth, and what it was computed from."""
    return await doorway.activation.cache(caller, id, namespace)


@router.put("/kv/{id}/pin")
async def pin_cache(
    id: Id,
    body: Pinning,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> WriteReport:
    """Has a KV cache stay whatever else needs room, or no longer."""
    return await doorway.activation.pin(caller, id, namespace, pinned=body.pinned)


@router.post("/kv/{id}/evict")
async def evict_cache(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Cache:
    """Lets go of a KV cache, hot and at rest; the next prompt has it computed again."""
    return await doorway.activation.evict(caller, id, namespace)
