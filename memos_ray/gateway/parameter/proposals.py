"""What models should learn, by what is used: shown, accepted and refused."""

from __future__ import annotations

from memos_ray.core.parameter import ProposalReport, TeachingReport
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.parameter.models import LearntMemory, LessonReport
from memos_ray.gateway.parameter.proposal_models import Proposal, ProposalList, ProposedMemory
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort


class ProposalService:
    """The part of `ParameterService` that is about proposals.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)

    async def proposals(self, caller: Caller, namespace: str | None = None) -> ProposalList:
        """Returns the proposals of a namespace whose memories the caller may read and teach."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        found = await self._router.call(
            partition, lambda shard, _: shard.proposals(partition, hop, place)
        )
        return ProposalList(proposals=[_proposal(report) for report in found])

    async def accept(
        self, caller: Caller, proposal_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Begins the lesson that is proposed; returns at once.

        Raises:
            NotFoundError: there is no such proposal in this namespace, or not any more.
            IllegalStateError: the model is learning something of this namespace already.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop, minted_id = context.hop(), self._placement.mint(partition)
        report = await self._router.call(
            partition,
            lambda shard, _: shard.accept_proposal(partition, hop, place, proposal_id, minted_id),
        )
        return shown(report)

    async def refuse(
        self, caller: Caller, proposal_id: str, namespace: str | None = None
    ) -> Proposal:
        """Has a proposal go, and nothing like it come again; returns what was proposed.

        Raises:
            NotFoundError: there is no such proposal in this namespace, or not any more.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        report = await self._router.call(
            partition, lambda shard, _: shard.refuse_proposal(partition, hop, place, proposal_id)
        )
        return _proposal(report)


def shown(report: TeachingReport) -> LessonReport:
    """Returns a lesson as callers see it."""
    return LessonReport(
        id=report.id,
        namespace=report.namespace,
        model=report.model,
        state=report.state,
        share=report.share,
        loss=report.loss,
        reason=report.reason,
        adapter=report.adapter,
        size_bytes=report.size_bytes,
        report=report.report,
        figures=dict(report.figures),
        memories=[LearntMemory(id=one.cube_id, version=one.version) for one in report.sources],
    )


def _proposal(report: ProposalReport) -> Proposal:
    return Proposal(
        id=report.id,
        namespace=report.namespace,
        model=report.model,
        memories=[
            ProposedMemory(
                id=one.source.cube_id,
                version=one.source.version,
                uses=one.uses,
                conversations=one.conversations,
                tokens=one.tokens,
                settled_s=one.settled_s,
                saved_s=one.saved_s,
                learnt=one.learnt,
            )
            for one in report.memories
        ],
        tokens=report.tokens,
        saved_s=report.saved_s,
        lesson_s=report.lesson_s,
        reasons=list(report.reasons),
        since=report.since,
    )
