"""The past over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import Memory, MemoryPage
from memos_ray.gateway.memories.record_models import History
from memos_ray.gateway.past.models import (
    GoBack,
    NamespaceDiff,
    NewSnapshot,
    SnapshotList,
    SnapshotRecord,
    WentBack,
)


class HttpPast:
    """Speaks REST; has the verbs of `PastService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def take(self, caller: Caller, new: NewSnapshot) -> SnapshotRecord:
        """Names this moment."""
        body = new.model_dump(mode="json", exclude_unset=True)
        # A retry would find the name taken, and a later moment.
        return await self._link.call(
            SnapshotRecord, "POST", "/v1/snapshots", caller, body, repeatable=False
        )

    async def snapshots(self, caller: Caller, namespace: str | None = None) -> SnapshotList:
        """Lists snapshots."""
        return await self._link.call(
            SnapshotList, "GET", "/v1/snapshots", caller, namespace=namespace
        )

    async def forget(
        self, caller: Caller, name: str, namespace: str | None = None
    ) -> SnapshotRecord:
        """Forgets a snapshot."""
        path = f"/v1/snapshots/{quote(name, safe='')}"
        return await self._link.call(SnapshotRecord, "DELETE", path, caller, namespace=namespace)

    async def get(
        self, caller: Caller, memory_id: str, at: str, namespace: str | None = None
    ) -> Memory:
        """Returns a memory as it was."""
        return await self._link.call(
            Memory, "GET", _path(memory_id), caller, at=at, namespace=namespace
        )

    async def history(
        self, caller: Caller, memory_id: str, at: str, namespace: str | None = None
    ) -> History:
        """Returns the versions that a memory had."""
        path = f"{_path(memory_id)}/history"
        return await self._link.call(History, "GET", path, caller, at=at, namespace=namespace)

    async def list(
        self,
        caller: Caller,
        at: str,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Lists a namespace as it was."""
        return await self._link.call(
            MemoryPage,
            "GET",
            "/v1/past/memories",
            caller,
            at=at,
            namespace=namespace,
            filter=filter,
            cursor=cursor,
            limit=limit,
        )

    async def diff(
        self,
        caller: Caller,
        since: str,
        until: str | None = None,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> NamespaceDiff:
        """Compares two moments."""
        return await self._link.call(
            NamespaceDiff,
            "GET",
            "/v1/past/diff",
            caller,
            since=since,
            until=until,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
        )

    async def go_back(self, caller: Caller, wanted: GoBack) -> WentBack:
        """Takes a namespace back."""
        body = wanted.model_dump(mode="json", exclude_unset=True)
        return await self._link.call(WentBack, "POST", "/v1/past/rollback", caller, body)


def _path(memory_id: str) -> str:
    return f"/v1/past/memories/{quote(memory_id, safe=':')}"
