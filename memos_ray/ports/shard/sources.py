"""Trusted sources and cross-task reuse, as a shard serves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.reuse import Reuse, ReuseTask
from memos_ray.core.sources import ShownFinding, Source
from memos_ray.errors import MemosError


class ReusePort(Protocol):
    """The part of `ShardPort` that is about what earlier tasks have used."""

    async def reuse(
        self, partition: int, context: CallContext, namespace: str, task: ReuseTask, limit: int
    ) -> Reuse:
        """Returns what tasks like this one have used, of what the caller may read."""
        ...


class SourcesPort(Protocol):
    """The part of `ShardPort` that is about trusted sources."""

    async def put_source(self, partition: int, context: CallContext, source: Source) -> Source:
        """Keeps an edition without its sections, or the sections of one that has none yet."""
        ...

    async def compare_source(
        self, partition: int, context: CallContext, namespace: str, id: str
    ) -> Source:
        """Compares the next sections of a source with what is held; a bounded number."""
        ...

    async def sources(self, partition: int, context: CallContext, namespace: str) -> list[Source]:
        """Lists the sources of a namespace."""
        ...

    async def source_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        id: str | None,
        limit: int,
        decided: bool,
    ) -> list[ShownFinding]:
        """Shows what one source or all of them would supersede, or what was decided about it."""
        ...

    async def settle_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        ids: Sequence[str],
        accept: bool,
    ) -> list[ShownFinding | MemosError]:
        """Accepts or refuses findings; one outcome each, in order."""
        ...
