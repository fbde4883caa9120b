"""EvolutionService: feedback, and what becomes of memories by their use, for all doors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from memos_ray.core.access.context import CallContext
from memos_ray.core.evolution import (
    EvolutionMode,
    EvolutionReport,
    FeedbackReport,
    FeedbackRequest,
    ShownEvolution,
    Verdict,
)
from memos_ray.errors import NotFoundError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.evolution.models import (
    EvolutionProposal,
    EvolutionSource,
    EvolutionStatus,
    Feedback,
    FeedbackResult,
)
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.records.logs import LogService
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort

_GIVEN_MOST = 400


class EvolutionService:
    """Keeps what callers say of memories, and shows and steers what follows from their use.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    def __init__(
        self, *, router: Router, authenticator: Authenticator, logs: LogService, clock: ClockPort
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._logs = logs
        self._placement = Placement(router, clock)

    async def feedback(
        self, caller: Caller, feedback: Feedback, namespace: str | None = None
    ) -> FeedbackResult:
        """Keeps what the caller says of a memory, or of an answer of its own.

        Raises:
            NotFoundError: there is no such memory, or no such answer of this caller.
        """
        context, _ = await self._authenticator.context(caller)
        value = 1.0 if feedback.useful else -1.0
        if feedback.memory_id is not None:
            report = await self._said(context, feedback, feedback.memory_id, namespace, value)
            return FeedbackResult(worth=dict(report.worth))
        assert feedback.response is not None
        wanted = LogFilter(response=feedback.response, principal=context.principal.id)
        page = await self._logs.log(caller, namespace, wanted=wanted, limit=_GIVEN_MOST)
        given = {
            one.memory_id: str(one.detail.get("namespace") or one.namespace)
            for one in page.entries
            if one.memory_id is not None
        }
        worth: dict[str, float] = {}
        for memory_id, place in given.items():
            try:
                report = await self._said(context, feedback, memory_id, place, value / len(given))
            except NotFoundError:
                # It is gone since, or not for this caller any more.
                continue
            worth |= report.worth
        if not worth:
            raise NotFoundError("there is no such answer", response=feedback.response)
        return FeedbackResult(worth=worth)

    async def status(self, caller: Caller, namespace: str | None = None) -> EvolutionStatus:
        """Says how a namespace evolves: proposals about memories that the caller may read."""
        context, _ = await self._authenticator.context(caller)
        place, partition = await self._place(context, namespace)
        hop = context.hop()
        return _status(
            await self._router.call(
                partition, lambda shard, _: shard.evolution(partition, hop, place)
            )
        )

    async def evolve(
        self, caller: Caller, namespace: str | None = None, mode: EvolutionMode | None = None
    ) -> EvolutionStatus:
        """Sets what happens by itself in a namespace; without a mode, looks for proposals now.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
        """
        context, _ = await self._authenticator.context(caller)
        place, partition = await self._place(context, namespace)
        hop = context.hop()
        return _status(
            await self._router.call(
                partition, lambda shard, _: shard.evolve(partition, hop, place, mode)
            )
        )

    async def settle(
        self, caller: Caller, proposal_id: str, verdict: Verdict, namespace: str | None = None
    ) -> EvolutionProposal:
        """Accepts, refuses or undoes a proposal.

        Raises:
            NotFoundError: there is none that the caller may see.
            PermissionDeniedError: the caller does not own its memories.
            IllegalStateError: it has been decided, or does not hold any more.
            VersionConflictError: a memory has been changed since.
        """
        context, _ = await self._authenticator.context(caller)
        place, partition = await self._place(context, namespace)
        hop = context.hop()
        return _proposal(
            await self._router.call(
                partition,
                lambda shard, _: shard.settle_evolution(
                    partition, hop, place, proposal_id, verdict
                ),
            )
        )

    async def _said(
        self,
        context: CallContext,
        feedback: Feedback,
        memory_id: str,
        namespace: str | None,
        value: float,
    ) -> FeedbackReport:
        request = FeedbackRequest(
            context.hop(), (memory_id,), value, feedback.response, feedback.note
        )
        return await self._placement.find(
            context, memory_id, namespace, _say(self._router, request)
        )

    async def _place(self, context: CallContext, namespace: str | None) -> tuple[str, int]:
        place = namespace or context.home
        return place, await self._placement.home(context, place)


def _say(router: Router, request: FeedbackRequest) -> Callable[[int], Awaitable[FeedbackReport]]:
    async def act(partition: int) -> FeedbackReport:
        return await router.call(partition, lambda shard, _: shard.feedback(partition, request))

    return act


def _status(report: EvolutionReport) -> EvolutionStatus:
    return EvolutionStatus(
        mode=report.mode,
        proposals=[_proposal(one) for one in report.proposals],
        worth=dict(report.worth),
    )


def _proposal(shown: ShownEvolution) -> EvolutionProposal:
    one = shown.proposal
    return EvolutionProposal(
        id=one.id,
        kind=one.kind,
        state=one.state,
        sources=[EvolutionSource(id=id, version=version) for id, version in one.sources],
        reasons=list(one.reasons),
        texts=list(shown.texts),
        made=[EvolutionSource(id=id, version=version) for id, version in one.made],
        found_at=one.found_at,
        model=one.model,
        form=one.form,
    )
