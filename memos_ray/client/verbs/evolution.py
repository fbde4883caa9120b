"""How memories evolve by their use: `memos.evolution`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check, valid
from memos_ray.core.evolution import EvolutionMode, Verdict
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.evolution.models import (
    EvolutionProposal,
    EvolutionSetting,
    EvolutionStatus,
)

if TYPE_CHECKING:
    from memos_ray.client.http.evolution import HttpEvolution
    from memos_ray.gateway.evolution.service import EvolutionService


class AsyncEvolution:
    """Splits and summaries that the use of memories suggests, and what memories are worth."""

    def __init__(self, api: HttpEvolution | EvolutionService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def status(self, namespace: str | None = None) -> EvolutionStatus:
        """Says how a namespace evolves: what is proposed, and what memories are worth."""
        check(namespace=namespace)
        return await self._api.status(self._caller(), namespace)

    async def look(self, namespace: str | None = None) -> EvolutionStatus:
        """Looks now for what use suggests.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
        """
        check(namespace=namespace)
        return await self._api.evolve(self._caller(), namespace)

    async def mode(
        self, mode: EvolutionMode | str, *, namespace: str | None = None
    ) -> EvolutionStatus:
        """Sets what happens by itself: `manual`, `propose` or `automatic`. Raises as `look`."""
        check(namespace=namespace)
        wanted = valid(EvolutionSetting, mode=mode).mode
        return await self._api.evolve(self._caller(), namespace, wanted)

    async def accept(self, id: str, *, namespace: str | None = None) -> EvolutionProposal:
        """Does what is proposed; what it replaces is put away and not lost.

        Raises:
            NotFoundError: there is no such proposal.
            PermissionDeniedError: the caller does not own its memories.
            IllegalStateError: it has been decided, or does not hold any more.
        """
        check(id=id, namespace=namespace)
        return await self._api.settle(self._caller(), id, Verdict.ACCEPT, namespace)

    async def refuse(self, id: str, *, namespace: str | None = None) -> EvolutionProposal:
        """Leaves the memories as they are; it is not proposed again. Raises as `accept`."""
        check(id=id, namespace=namespace)
        return await self._api.settle(self._caller(), id, Verdict.REFUSE, namespace)

    async def undo(self, id: str, *, namespace: str | None = None) -> EvolutionProposal:
        """Takes an accepted proposal back. Raises as `accept`.

        Raises:
            VersionConflictError: a memory has been changed since.
        """
        check(id=id, namespace=namespace)
        return await self._api.settle(self._caller(), id, Verdict.UNDO, namespace)
