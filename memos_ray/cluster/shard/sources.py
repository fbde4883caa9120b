"""The part of a shard's handle that is about trusted sources and cross-task reuse."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.reuse import Reuse, ReuseTask
from memos_ray.core.sources import ShownFinding, Source
from memos_ray.errors import MemosError


class SourceCalls(Calls):
    """Implements `ports.SourcesPort` and `ports.ReusePort`; a handle is the rest."""

    async def reuse(
        self, partition: int, context: CallContext, namespace: str, task: ReuseTask, limit: int
    ) -> Reuse:
        """Returns what tasks like this one have used."""
        found: Reuse = await self._call("reuse", partition, context, namespace, task, limit)
        return found

    async def put_source(self, partition: int, context: CallContext, source: Source) -> Source:
        """Keeps an edition, or its sections."""
        kept: Source = await self._call("put_source", partition, context, source)
        return kept

    async def compare_source(
        self, partition: int, context: CallContext, namespace: str, id: str
    ) -> Source:
        """Compares the next sections of a source."""
        source: Source = await self._call("compare_source", partition, context, namespace, id)
        return source

    async def sources(self, partition: int, context: CallContext, namespace: str) -> list[Source]:
        """Lists sources."""
        found: list[Source] = await self._call("sources", partition, context, namespace)
        return found

    async def source_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        id: str | None,
        limit: int,
        decided: bool,
    ) -> list[ShownFinding]:
        """Shows what sources supersede."""
        found: list[ShownFinding] = await self._call(
            "source_findings", partition, context, namespace, id, limit, decided
        )
        return found

    async def settle_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        ids: Sequence[str],
        accept: bool,
    ) -> list[ShownFinding | MemosError]:
        """Accepts or refuses findings."""
        outcomes: list[ShownFinding | MemosError] = await self._call(
            "settle_findings", partition, context, namespace, ids, accept
        )
        return outcomes
