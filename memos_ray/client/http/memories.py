"""Memories over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from memos_ray.client.http.link import RestLink, new_key
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
)
from memos_ray.gateway.memories.record_models import Diff, History
from memos_ray.gateway.memories.understanding_models import Question, Understanding


class HttpMemories:
    """Speaks REST; has the verbs of `MemoryService` but those that store new memories."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def update(
        self, caller: Caller, memory_id: str, change: MemoryChange, namespace: str | None = None
    ) -> WriteReport:
        """Makes a new version."""
        body = keyed(change, new_key())
        return await self._link.call(
            WriteReport, "PATCH", _memory(memory_id), caller, body, namespace=namespace
        )

    async def share(
        self, caller: Caller, memory_id: str, sharing: Sharing, namespace: str | None = None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        body = keyed(sharing, new_key())
        return await self._link.call(
            WriteReport, "POST", f"{_memory(memory_id)}/share", caller, body, namespace=namespace
        )

    async def delete(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        hard: bool = False,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Deletes a memory."""
        return await self._link.call(
            WriteReport,
            "DELETE",
            _memory(memory_id),
            caller,
            key=idempotency_key or new_key(),
            namespace=namespace,
            hard=hard,
            expected_version=expected_version,
            reason=reason,
        )

    async def restore(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Undoes a soft deletion."""
        return await self._post(
            caller, memory_id, "restore", {"reason": reason}, namespace, idempotency_key
        )

    async def rollback(
        self,
        caller: Caller,
        memory_id: str,
        to: int,
        namespace: str | None = None,
        *,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Brings the content of an older version back."""
        body = {"to": to, "expected_version": expected_version, "reason": reason}
        return await self._post(caller, memory_id, "rollback", body, namespace, idempotency_key)

    async def freeze(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        frozen: bool = True,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Forbids changes, or allows them again."""
        verb = "freeze" if frozen else "unfreeze"
        return await self._post(
            caller, memory_id, verb, {"reason": reason}, namespace, idempotency_key
        )

    async def get(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        version: int | None = None,
    ) -> Memory:
        """Returns a memory."""
        return await self._link.call(
            Memory, "GET", _memory(memory_id), caller, namespace=namespace, version=version
        )

    async def list(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        tags: Sequence[str] = (),
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of a namespace."""
        return await self._link.call(
            MemoryPage,
            "GET",
            "/v1/memories",
            caller,
            namespace=namespace,
            filter=filter,
            tag=[*tags],
            include_deleted=include_deleted,
            cursor=cursor,
            limit=limit,
        )

    async def search(self, caller: Caller, query: SearchQuery) -> SearchResult:
        """Finds memories."""
        body = query.model_dump(mode="json", exclude_defaults=True)
        return await self._link.call(SearchResult, "POST", "/v1/search", caller, body)

    async def understand(self, caller: Caller, question: Question) -> Understanding:
        """Says what a search would make of a question."""
        body = question.model_dump(mode="json", exclude_defaults=True)
        return await self._link.call(Understanding, "POST", "/v1/understand", caller, body)

    async def history(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 50,
    ) -> History:
        """Returns versions."""
        return await self._link.call(
            History,
            "GET",
            f"{_memory(memory_id)}/history",
            caller,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
        )

    async def diff(
        self, caller: Caller, memory_id: str, before: int, after: int, namespace: str | None = None
    ) -> Diff:
        """Compares two versions."""
        return await self._link.call(
            Diff,
            "GET",
            f"{_memory(memory_id)}/diff",
            caller,
            before=before,
            after=after,
            namespace=namespace,
        )

    async def _post(
        self,
        caller: Caller,
        memory_id: str,
        verb: str,
        body: dict[str, Any],
        namespace: str | None,
        idempotency_key: str | None,
    ) -> WriteReport:
        path = f"{_memory(memory_id)}/{verb}"
        return await self._link.call(
            WriteReport,
            "POST",
            path,
            caller,
            body,
            key=idempotency_key or new_key(),
            namespace=namespace,
        )


def keyed(item: BaseModel | Mapping[str, Any], key: str) -> dict[str, Any]:
    """Returns a body with an idempotency key, its own if it has one."""
    if isinstance(item, BaseModel):
        body = item.model_dump(mode="json", exclude_unset=True)
    else:
        body = dict(item)
    if body.get("idempotency_key") is None:
        body["idempotency_key"] = key
    return body


def _memory(memory_id: str) -> str:
    return f"/v1/memories/{quote(memory_id, safe=':')}"
