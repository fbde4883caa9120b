"""Evolution over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.core.evolution import EvolutionMode, Verdict
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.evolution.models import (
    EvolutionProposal,
    EvolutionStatus,
    Feedback,
    FeedbackResult,
)

_PATH = "/v1/evolution"


class HttpEvolution:
    """Speaks REST; has the verbs of `EvolutionService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def feedback(
        self, caller: Caller, feedback: Feedback, namespace: str | None = None
    ) -> FeedbackResult:
        """Keeps what is said of a memory, or of an answer."""
        body = feedback.model_dump(mode="json", exclude_none=True)
        return await self._link.call(
            FeedbackResult, "POST", "/v1/feedback", caller, body, namespace=namespace
        )

    async def status(self, caller: Caller, namespace: str | None = None) -> EvolutionStatus:
        """Says how a namespace evolves."""
        return await self._link.call(EvolutionStatus, "GET", _PATH, caller, namespace=namespace)

    async def evolve(
        self, caller: Caller, namespace: str | None = None, mode: EvolutionMode | None = None
    ) -> EvolutionStatus:
        """Sets what happens by itself, or looks now."""
        call, place = self._link.call, namespace
        if mode is None:
            path = f"{_PATH}/look"
            return await call(EvolutionStatus, "POST", path, caller, namespace=place)
        path, body = f"{_PATH}/mode", {"mode": mode.value}
        return await call(EvolutionStatus, "PUT", path, caller, body, namespace=place)

    async def settle(
        self, caller: Caller, proposal_id: str, verdict: Verdict, namespace: str | None = None
    ) -> EvolutionProposal:
        """Accepts, refuses or undoes a proposal."""
        path = f"{_PATH}/{quote(proposal_id, safe=':')}/{verdict.value}"
        # Twice would be refused: it has been decided.
        return await self._link.call(
            EvolutionProposal, "POST", path, caller, namespace=namespace, repeatable=False
        )
