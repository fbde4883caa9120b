"""Routes of what-if branches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from memos_ray.gateway.branches.models import (
    BranchDiff,
    BranchList,
    BranchName,
    BranchRecord,
    MergeReport,
    MergeWish,
    NewBranch,
)
from memos_ray.gateway.fields import Reason
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
)
from memos_ray.gateway.memories.routes import Cursor
from memos_ray.gateway.requests import (
    CallerDep,
    DoorwayDep,
    Id,
    IdempotencyKey,
    JsonRoute,
    Namespace,
    keyed,
)

router = APIRouter(prefix="/branches", route_class=JsonRoute, tags=["branches"])

Name = Annotated[BranchName, Path(description="Name of the branch.")]
Why = Annotated[Reason | None, Query(description="Kept with the version.")]


@router.post("", status_code=201)
async def create_branch(body: NewBranch, caller: CallerDep, doorway: DoorwayDep) -> BranchRecord:
    """Makes a branch of a namespace; it costs nothing, for only changes are stored."""
    return await doorway.branches.create(caller, body)


@router.get("")
async def list_branches(
    caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> BranchList:
    """Lists the branches of a namespace, oldest first."""
    return await doorway.branches.list(caller, namespace)


@router.delete("/{name}")
async def discard_branch(
    name: Name, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> BranchRecord:
    """Ends a branch and erases what it holds; the namespace stays as it is."""
    return await doorway.branches.discard(caller, name, namespace)


@router.get("/{name}/diff")
async def compare_branch(
    name: Name, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> BranchDiff:
    """Says what a branch adds, removes and changes."""
    return await doorway.branches.diff(caller, name, namespace)


@router.post("/{name}/merge")
async def merge_branch(
    name: Name,
    body: MergeWish,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> MergeReport:
    """Brings all changes of a branch into its namespace and ends it, or lists the conflicts."""
    return await doorway.branches.merge(caller, name, body, namespace)


@router.post("/{name}/memories", status_code=201)
async def add_to_branch(
    name: Name,
    body: NewMemory,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Stores a memory in a branch."""
    return await doorway.branches.add(caller, name, keyed(body, key), namespace)


@router.get("/{name}/memories")
async def list_branch_memories(
    name: Name,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    filter: Annotated[
        str | None, Query(max_length=16_384, description="A filter, as in `docs/filters.md`.")
    ] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> MemoryPage:
    """Lists what a branch shows, newest first."""
    return await doorway.branches.memories(
        caller, name, namespace, filter=filter, cursor=cursor, limit=limit
    )


@router.get("/{name}/memories/{id}")
async def get_branch_memory(
    name: Name, id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> Memory:
    """Returns a memory as a branch shows it."""
    return await doorway.branches.get(caller, name, id, namespace)


@router.patch("/{name}/memories/{id}")
async def update_branch_memory(
    name: Name,
    id: Id,
    body: MemoryChange,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Changes a memory in a branch."""
    return await doorway.branches.update(caller, name, id, keyed(body, key), namespace)


@router.delete("/{name}/memories/{id}")
async def delete_branch_memory(
    name: Name,
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    reason: Why = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Deletes a memory in a branch; the namespace keeps it."""
    return await doorway.branches.delete(
        caller, name, id, namespace, reason=reason, idempotency_key=key
    )


@router.post("/{name}/memories/{id}/restore")
async def restore_branch_memory(
    name: Name,
    id: Id,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
    reason: Why = None,
    key: IdempotencyKey = None,
) -> WriteReport:
    """Undoes the deletion of a memory in a branch."""
    return await doorway.branches.restore(
        caller, name, id, namespace, reason=reason, idempotency_key=key
    )


@router.post("/{name}/search")
async def search_branch(
    name: Name,
    body: SearchQuery,
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Namespace = None,
) -> SearchResult:
    """Finds memories in a branch; the query names neither namespaces nor a moment."""
    return await doorway.branches.search(caller, name, body, namespace)
