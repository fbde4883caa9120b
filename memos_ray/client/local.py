"""The service in this process, which is connected to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from memos_ray import __version__
from memos_ray.client.transport import Item
from memos_ray.core.access.administration import AdminOperation
from memos_ray.gateway.admin.models import Change, Documents, Who, documents_of
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.memories.bulk import add_each
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


class LocalTransport:
    """Calls the services directly. Implements `Transport`.

    Args:
        stop: ends the cluster, when this transport's client started it; blocking.
    """

    def __init__(self, doorway: Doorway, stop: Callable[[], None] | None = None) -> None:
        self._doorway = doorway
        self.activation = doorway.activation
        self.receipts = doorway.receipts
        self.parameter = doorway.parameter
        self.pipelines = doorway.pipelines
        self.organising = doorway.organising
        self.personas = doorway.personas
        self.sources = doorway.sources
        self.reusing = doorway.reuse
        self.evolution = doorway.evolution
        self.browsing = doorway.browsing
        self.lifecycle = doorway.lifecycle
        self.extraction = doorway.extraction
        self.past = doorway.past
        self.branches = doorway.branches
        self._stop = stop

    async def add(
        self, caller: Caller, items: Sequence[Item], namespace: str | None
    ) -> WriteReport:
        """Stores memories, each with its own outcome."""
        return await add_each(self._doorway.memories, caller, items, namespace)

    async def update(
        self, caller: Caller, id: str, change: MemoryChange, namespace: str | None
    ) -> WriteReport:
        """Makes a new version."""
        return await self._doorway.memories.update(caller, id, change, namespace)

    async def share(
        self, caller: Caller, id: str, sharing: Sharing, namespace: str | None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        return await self._doorway.memories.share(caller, id, sharing, namespace)

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
        return await self._doorway.memories.delete(
            caller,
            id,
            namespace,
            hard=hard,
            expected_version=expected_version,
            reason=reason,
            idempotency_key=key,
        )

    async def restore(
        self, caller: Caller, id: str, namespace: str | None, reason: str | None, key: str | None
    ) -> WriteReport:
        """Undoes a soft deletion."""
        return await self._doorway.memories.restore(
            caller, id, namespace, reason=reason, idempotency_key=key
        )

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
        return await self._doorway.memories.rollback(
            caller,
            id,
            to,
            namespace,
            expected_version=expected_version,
            reason=reason,
            idempotency_key=key,
        )

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
        return await self._doorway.memories.freeze(
            caller, id, namespace, frozen=frozen, reason=reason, idempotency_key=key
        )

    async def get(
        self, caller: Caller, id: str, namespace: str | None, version: int | None
    ) -> Memory:
        """Returns a memory."""
        return await self._doorway.memories.get(caller, id, namespace, version=version)

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
        return await self._doorway.memories.list(
            caller,
            namespace,
            filter=filter,
            tags=tags,
            include_deleted=include_deleted,
            cursor=cursor,
            limit=limit,
        )

    async def search(self, caller: Caller, query: SearchQuery) -> SearchResult:
        """Finds memories."""
        return await self._doorway.memories.search(caller, query)

    async def understand(self, caller: Caller, question: Question) -> Understanding:
        """Says what a search would make of a question."""
        return await self._doorway.memories.understand(caller, question)

    def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        return self._doorway.chats.stream(caller, query)

    async def models(self, caller: Caller) -> list[str]:  # type: ignore[valid-type]
        """Lists the models that can be asked."""
        await self._doorway.chats.check(caller)
        return self._doorway.chats.models

    async def history(
        self, caller: Caller, id: str, namespace: str | None, cursor: str | None, limit: int
    ) -> History:
        """Returns versions."""
        return await self._doorway.memories.history(
            caller, id, namespace, cursor=cursor, limit=limit
        )

    async def diff(
        self, caller: Caller, id: str, before: int, after: int, namespace: str | None
    ) -> Diff:
        """Compares two versions."""
        return await self._doorway.memories.diff(caller, id, before, after, namespace)

    async def log(
        self,
        caller: Caller,
        namespace: str | None,
        wanted: LogFilter,
        cursor: str | None,
        limit: int,
    ) -> LogPage:
        """Reads a log."""
        return await self._doorway.logs.log(
            caller, namespace, wanted=wanted, cursor=cursor, limit=limit
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
        return await self._doorway.provenance.provenance(
            caller,
            id,
            namespace,
            direction=direction,
            depth=depth,
            cursor=cursor,
            limit=limit,
        )

    async def change(self, caller: Caller, operation: AdminOperation) -> Change:
        """Changes policy."""
        done = await self._doorway.admin.change(caller, operation)
        return Change(tenant=done.tenant, version=done.version, id=done.id, secret=done.secret)

    async def documents(self, caller: Caller, namespace: str | None) -> Documents:
        """Lists policy documents."""
        return documents_of(await self._doorway.admin.documents(caller, namespace or ""))

    async def whoami(self, caller: Caller) -> Who:
        """Says who the caller is."""
        return await self._doorway.admin.whoami(caller)

    async def health(self) -> Health:
        """Says how the cluster is."""
        return Health.of(__version__, await self._doorway.components())

    def keep(self, content: bytes) -> str | None:
        """Stores an attachment's bytes in the blob store."""
        return self._doorway.blobs().put(content)

    async def close(self) -> None:
        """Stops following the policy, and the cluster if it was started for this client."""
        await self._doorway.close()
        if self._stop is not None:
            await asyncio.to_thread(self._stop)
            self._stop = None
