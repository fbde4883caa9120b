"""What a shard is asked about the order among memories."""

from __future__ import annotations

from abc import ABC, abstractmethod

from memos_ray.actors.organising.organising import Organiser
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext
from memos_ray.core.organising import OrganisingReport, ShownProposal


class OrganiseDoors(ABC):
    """The part of `ports.ShardPort` that is about organising; a shard is the rest."""

    _organiser: Organiser

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def organising_proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> OrganisingReport:
        """Returns what is proposed; see `ShardPort`."""
        owned = await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.report(place, context, await owned.unorganised())

    async def settle_organising(
        self, partition: int, context: CallContext, namespace: str, proposal: str, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.settle(place, context, proposal, accept=accept)

    async def automate_organising(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has what is sure done at once, or proposed; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        await self._organiser.automate(place, context, automatic=automatic)
