"""What a shard is asked about the usefulness of memories, and how they evolve by it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext
from memos_ray.core.evolution import (
    EvolutionMode,
    EvolutionReport,
    FeedbackReport,
    FeedbackRequest,
    ShownEvolution,
    Verdict,
)


class EvolutionDoors(ABC):
    """The part of `ports.ShardPort` that is about evolution; a shard is the rest."""

    _evolution: Evolution

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what a caller says of memories; see `ShardPort`."""
        await self._serve(partition)
        return await self._evolution.feedback(partition, request)

    async def evolution(
        self, partition: int, context: CallContext, namespace: str
    ) -> EvolutionReport:
        """Says how a namespace evolves; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._evolution.report(place, context)

    async def evolve(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        mode: EvolutionMode | None = None,
    ) -> EvolutionReport:
        """Sets what happens by itself, or looks now; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        if mode is None:
            await self._evolution.look(place, context)
        else:
            await self._evolution.set_mode(place, context, mode)
        return await self._evolution.report(place, context)

    async def settle_evolution(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal: str,
        verdict: Verdict,
    ) -> ShownEvolution:
        """Accepts, refuses or undoes a proposal; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._evolution.settle(place, context, proposal, verdict)
