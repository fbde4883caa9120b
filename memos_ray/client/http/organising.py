"""Organising over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.organising.models import OrganisingList, OrganisingProposal

_PATH = "/v1/organise"


class HttpOrganising:
    """Speaks REST; has the verbs of `OrganisingService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def proposals(self, caller: Caller, namespace: str | None = None) -> OrganisingList:
        """Lists what is proposed."""
        return await self._link.call(OrganisingList, "GET", _PATH, caller, namespace=namespace)

    async def settle(
        self, caller: Caller, proposal_id: str, namespace: str | None = None, *, accept: bool
    ) -> OrganisingProposal:
        """Accepts or refuses a proposal."""
        path = f"{_PATH}/{quote(proposal_id, safe=':')}/{'accept' if accept else 'refuse'}"
        # Twice would be refused: it has been decided.
        return await self._link.call(
            OrganisingProposal, "POST", path, caller, namespace=namespace, repeatable=False
        )

    async def automate(
        self, caller: Caller, namespace: str | None = None, *, automatic: bool
    ) -> OrganisingList:
        """Has what is sure done at once, or only proposed."""
        path, body = f"{_PATH}/automatic", {"automatic": automatic}
        return await self._link.call(OrganisingList, "PUT", path, caller, body, namespace=namespace)
