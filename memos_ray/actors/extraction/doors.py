"""What a shard is asked about extraction."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import Executor

from memos_ray.actors.extraction.extraction import Extraction
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.core.access.context import CallContext
from memos_ray.core.extraction import ExtractionReport


class ExtractionDoors(ABC):
    """The part of `ports.ShardPort` that is about extraction; a shard is the rest."""

    _parts: ShardParts
    _executor: Executor
    _extraction: Extraction

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def extraction(
        self, partition: int, context: CallContext, namespace: str
    ) -> ExtractionReport:
        """Says how extraction stands; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        loop, store = asyncio.get_running_loop(), self._parts.store
        last = await loop.run_in_executor(self._executor, store.last_lsn, partition)
        return await self._extraction.report(place, context, last)

    async def retry_extraction(
        self, partition: int, context: CallContext, namespace: str, job: str | None
    ) -> int:
        """Has parked jobs tried again; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._extraction.retry(place, context, job)

    async def automate_extraction(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has all that is stored read, or no longer; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        await self._extraction.automate(place, context, automatic=automatic)
