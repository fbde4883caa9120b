"""The part of a shard's handle for duplicates, extraction and evolution."""

from __future__ import annotations

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.evolution import (
    EvolutionMode,
    EvolutionReport,
    FeedbackReport,
    FeedbackRequest,
    ShownEvolution,
    Verdict,
)
from memos_ray.core.extraction import ExtractionReport
from memos_ray.core.organising import OrganisingReport, ShownProposal


class OrderCalls(Calls):
    """Implements `ports.shard.order`."""

    async def organising_proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> OrganisingReport:
        """Returns what is proposed."""
        report: OrganisingReport = await self._call(
            "organising_proposals", partition, context, namespace
        )
        return report

    async def settle_organising(
        self, partition: int, context: CallContext, namespace: str, proposal: str, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal."""
        shown: ShownProposal = await self._call(
            "settle_organising", partition, context, namespace, proposal, accept
        )
        return shown

    async def automate_organising(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has what is sure done at once, or only proposed."""
        await self._call("automate_organising", partition, context, namespace, automatic)

    async def extraction(
        self, partition: int, context: CallContext, namespace: str
    ) -> ExtractionReport:
        """Says how extraction stands."""
        report: ExtractionReport = await self._call("extraction", partition, context, namespace)
        return report

    async def retry_extraction(
        self, partition: int, context: CallContext, namespace: str, job: str | None
    ) -> int:
        """Has parked jobs tried again."""
        count: int = await self._call("retry_extraction", partition, context, namespace, job)
        return count

    async def automate_extraction(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has all that is stored read, or no longer."""
        await self._call("automate_extraction", partition, context, namespace, automatic)

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what is said of memories."""
        report: FeedbackReport = await self._call("feedback", partition, request)
        return report

    async def evolution(
        self, partition: int, context: CallContext, namespace: str
    ) -> EvolutionReport:
        """Says how a namespace evolves."""
        report: EvolutionReport = await self._call("evolution", partition, context, namespace)
        return report

    async def evolve(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        mode: EvolutionMode | None = None,
    ) -> EvolutionReport:
        """Sets what happens by itself, or looks now."""
        report: EvolutionReport = await self._call("evolve", partition, context, namespace, mode)
        return report

    async def settle_evolution(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal: str,
        verdict: Verdict,
    ) -> ShownEvolution:
        """Accepts, refuses or undoes a proposal."""
        shown: ShownEvolution = await self._call(
            "settle_evolution", partition, context, namespace, proposal, verdict
        )
        return shown
