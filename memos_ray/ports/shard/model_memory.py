"""A shard, as those see it who make prompts, caches and adapters of memories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.activation import CacheReport
from memos_ray.core.parameter import (
    AdapterPart,
    ExternaliseReport,
    ProposalReport,
    TeachingReport,
)
from memos_ray.core.scheduling import AnsweredPrompt, PromptStart
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.requests import (
    ConvertRequest,
    ExternaliseRequest,
    ImportRequest,
    MergeRequest,
    TeachRequest,
)


class ModelMemoryPort(Protocol):
    """Prompts, caches, lessons and adapters; raises as `ShardPort`."""

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None = None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt of a namespace begins with, and the KV caches that there are.

        Nothing of what the caller may not read; of what all prompts begin with, all or nothing.

        Args:
            session: of the caller's own conversation, if it is kept.
            adapter: the one that the prompt is for; the newest that may be used when absent.

        Raises:
            NotFoundError: there is no such adapter that may be used.
        """
        ...

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt: keeps the conversation, and counts what was used."""
        ...

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes memories the shared beginning of a namespace's prompts, and builds its KV cache."""
        ...

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins to teach a model memories of a namespace; returns at once."""
        ...

    async def merge_adapters(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters into one; returns at once."""
        ...

    async def import_adapter(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to check an adapter that was made elsewhere; returns at once."""
        ...

    async def adapter_part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file, with what PEFT says of it."""
        ...

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Reports on the lessons and adapters of a namespace."""
        ...

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson."""
        ...

    async def proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Says what models should learn of a namespace, to who may teach there."""
        ...

    async def accept_proposal(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal_id: str,
        minted_id: str,
    ) -> TeachingReport:
        """Begins the lesson that is proposed; returns at once.

        Args:
            minted_id: for the lesson.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        ...

    async def refuse_proposal(
        self, partition: int, context: CallContext, namespace: str, proposal_id: str
    ) -> ProposalReport:
        """Has a proposal go, and nothing like it come again.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        ...

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter; asking it goes on behind the answer."""
        ...

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Reports on the activation memories of a namespace, all or some, and their caches."""
        ...

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of the cache of an activation memory, hot and at rest."""
        ...
