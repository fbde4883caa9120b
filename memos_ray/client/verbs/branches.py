"""What-if branches of a namespace: `memos.branches`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memos_ray.client.arguments import check, valid
from memos_ray.client.verbs.past import When, moment_text
from memos_ray.gateway.branches.models import (
    BranchDiff,
    BranchRecord,
    MergeReport,
    MergeWish,
    NewBranch,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
    WriteResult,
)

if TYPE_CHECKING:
    from memos_ray.client.http.branches import HttpBranches
    from memos_ray.gateway.branches.service import BranchService

_Single = Callable[[WriteReport], WriteResult]


class AsyncBranches:
    """What-if branches of a namespace, which stays as it is until one is merged."""

    def __init__(
        self, api: HttpBranches | BranchService, caller: Callable[[], Caller], single: _Single
    ) -> None:
        self._api = api
        self._caller = caller
        self._single = single

    async def create(
        self,
        name: str,
        *,
        namespace: str | None = None,
        at: When | None = None,
        reason: str | None = None,
    ) -> BranchRecord:
        """Makes a branch of a namespace as it is now, or was at a moment or a snapshot."""
        text = None if at is None else moment_text(at)
        new = valid(NewBranch, name=name, namespace=namespace, at=text, reason=reason)
        return await self._api.create(self._caller(), new)

    async def list(self, namespace: str | None = None) -> list[BranchRecord]:
        """Returns the branches of a namespace, oldest first."""
        check(namespace=namespace)
        return (await self._api.list(self._caller(), namespace)).branches

    async def diff(self, name: str, *, namespace: str | None = None) -> BranchDiff:
        """Says what a branch adds, removes and changes."""
        _check(name, namespace)
        return await self._api.diff(self._caller(), name, namespace)

    async def merge(
        self, name: str, *, namespace: str | None = None, reason: str | None = None
    ) -> MergeReport:
        """Brings all changes of a branch into its namespace and ends it, or lists the conflicts."""
        _check(name, namespace)
        wish = valid(MergeWish, reason=reason)
        return await self._api.merge(self._caller(), name, wish, namespace)

    async def discard(self, name: str, *, namespace: str | None = None) -> BranchRecord:
        """Ends a branch and erases what it holds."""
        _check(name, namespace)
        return await self._api.discard(self._caller(), name, namespace)

    async def add(
        self, name: str, text: str, *, namespace: str | None = None, **fields: Any
    ) -> WriteResult:
        """Stores a memory in a branch; `fields` are those of `NewMemory`."""
        _check(name, namespace)
        memory = valid(NewMemory, text=text, **fields)
        return self._single(await self._api.add(self._caller(), name, memory, namespace))

    async def update(
        self, name: str, id: str, *, namespace: str | None = None, **fields: Any
    ) -> WriteResult:
        """Changes a memory in a branch; `fields` are those of `MemoryChange`."""
        _check(name, namespace)
        check(id=id)
        change = valid(MemoryChange, **fields)
        return self._single(await self._api.update(self._caller(), name, id, change, namespace))

    async def delete(
        self, name: str, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Deletes a memory in a branch; the namespace keeps it."""
        _check(name, namespace)
        check(id=id, reason=reason)
        report = await self._api.delete(self._caller(), name, id, namespace, reason=reason)
        return self._single(report)

    async def restore(
        self, name: str, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Undoes the deletion of a memory in a branch."""
        _check(name, namespace)
        check(id=id, reason=reason)
        report = await self._api.restore(self._caller(), name, id, namespace, reason=reason)
        return self._single(report)

    async def get(self, name: str, id: str, *, namespace: str | None = None) -> Memory:
        """Returns a memory as a branch shows it."""
        _check(name, namespace)
        check(id=id)
        return await self._api.get(self._caller(), name, id, namespace)

    async def memories(
        self,
        name: str,
        *,
        namespace: str | None = None,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of what a branch shows, newest first."""
        _check(name, namespace)
        check(cursor=cursor, limit=limit)
        return await self._api.memories(
            self._caller(), name, namespace, filter=filter, cursor=cursor, limit=limit
        )

    async def search(
        self, name: str, query: str = "", *, namespace: str | None = None, **fields: Any
    ) -> SearchResult:
        """Finds memories in a branch; `fields` are those of `SearchQuery`."""
        _check(name, namespace)
        wanted = valid(SearchQuery, query=query, **fields)
        return await self._api.search(self._caller(), name, wanted, namespace)


def _check(name: str, namespace: str | None) -> None:
    valid(NewBranch, name=name, namespace=namespace)
