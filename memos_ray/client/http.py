"""The service behind a URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from memos_ray.client.activation_http import HttpActivation
from memos_ray.client.admin_http import request_of
from memos_ray.client.branches_http import HttpBranches
from memos_ray.client.browsing_http import HttpBrowsing
from memos_ray.client.chat_http import events_of
from memos_ray.client.evolution_http import HttpEvolution
from memos_ray.client.extraction_http import HttpExtraction
from memos_ray.client.lifecycle_http import HttpLifecycle
from memos_ray.client.organising_http import HttpOrganising
from memos_ray.client.parameter_http import HttpParameter
from memos_ray.client.past_http import HttpPast
from memos_ray.client.personas_http import HttpPersonas
from memos_ray.client.pipelines_http import HttpPipelines
from memos_ray.client.receipts_http import HttpReceipts
from memos_ray.client.rest_link import RestLink, error_of
from memos_ray.client.reuse import HttpReuse
from memos_ray.client.sources_http import HttpSources
from memos_ray.client.transport import Item
from memos_ray.core.access.administration import AdminOperation
from memos_ray.errors import UnavailableError
from memos_ray.gateway.admin.models import Change, Documents, Who
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery
from memos_ray.gateway.chat.openai_models import ModelKind, ModelList
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
)
from memos_ray.gateway.memories.record_models import Diff, Health, History, LogFilter, LogPage
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.gateway.records.provenance_models import Direction, Provenance


class HttpTransport:
    """Speaks REST. Implements `Transport`.

    A request is repeated, with growing and jittered pauses, when the service is away or busy, but
    only when repeating it is safe: it reads, it sets a state, or it carries an idempotency key.
    Every write of a memory gets such a key.

    Args:
        attempts: most tries of one request.

    Raises:
        InvalidInputError: the URL is none of HTTP.
    """

    def __init__(self, url: str, timeout_s: float = 35.0, attempts: int = 5) -> None:
        self._link = RestLink(url, timeout_s, attempts)
        self.activation = HttpActivation(self._link)
        self.receipts = HttpReceipts(self._link)
        self.parameter = HttpParameter(self._link)
        self.pipelines = HttpPipelines(self._link)
        self.organising = HttpOrganising(self._link)
        self.personas = HttpPersonas(self._link)
        self.sources = HttpSources(self._link)
        self.reusing = HttpReuse(self._link)
        self.evolution = HttpEvolution(self._link)
        self.browsing = HttpBrowsing(self._link)
        self.lifecycle = HttpLifecycle(self._link)
        self.extraction = HttpExtraction(self._link)
        self.past = HttpPast(self._link)
        self.branches = HttpBranches(self._link)

    async def add(
        self, caller: Caller, items: Sequence[Item], namespace: str | None
    ) -> WriteReport:
        """Stores memories, each with its own outcome."""
        if not items:
            return WriteReport(results=[], token="")
        run = uuid4().hex
        bodies = [_keyed(item, f"sdk:{run}/{place}") for place, item in enumerate(items)]
        return await self._link.call(
            WriteReport, "POST", "/v1/memories", caller, {"memories": bodies}, namespace=namespace
        )

    async def update(
        self, caller: Caller, id: str, change: MemoryChange, namespace: str | None
    ) -> WriteReport:
        """Makes a new version."""
        body = _keyed(change, _new_key())
        return await self._link.call(
            WriteReport, "PATCH", _memory(id), caller, body, namespace=namespace
        )

    async def share(
        self, caller: Caller, id: str, sharing: Sharing, namespace: str | None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        body = _keyed(sharing, _new_key())
        return await self._link.call(
            WriteReport, "POST", f"{_memory(id)}/share", caller, body, namespace=namespace
        )

    async def delete(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        hard: bool,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Deletes a memory."""
        return await self._link.call(
            WriteReport,
            "DELETE",
            _memory(id),
            caller,
            key=key or _new_key(),
            namespace=namespace,
            hard=hard,
            expected_version=expected_version,
            reason=reason,
        )

    async def restore(
        self, caller: Caller, id: str, namespace: str | None, reason: str | None, key: str | None
    ) -> WriteReport:
        """Undoes a soft deletion."""
        return await self._post(caller, id, "restore", {"reason": reason}, namespace, key)

    async def rollback(
        self,
        caller: Caller,
        id: str,
        to: int,
        namespace: str | None,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Brings the content of an older version back."""
        body = {"to": to, "expected_version": expected_version, "reason": reason}
        return await self._post(caller, id, "rollback", body, namespace, key)

    async def freeze(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        frozen: bool,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Forbids changes, or allows them again."""
        verb = "freeze" if frozen else "unfreeze"
        return await self._post(caller, id, verb, {"reason": reason}, namespace, key)

    async def get(
        self, caller: Caller, id: str, namespace: str | None, version: int | None
    ) -> Memory:
        """Returns a memory."""
        return await self._link.call(
            Memory, "GET", _memory(id), caller, namespace=namespace, version=version
        )

    async def list(
        self,
        caller: Caller,
        namespace: str | None,
        filter: str | None,
        tags: Sequence[str],
        include_deleted: bool,
        cursor: str | None,
        limit: int,
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

    async def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        headers = self._link.headers(caller)
        try:
            async with aclosing(events_of(self._link.client, headers, query)) as events:
                async for event in events:
                    yield event
        except httpx.HTTPStatusError as error:
            raise error_of(error.response) from None

    async def models(self, caller: Caller) -> list[str]:  # type: ignore[valid-type]
        """Lists the models that can be asked."""
        found = await self._link.call(ModelList, "GET", "/v1/models", caller)
        return [
            model.id
            for model in found.data
            if model.kind is ModelKind.CHAT and model.parent is None
        ]

    async def history(
        self, caller: Caller, id: str, namespace: str | None, cursor: str | None, limit: int
    ) -> History:
        """Returns versions."""
        return await self._link.call(
            History,
            "GET",
            f"{_memory(id)}/history",
            caller,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
        )

    async def diff(
        self, caller: Caller, id: str, before: int, after: int, namespace: str | None
    ) -> Diff:
        """Compares two versions."""
        return await self._link.call(
            Diff,
            "GET",
            f"{_memory(id)}/diff",
            caller,
            before=before,
            after=after,
            namespace=namespace,
        )

    async def log(
        self,
        caller: Caller,
        namespace: str | None,
        wanted: LogFilter,
        cursor: str | None,
        limit: int,
    ) -> LogPage:
        """Reads a log."""
        fields = wanted.model_dump(mode="json", exclude_defaults=True)
        return await self._link.call(
            LogPage,
            "GET",
            "/v1/log",
            caller,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
            **fields,
        )

    async def provenance(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        direction: Direction,
        depth: int,
        cursor: str | None,
        limit: int,
    ) -> Provenance:
        """Returns a page of a memory's lineage."""
        return await self._link.call(
            Provenance,
            "GET",
            f"{_memory(id)}/provenance",
            caller,
            namespace=namespace,
            direction=direction.value,
            depth=depth,
            cursor=cursor,
            limit=limit,
        )

    async def change(self, caller: Caller, operation: AdminOperation) -> Change:
        """Changes policy."""
        request = request_of(operation)
        change = await self._link.call(
            Change,
            request.method,
            f"/v1/admin/{request.path}",
            caller,
            request.body,
            repeatable=request.safe,
        )
        self._link.note_policy(change.tenant, change.version)
        return change

    async def documents(self, caller: Caller, namespace: str | None) -> Documents:
        """Lists policy documents."""
        return await self._link.call(
            Documents, "GET", "/v1/admin/documents", caller, namespace=namespace
        )

    async def whoami(self, caller: Caller) -> Who:
        """Says who the caller is."""
        return await self._link.call(Who, "GET", "/v1/whoami", caller)

    async def health(self) -> Health:
        """Says how the service is."""
        try:
            answer = await self._link.client.get("/readyz")
            return Health.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError):
            raise UnavailableError("nobody answers there", url=self._link.url) from None

    def keep(self, content: bytes) -> str | None:
        """Keeps nothing: attachments travel by reference over REST."""
        return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._link.client.aclose()

    async def _post(
        self,
        caller: Caller,
        id: str,
        verb: str,
        body: dict[str, Any],
        namespace: str | None,
        key: str | None,
    ) -> WriteReport:
        path = f"{_memory(id)}/{verb}"
        return await self._link.call(
            WriteReport, "POST", path, caller, body, key=key or _new_key(), namespace=namespace
        )


def _memory(id: str) -> str:
    return f"/v1/memories/{quote(id, safe=':')}"


def _new_key() -> str:
    return f"sdk:{uuid4().hex}"


def _keyed(item: BaseModel | Mapping[str, Any], key: str) -> dict[str, Any]:
    if isinstance(item, BaseModel):
        body = item.model_dump(mode="json", exclude_unset=True)
    else:
        body = dict(item)
    if body.get("idempotency_key") is None:
        body["idempotency_key"] = key
    return body
