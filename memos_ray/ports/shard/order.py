"""A shard, as those see it who put memories in order: duplicates, extraction, evolution."""

from __future__ import annotations

from typing import Protocol

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


class OrderPort(Protocol):
    """Duplicates, extraction and evolution; raises as `ShardPort`."""

    async def organising_proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> OrganisingReport:
        """Returns what is proposed about memories that the caller may read."""
        ...

    async def settle_organising(
        self, partition: int, context: CallContext, namespace: str, proposal: str, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal, with the caller's rights."""
        ...

    async def automate_organising(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has what is sure done at once, or only proposed."""
        ...

    async def extraction(
        self, partition: int, context: CallContext, namespace: str
    ) -> ExtractionReport:
        """Says how extraction stands in a namespace."""
        ...

    async def retry_extraction(
        self, partition: int, context: CallContext, namespace: str, job: str | None
    ) -> int:
        """Has parked jobs tried again: one, or all that the caller may; returns how many."""
        ...

    async def automate_extraction(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has all that is stored in a namespace read by a model, or no longer."""
        ...

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what the caller says of memories that it may read; a second time replaces it."""
        ...

    async def evolution(
        self, partition: int, context: CallContext, namespace: str
    ) -> EvolutionReport:
        """Says how a namespace evolves: its mode, proposals, and what memories are worth."""
        ...

    async def evolve(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        mode: EvolutionMode | None = None,
    ) -> EvolutionReport:
        """Sets what happens by itself in a namespace; without a mode, looks for proposals now."""
        ...

    async def settle_evolution(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal: str,
        verdict: Verdict,
    ) -> ShownEvolution:
        """Accepts, refuses or undoes a proposal, for who owns its memories.

        Raises:
            NotFoundError: there is none that the caller may see.
            PermissionDeniedError: the caller does not own, or may not change, the memories.
            IllegalStateError: it has been decided, or does not hold any more.
            VersionConflictError: a memory has been changed since.
        """
        ...
