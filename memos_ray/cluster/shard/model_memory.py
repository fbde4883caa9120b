"""The part of a shard's handle for caches, lessons and adapters."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.activation import CacheReport
from memos_ray.core.parameter import (
    AdapterPart,
    ExternaliseReport,
    ProposalReport,
    TeachingReport,
)
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.requests import (
    ConvertRequest,
    ExternaliseRequest,
    ImportRequest,
    MergeRequest,
    TeachRequest,
)

_BUILD_TIMEOUT_S = 300.0


class ModelMemoryCalls(Calls):
    """Implements `ports.shard.model_memory`."""

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt."""
        await self._call("answered", partition, answered)

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes a block of memories and its KV cache."""
        written: Written = await self._call(
            "convert", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return written

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins a lesson."""
        report: TeachingReport = await self._call("teach", partition, request)
        return report

    async def merge_adapters(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters."""
        report: TeachingReport = await self._call(
            "merge_adapters", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return report

    async def import_adapter(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to take an adapter in."""
        report: TeachingReport = await self._call(
            "import_adapter", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return report

    async def adapter_part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file."""
        part: AdapterPart = await self._call(
            "adapter_part",
            *(partition, context, namespace, adapter_id, start),
            timeout_s=_BUILD_TIMEOUT_S,
        )
        return part

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Reports on lessons and adapters."""
        found: list[TeachingReport] = await self._call("lessons", partition, context, namespace)
        return found

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson."""
        await self._call("cancel_lesson", partition, context, namespace, lesson_id)

    async def proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Says what models should learn."""
        found: list[ProposalReport] = await self._call("proposals", partition, context, namespace)
        return found

    async def accept_proposal(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal_id: str,
        minted_id: str,
    ) -> TeachingReport:
        """Begins the lesson that is proposed."""
        report: TeachingReport = await self._call(
            "accept_proposal", partition, context, namespace, proposal_id, minted_id
        )
        return report

    async def refuse_proposal(
        self, partition: int, context: CallContext, namespace: str, proposal_id: str
    ) -> ProposalReport:
        """Has something not proposed again."""
        report: ProposalReport = await self._call(
            "refuse_proposal", partition, context, namespace, proposal_id
        )
        return report

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter."""
        report: ExternaliseReport = await self._call("externalise", partition, request)
        return report

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Reports on KV caches."""
        found: list[CacheReport] = await self._call("caches", partition, context, namespace, ids)
        return found

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of a KV cache."""
        report: CacheReport = await self._call("evict", partition, context, cube_id)
        return report
