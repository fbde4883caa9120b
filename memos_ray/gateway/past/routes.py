"""Routes of the past: snapshots, looks back, and the way back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from memos_ray.gateway.memories.models import Memory, MemoryPage
from memos_ray.gateway.memories.record_models import History
from memos_ray.gateway.memories.routes import Cursor
from memos_ray.gateway.past.models import (
    GoBack,
    NamespaceDiff,
    NewSnapshot,
    SnapshotList,
    SnapshotName,
    SnapshotRecord,
    WentBack,
    When,
)
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["past"])

At = Annotated[When, Query(description="A moment, or the name of a snapshot.")]
Filter = Annotated[
    str | None, Query(max_length=16_384, description="A filter, as in `docs/filters.md`.")
]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("/snapshots", status_code=201)
async def take_snapshot(
    body: NewSnapshot, caller: CallerDep, doorway: DoorwayDep
) -> SnapshotRecord:
    """Names this moment of a namespace; it costs nothing, for every version is kept."""
    return await doorway.past.take(caller, body)


@router.get("/snapshots")
async def list_snapshots(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> SnapshotList:
    """Lists the snapshots of a namespace, oldest first."""
    return await doorway.past.snapshots(caller, namespace)


@router.delete("/snapshots/{name}")
async def forget_snapshot(
    name: Annotated[SnapshotName, Path()],
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> SnapshotRecord:
    """Forgets a snapshot; nothing else changes."""
    return await doorway.past.forget(caller, name, namespace)


@router.get("/past/memories")
async def list_past_memories(
    at: At,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    filter: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> MemoryPage:
    """Lists a namespace as it was, newest first."""
    return await doorway.past.list(caller, at, namespace, filter=filter, cursor=cursor, limit=limit)


@router.get("/past/memories/{id}")
async def get_past_memory(
    id: Id, at: At, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Memory:
    """Returns a memory as it was."""
    return await doorway.past.get(caller, id, at, namespace)


@router.get("/past/memories/{id}/history")
async def past_memory_history(
    id: Id, at: At, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> History:
    """Lists the versions that a memory had, newest first, a thousand at most."""
    return await doorway.past.history(caller, id, at, namespace)


@router.get("/past/diff")
async def compare_moments(
    since: At,
    caller: CallerDep,
    doorway: DoorwayDep,
    until: Annotated[When | None, Query(description="As `since`; now when absent.")] = None,
    namespace: Namespace = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> NamespaceDiff:
    """Says which memories of a namespace were added, removed and changed between two moments."""
    return await doorway.past.diff(caller, since, until, namespace, cursor=cursor, limit=limit)


@router.post("/past/rollback")
async def roll_namespace_back(body: GoBack, caller: CallerDep, doorway: DoorwayDep) -> WentBack:
    """Takes a namespace back to a moment; each memory gets a version of its own for that."""
    return await doorway.past.go_back(caller, body)
