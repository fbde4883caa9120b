"""Proposals over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter.models import LessonReport
from memos_ray.gateway.parameter.proposal_models import Proposal, ProposalList

_PATH = "/v1/adapters/proposals"


class HttpProposals:
    """The part of `HttpParameter` that is about proposals."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def proposals(self, caller: Caller, namespace: str | None = None) -> ProposalList:
        """Lists what models should learn."""
        return await self._link.call(ProposalList, "GET", _PATH, caller, namespace=namespace)

    async def accept(
        self, caller: Caller, proposal_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Begins the lesson that is proposed."""
        path = f"{_PATH}/{quote(proposal_id, safe='')}/accept"
        # Twice would not be found: the proposal has become a lesson.
        return await self._link.call(
            LessonReport, "POST", path, caller, namespace=namespace, repeatable=False
        )

    async def refuse(
        self, caller: Caller, proposal_id: str, namespace: str | None = None
    ) -> Proposal:
        """Has a proposal go."""
        path = f"{_PATH}/{quote(proposal_id, safe='')}/refuse"
        return await self._link.call(
            Proposal, "POST", path, caller, namespace=namespace, repeatable=False
        )
