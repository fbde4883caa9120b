"""The past of a namespace, and the way back: `memos.past`."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check, valid
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import Memory, MemoryPage
from memos_ray.gateway.memories.record_models import History
from memos_ray.gateway.past.models import (
    GoBack,
    NamespaceDiff,
    NewSnapshot,
    SnapshotRecord,
    WentBack,
)

if TYPE_CHECKING:
    from memos_ray.client.http.past import HttpPast
    from memos_ray.gateway.past.service import PastService

When = datetime | str
"""An aware moment, or the name of a snapshot."""


class AsyncPast:
    """Earlier moments of a namespace. A moment is aware, or the name of a snapshot."""

    def __init__(self, api: HttpPast | PastService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def snapshot(
        self, name: str, *, namespace: str | None = None, reason: str | None = None
    ) -> SnapshotRecord:
        """Names this moment of a namespace."""
        new = valid(NewSnapshot, name=name, namespace=namespace, reason=reason)
        return await self._api.take(self._caller(), new)

    async def snapshots(self, namespace: str | None = None) -> builtins.list[SnapshotRecord]:
        """Returns the snapshots of a namespace, oldest first."""
        check(namespace=namespace)
        return (await self._api.snapshots(self._caller(), namespace)).snapshots

    async def forget(self, name: str, *, namespace: str | None = None) -> SnapshotRecord:
        """Forgets a snapshot; nothing else changes."""
        valid(NewSnapshot, name=name, namespace=namespace)
        return await self._api.forget(self._caller(), name, namespace)

    async def get(self, id: str, at: When, *, namespace: str | None = None) -> Memory:
        """Returns a memory as it was."""
        check(id=id, namespace=namespace)
        return await self._api.get(self._caller(), id, moment_text(at), namespace)

    async def history(self, id: str, at: When, *, namespace: str | None = None) -> History:
        """Returns the versions that a memory had, newest first."""
        check(id=id, namespace=namespace)
        return await self._api.history(self._caller(), id, moment_text(at), namespace)

    async def list(
        self,
        at: When,
        *,
        namespace: str | None = None,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of a namespace as it was, newest first."""
        check(namespace=namespace, cursor=cursor, limit=limit)
        return await self._api.list(
            self._caller(), moment_text(at), namespace, filter=filter, cursor=cursor, limit=limit
        )

    async def diff(
        self,
        since: When,
        until: When | None = None,
        *,
        namespace: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> NamespaceDiff:
        """Says which memories were added, removed and changed between two moments."""
        check(namespace=namespace, cursor=cursor, limit=limit)
        later = None if until is None else moment_text(until)
        return await self._api.diff(
            self._caller(), moment_text(since), later, namespace, cursor=cursor, limit=limit
        )

    async def rollback(
        self, to: When, *, namespace: str | None = None, reason: str | None = None
    ) -> WentBack:
        """Takes a namespace back to a moment; asking again goes on where it stopped."""
        wanted = valid(GoBack, to=moment_text(to), namespace=namespace, reason=reason)
        return await self._api.go_back(self._caller(), wanted)


def moment_text(at: When) -> str:
    """Writes a moment as the doors take it."""
    return at if isinstance(at, str) else at.isoformat()
