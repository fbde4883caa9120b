"""OrganisingService: duplicates and overtaken facts, for all doors."""

from __future__ import annotations

from memos_ray.core.organising import ShownProposal
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.organising.models import OrganisingList, OrganisingProposal
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort


class OrganisingService:
    """Shows what is proposed about memories, and has it done or left.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)

    async def proposals(self, caller: Caller, namespace: str | None = None) -> OrganisingList:
        """Returns what is proposed about memories of a namespace that the caller may read."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        found = await self._router.call(
            partition, lambda shard, _: shard.organising_proposals(partition, hop, place)
        )
        return OrganisingList(
            proposals=[_shown(one) for one in found.proposals],
            automatic=found.automatic,
            lag=found.lag,
        )

    async def settle(
        self, caller: Caller, proposal_id: str, namespace: str | None = None, *, accept: bool
    ) -> OrganisingProposal:
        """Accepts or refuses a proposal; one that was refused is not made again.

        Raises:
            NotFoundError: there is none that the caller may see.
            PermissionDeniedError: the caller may not change the memories.
            IllegalStateError: it has been decided, or does not hold any more.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        return _shown(
            await self._router.call(
                partition,
                lambda shard, _: shard.settle_organising(
                    partition, hop, place, proposal_id, accept
                ),
            )
        )

    async def automate(
        self, caller: Caller, namespace: str | None = None, *, automatic: bool
    ) -> OrganisingList:
        """Has what is sure done at once from now on, with the caller's rights, or only proposed.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        await self._router.call(
            partition, lambda shard, _: shard.automate_organising(partition, hop, place, automatic)
        )
        return await self.proposals(caller, namespace)


def _shown(one: ShownProposal) -> OrganisingProposal:
    proposal = one.proposal
    return OrganisingProposal(
        id=proposal.id,
        kind=proposal.kind,
        state=proposal.state,
        older=proposal.older,
        newer=proposal.newer,
        older_text=one.older.text,
        newer_text=one.newer.text,
        confidence=proposal.confidence,
        reasons=list(one.reasons),
        found_at=proposal.found_at,
    )
