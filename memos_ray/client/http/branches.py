"""Branches over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from memos_ray.client.http.link import RestLink, new_key
from memos_ray.gateway.branches.models import (
    BranchDiff,
    BranchList,
    BranchRecord,
    MergeReport,
    MergeWish,
    NewBranch,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.fields import Model
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
)


class HttpBranches:
    """Speaks REST; has the verbs of `BranchService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def create(self, caller: Caller, new: NewBranch) -> BranchRecord:
        """Makes a branch."""
        # A retry would find the name taken.
        return await self._link.call(
            BranchRecord, "POST", "/v1/branches", caller, _body(new), repeatable=False
        )

    async def list(self, caller: Caller, namespace: str | None = None) -> BranchList:
        """Lists branches."""
        return await self._link.call(BranchList, "GET", "/v1/branches", caller, namespace=namespace)

    async def diff(self, caller: Caller, name: str, namespace: str | None = None) -> BranchDiff:
        """Compares a branch with its moment."""
        return await self._link.call(
            BranchDiff, "GET", f"{_branch(name)}/diff", caller, namespace=namespace
        )

    async def merge(
        self, caller: Caller, name: str, wish: MergeWish, namespace: str | None = None
    ) -> MergeReport:
        """Merges a branch."""
        # A retry would find no branch any more.
        return await self._link.call(
            MergeReport,
            "POST",
            f"{_branch(name)}/merge",
            caller,
            _body(wish),
            repeatable=False,
            namespace=namespace,
        )

    async def discard(
        self, caller: Caller, name: str, namespace: str | None = None
    ) -> BranchRecord:
        """Ends a branch."""
        return await self._link.call(
            BranchRecord, "DELETE", _branch(name), caller, repeatable=False, namespace=namespace
        )

    async def add(
        self, caller: Caller, name: str, memory: NewMemory, namespace: str | None = None
    ) -> WriteReport:
        """Stores a memory in a branch."""
        return await self._link.call(
            WriteReport,
            "POST",
            f"{_branch(name)}/memories",
            caller,
            _body(memory),
            key=memory.idempotency_key or new_key(),
            namespace=namespace,
        )

    async def update(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        change: MemoryChange,
        namespace: str | None = None,
    ) -> WriteReport:
        """Changes a memory in a branch."""
        return await self._link.call(
            WriteReport,
            "PATCH",
            _memory(name, memory_id),
            caller,
            _body(change),
            key=change.idempotency_key or new_key(),
            namespace=namespace,
        )

    async def delete(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Deletes a memory in a branch."""
        return await self._link.call(
            WriteReport,
            "DELETE",
            _memory(name, memory_id),
            caller,
            key=idempotency_key or new_key(),
            namespace=namespace,
            reason=reason,
        )

    async def restore(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Undoes the deletion of a memory in a branch."""
        return await self._link.call(
            WriteReport,
            "POST",
            f"{_memory(name, memory_id)}/restore",
            caller,
            key=idempotency_key or new_key(),
            namespace=namespace,
            reason=reason,
        )

    async def get(
        self, caller: Caller, name: str, memory_id: str, namespace: str | None = None
    ) -> Memory:
        """Returns a memory as a branch shows it."""
        return await self._link.call(
            Memory, "GET", _memory(name, memory_id), caller, namespace=namespace
        )

    async def memories(
        self,
        caller: Caller,
        name: str,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Lists what a branch shows."""
        return await self._link.call(
            MemoryPage,
            "GET",
            f"{_branch(name)}/memories",
            caller,
            namespace=namespace,
            filter=filter,
            cursor=cursor,
            limit=limit,
        )

    async def search(
        self, caller: Caller, name: str, query: SearchQuery, namespace: str | None = None
    ) -> SearchResult:
        """Finds memories in a branch."""
        body = query.model_dump(mode="json", exclude_defaults=True)
        return await self._link.call(
            SearchResult, "POST", f"{_branch(name)}/search", caller, body, namespace=namespace
        )


def _body(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)


def _branch(name: str) -> str:
    return f"/v1/branches/{quote(name, safe='')}"


def _memory(name: str, memory_id: str) -> str:
    return f"{_branch(name)}/memories/{quote(memory_id, safe=':')}"
