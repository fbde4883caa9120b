"""The service behind a URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import uuid4

import httpx
from pydantic import ValidationError

from memos_ray.client.http.activation import HttpActivation
from memos_ray.client.http.admin import request_of
from memos_ray.client.http.branches import HttpBranches
from memos_ray.client.http.browsing import HttpBrowsing
from memos_ray.client.http.chat import events_of
from memos_ray.client.http.evolution import HttpEvolution
from memos_ray.client.http.extraction import HttpExtraction
from memos_ray.client.http.lifecycle import HttpLifecycle
from memos_ray.client.http.link import RestLink, error_of
from memos_ray.client.http.memories import HttpMemories, keyed
from memos_ray.client.http.organising import HttpOrganising
from memos_ray.client.http.parameter import HttpParameter
from memos_ray.client.http.past import HttpPast
from memos_ray.client.http.personas import HttpPersonas
from memos_ray.client.http.pipelines import HttpPipelines
from memos_ray.client.http.records import HttpLogs, HttpProvenance, HttpReceipts
from memos_ray.client.http.reuse import HttpReuse
from memos_ray.client.http.sources import HttpSources
from memos_ray.client.transport import Item
from memos_ray.core.access.administration import AdminOperation
from memos_ray.errors import UnavailableError
from memos_ray.gateway.admin.models import Change, Documents, NamespaceUsage, Who
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery
from memos_ray.gateway.chat.openai_models import ModelKind, ModelList
from memos_ray.gateway.memories.models import WriteReport
from memos_ray.gateway.memories.record_models import Health


class HttpTransport:
    """Speaks REST; see `Transport`.

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
        self.memories = HttpMemories(self._link)
        self.logs = HttpLogs(self._link)
        self.provenance = HttpProvenance(self._link)
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
        bodies = [keyed(item, f"sdk:{run}/{place}") for place, item in enumerate(items)]
        return await self._link.call(
            WriteReport, "POST", "/v1/memories", caller, {"memories": bodies}, namespace=namespace
        )

    async def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        headers = self._link.headers(caller)
        try:
            async with aclosing(events_of(self._link.client, headers, query)) as events:
                async for event in events:
                    yield event
        except httpx.HTTPStatusError as error:
            raise error_of(error.response) from None

    async def models(self, caller: Caller) -> list[str]:
        """Lists the models that can be asked."""
        found = await self._link.call(ModelList, "GET", "/v1/models", caller)
        return [
            model.id
            for model in found.data
            if model.kind is ModelKind.CHAT and model.parent is None
        ]

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

    async def usage(self, caller: Caller, namespace: str | None) -> NamespaceUsage:
        """Says how much a namespace holds."""
        return await self._link.call(
            NamespaceUsage, "GET", "/v1/admin/usage", caller, namespace=namespace
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
