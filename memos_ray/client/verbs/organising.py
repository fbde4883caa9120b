"""Order among memories: `memos.organise`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.organising.models import OrganisingList, OrganisingProposal

if TYPE_CHECKING:
    from memos_ray.client.http.organising import HttpOrganising
    from memos_ray.gateway.organising.service import OrganisingService


class AsyncOrganise:
    """Duplicates, and facts that newer ones have overtaken."""

    def __init__(
        self, api: HttpOrganising | OrganisingService, caller: Callable[[], Caller]
    ) -> None:
        self._api = api
        self._caller = caller

    async def list(self, namespace: str | None = None) -> OrganisingList:
        """Returns what is proposed in a namespace, the surest first."""
        check(namespace=namespace)
        return await self._api.proposals(self._caller(), namespace)

    async def accept(self, id: str, *, namespace: str | None = None) -> OrganisingProposal:
        """Does what is proposed; nothing is deleted.

        Raises:
            NotFoundError: there is no such proposal.
            IllegalStateError: it has been decided, or does not hold any more.
        """
        check(id=id, namespace=namespace)
        return await self._api.settle(self._caller(), id, namespace, accept=True)

    async def refuse(self, id: str, *, namespace: str | None = None) -> OrganisingProposal:
        """Leaves the memories as they are; it is not proposed again. Raises as `accept`."""
        check(id=id, namespace=namespace)
        return await self._api.settle(self._caller(), id, namespace, accept=False)

    async def automate(
        self, automatic: bool = True, *, namespace: str | None = None
    ) -> OrganisingList:
        """Has what is sure done at once from now on, with the caller's rights, or only proposed.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
        """
        check(namespace=namespace)
        return await self._api.automate(self._caller(), namespace, automatic=automatic)
