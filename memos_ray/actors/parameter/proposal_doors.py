"""What a shard answers about proposals, judged by policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from memos_ray.actors.parameter.proposal_rows import Proposal
from memos_ray.actors.parameter.proposals import Proposals
from memos_ray.actors.parameter.proposing import Proposing, Teach
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Nothing, Predicate, evaluate
from memos_ray.core.parameter import ProposalReport, TeachingReport
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.log import Commit
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.errors import NotFoundError
from memos_ray.ports import ClockPort


class ProposalDoors:
    """Shows proposals to who may teach there and read all that they are about.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        proposals: Proposals | None,
        proposing: Proposing | None,
        *,
        guard: PolicyGuard,
        clock: ClockPort,
        teach: Teach,
    ) -> None:
        self._proposals = proposals
        self._proposing = proposing
        self._guard = guard
        self._clock = clock
        self._teach = teach

    @property
    def counters(self) -> Counter[str]:
        """What became of proposals."""
        return Counter() if self._proposals is None else self._proposals.counters

    @property
    def models(self) -> frozenset[str]:
        """Those that something can be proposed for."""
        return frozenset() if self._proposing is None else self._proposing.models

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt of who may read there."""
        if self._proposing is None:
            return
        context, namespace = answered.context, answered.namespace
        policy = await self._guard.ensure_for(context)
        visible = policy.permit(context, Action.READ, namespace, self._clock.now())
        if not isinstance(visible, Nothing):
            place = Place(partition, context.principal.tenant, namespace)
            self._proposing.note(place, answered, self._teach)

    async def list(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Returns the proposals of a namespace; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        if self._proposals is None:
            return []
        if isinstance(policy.permit(context, Action.CREATE, namespace, now), Nothing):
            return []
        place = Place(partition, context.principal.tenant, namespace)
        found = await self._proposals.found(place)
        return [one.report for one, heads in found if _may_read(visible, heads)]

    async def accept(
        self, partition: int, context: CallContext, namespace: str, id: str, minted_id: str
    ) -> TeachingReport:
        """Has the model learn what is proposed; see `ShardPort`."""
        proposal, proposals = await self._known(partition, context, namespace, id)
        request = TeachRequest(
            context,
            namespace,
            tuple(source.cube_id for source in proposal.report.sources),
            proposal.model,
            minted_id,
            reason="a proposal was accepted",
        )
        begun = await self._teach(partition, request)
        await proposals.accept(proposal)
        return begun

    async def refuse(
        self, partition: int, context: CallContext, namespace: str, id: str
    ) -> ProposalReport:
        """Has it not proposed again; see `ShardPort`."""
        proposal, proposals = await self._known(partition, context, namespace, id)
        await proposals.refuse(proposal)
        return proposal.report

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition's proposals."""
        if self._proposals is not None:
            self._proposals.open(partition, epoch)

    def apply(self, commit: Commit) -> None:
        """Lets go of proposals about what a commit changes."""
        if self._proposals is not None:
            self._proposals.apply(commit)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        if self._proposals is not None:
            self._proposals.drop(partition)
        if self._proposing is not None:
            self._proposing.drop(partition)

    async def close(self) -> None:
        """Ends what is being decided, and returns when what was to be erased is."""
        if self._proposing is not None:
            await self._proposing.close()
        if self._proposals is not None:
            await self._proposals.close()

    async def _known(
        self, partition: int, context: CallContext, namespace: str, id: str
    ) -> tuple[Proposal, Proposals]:
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        policy.require_namespace(context, Action.CREATE, namespace, now)
        place = Place(partition, context.principal.tenant, namespace)
        if self._proposals is not None:
            for one, heads in await self._proposals.found(place):
                if one.report.id == id and _may_read(visible, heads):
                    return one, self._proposals
        raise NotFoundError("there is no such proposal", proposal=id)


def _may_read(visible: Predicate, heads: Sequence[MemCube]) -> bool:
    return all(evaluate(visible, facets_of(head)) for head in heads)
