"""What a shard is asked about trusted sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from memos_ray.actors.sources.sources import SourceDesk
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext
from memos_ray.core.sources import ShownFinding, Source
from memos_ray.errors import MemosError


class SourceDoors(ABC):
    """The part of `ports.ShardPort` that is about sources; a shard is the rest."""

    _sources: SourceDesk

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def put_source(self, partition: int, context: CallContext, source: Source) -> Source:
        """Keeps an edition, or its sections; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, source.namespace)
        return await self._sources.put(place, owned.epoch, context, source)

    async def compare_source(
        self, partition: int, context: CallContext, namespace: str, id: str
    ) -> Source:
        """Compares the next sections of a source; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._sources.compare(place, owned.epoch, context, id)

    async def sources(self, partition: int, context: CallContext, namespace: str) -> list[Source]:
        """Lists sources; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._sources.sources(place, owned.epoch, context)

    async def source_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        id: str | None,
        limit: int,
        decided: bool,
    ) -> list[ShownFinding]:
        """Shows what sources supersede; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._sources.findings(place, owned.epoch, context, id, limit, decided=decided)

    async def settle_findings(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        ids: Sequence[str],
        accept: bool,
    ) -> list[ShownFinding | MemosError]:
        """Accepts or refuses findings; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._sources.settle(place, owned.epoch, context, ids, accept=accept)
