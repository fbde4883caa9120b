"""The service in this process, which is connected to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from memos_ray import __version__
from memos_ray.client.transport import Item
from memos_ray.core.access.administration import AdminOperation
from memos_ray.gateway.admin.models import (
    Change,
    Documents,
    NamespaceUsage,
    Who,
    documents_of,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.memories.bulk import add_each
from memos_ray.gateway.memories.models import WriteReport
from memos_ray.gateway.memories.record_models import Health


class LocalTransport:
    """Calls the services directly; see `Transport`.

    Args:
        stop: ends the cluster, when this transport's client started it; blocking.
    """

    def __init__(self, doorway: Doorway, stop: Callable[[], None] | None = None) -> None:
        self._doorway = doorway
        self.memories = doorway.memories
        self.logs = doorway.logs
        self.provenance = doorway.provenance
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

    def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        return self._doorway.chats.stream(caller, query)

    async def models(self, caller: Caller) -> list[str]:
        """Lists the models that can be asked."""
        await self._doorway.chats.check(caller)
        return self._doorway.chats.models

    async def change(self, caller: Caller, operation: AdminOperation) -> Change:
        """Changes policy."""
        done = await self._doorway.admin.change(caller, operation)
        return Change(tenant=done.tenant, version=done.version, id=done.id, secret=done.secret)

    async def documents(self, caller: Caller, namespace: str | None) -> Documents:
        """Lists policy documents."""
        return documents_of(await self._doorway.admin.documents(caller, namespace or ""))

    async def usage(self, caller: Caller, namespace: str | None) -> NamespaceUsage:
        """Says how much a namespace holds."""
        return await self._doorway.admin.usage(caller, namespace)

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
