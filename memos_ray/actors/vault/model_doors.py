"""What a shard is asked about models: prompts, KV caches, lessons and adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from memos_ray.actors.activation.activation import ActivationMemory
from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.usage import UsageLedger
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


class ModelDoors(ABC):
    """The part of `ports.ShardPort` that is about models; a shard is the rest."""

    _activation: ActivationMemory
    _evolution: Evolution
    _parts: ShardParts
    _usage: UsageLedger
    _parameter: ParameterMemory

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None = None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt begins with; see `ShardPort`."""
        await self._serve(partition)
        taught = await self._parameter.taught(partition, context, namespace, model, adapter)
        if taught is not None:
            now = self._parts.clock.now()
            self._usage.used(partition, context, "chat", namespace, taught.id, now)
        return await self._activation.start_prompt(
            partition, context, namespace, model, session, taught, exactly=adapter is not None
        )

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt; see `ShardPort`."""
        await self._serve(partition)
        await self._evolution.answered(partition, answered)
        answered = self._evolution.promotable(partition, answered)
        await self._activation.answered(partition, answered)
        await self._parameter.answered(partition, answered)

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes a block of memories and its KV cache; see `ShardPort`."""
        await self._serve(partition)
        return await self._activation.convert(partition, request)

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins a lesson; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.teach(partition, request)

    async def merge_adapters(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.exchange.merge(partition, request)

    async def import_adapter(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to take an adapter in; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.exchange.bring(partition, request)

    async def adapter_part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file; see `ShardPort`."""
        await self._serve(partition)
        part = await self._parameter.exchange.part(partition, context, namespace, adapter_id, start)
        if start == 0:
            # Once for the file, however many parts it comes in.
            now = self._parts.clock.now()
            self._usage.used(partition, context, "export", namespace, adapter_id, now)
        return part

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Reports on lessons and adapters; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.lessons(partition, context, namespace)

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson; see `ShardPort`."""
        await self._serve(partition)
        await self._parameter.cancel_lesson(partition, context, namespace, lesson_id)

    async def proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Says what models should learn; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.proposals.list(partition, context, namespace)

    async def accept_proposal(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal_id: str,
        minted_id: str,
    ) -> TeachingReport:
        """Begins the lesson that is proposed; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.proposals.accept(
            partition, context, namespace, proposal_id, minted_id
        )

    async def refuse_proposal(
        self, partition: int, context: CallContext, namespace: str, proposal_id: str
    ) -> ProposalReport:
        """Has something not proposed again; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.proposals.refuse(partition, context, namespace, proposal_id)

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter; see `ShardPort`."""
        await self._serve(partition)
        return await self._parameter.externalise(partition, request)

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Reports on KV caches; see `ShardPort`."""
        await self._serve(partition)
        return await self._activation.caches(partition, context, namespace, ids)

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of a KV cache; see `ShardPort`."""
        await self._serve(partition)
        return await self._activation.evict(partition, context, cube_id)
