"""ParameterService: models learn memories, for all doors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import numpy as np

from memos_ray.core.access.context import CallContext
from memos_ray.core.parameter import AdapterPart, TeachingState
from memos_ray.core.parameter.peft_format import check_peft
from memos_ray.core.vault.requests import (
    ExternaliseRequest,
    ImportRequest,
    MergeRequest,
    TeachRequest,
)
from memos_ray.errors import MemosError, NotFoundError, StoreCorruptError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter.models import (
    AdapterFiles,
    ExternalisedMemory,
    ExternaliseResult,
    Externalising,
    LearntMemory,
    LessonList,
    LessonReport,
    Merging,
    Teaching,
)
from memos_ray.gateway.parameter.proposals import ProposalService, shown

_USABLE = (TeachingState.LIVE, TeachingState.STALE)


class ParameterService(ProposalService):
    """Has models taught, and shows what they have learnt.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    async def teach(self, caller: Caller, teaching: Teaching) -> LessonReport:
        """Begins to teach a model memories; returns at once.

        Raises:
            NotFoundError: one of the memories is not there, or no such model can be taught.
            InvalidInputError: none of them is a text.
            IllegalStateError: the model is learning something of this namespace already.
        """
        context, _ = await self._authenticator.context(caller)
        place = teaching.namespace or context.home
        partition = await self._placement.home(context, place)
        request = TeachRequest(
            context.hop(),
            place,
            tuple(dict.fromkeys(teaching.ids)),
            teaching.model,
            self._placement.mint(partition),
        )
        report = await self._router.call(
            partition, lambda shard, _: shard.teach(partition, request)
        )
        return shown(report)

    async def merge(self, caller: Caller, merging: Merging) -> LessonReport:
        """Begins to combine live adapters into one; returns at once.

        Raises:
            NotFoundError: one of the adapters is not there, or may not be known of.
            InvalidInputError: they do not go together.
            IllegalStateError: one is not live, or the model is learning something of this
                namespace already.
        """
        context, _ = await self._authenticator.context(caller)
        place = merging.namespace or context.home
        partition = await self._placement.home(context, place)
        request = MergeRequest(
            context.hop(),
            place,
            tuple(merging.ids),
            merging.method,
            tuple(merging.weights),
            merging.density,
            self._placement.mint(partition),
        )
        report = await self._router.call(
            partition, lambda shard, _: shard.merge_adapters(partition, request)
        )
        return shown(report)

    async def bring(
        self, caller: Caller, sources: Teaching, config: bytes, tensors: bytes
    ) -> LessonReport:
        """Begins to check an adapter that was made elsewhere, in PEFT's files; returns at once.

        Args:
            sources: the memories that it is about, and the model that it is for.

        Raises:
            NotFoundError: one of the memories is not there, or no such model can be taught.
            InvalidInputError: the files are none of a plain LoRA adapter, or a memory is no text.
            PayloadTooLargeError: it is larger than the model's replicas take.
            IllegalStateError: the model is learning something of this namespace already.
        """
        context, _ = await self._authenticator.context(caller)
        place = sources.namespace or context.home
        partition = await self._placement.home(context, place)
        check_peft(config, np.frombuffer(tensors, np.uint8))
        request = ImportRequest(
            context.hop(),
            place,
            tuple(dict.fromkeys(sources.ids)),
            sources.model,
            config,
            tensors,
            self._placement.mint(partition),
        )
        report = await self._router.call(
            partition, lambda shard, _: shard.import_adapter(partition, request)
        )
        return shown(report)

    async def files(
        self, caller: Caller, adapter_id: str, namespace: str | None = None
    ) -> AdapterFiles:
        """Returns an adapter's files; the large one comes in pieces.

        Raises:
            NotFoundError: there is no such adapter in this namespace.
            IllegalStateError: a memory that it has learnt does not hold any more.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        first = await self._part(context, place, adapter_id, 0)
        return AdapterFiles(
            first.config, self._pieces(context, place, adapter_id, first), first.size_bytes
        )

    async def lessons(self, caller: Caller, namespace: str | None = None) -> LessonList:
        """Returns the lessons and adapters of a namespace."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        found = await self._router.call(
            partition, lambda shard, _: shard.lessons(partition, hop, place)
        )
        return LessonList(lessons=[shown(report) for report in found])

    async def usable(self, caller: Caller, namespaces: Sequence[str] = ()) -> list[LessonReport]:
        """Returns the adapters that prompts may use, of the caller's home and of `namespaces`.

        What cannot be had of the home is left out.

        Raises:
            MemosError: a namespace that is named may not be read, or does not answer.
        """
        home = (await self._authenticator.context(caller))[0].home
        found = []
        for place in dict.fromkeys((home, *namespaces)):
            try:
                found += (await self.lessons(caller, place)).lessons
            except MemosError:
                if place in namespaces:
                    raise
        return [one for one in found if one.state in _USABLE]

    async def lesson(
        self, caller: Caller, lesson_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Returns a lesson, with the report of its adapter.

        Raises:
            NotFoundError: there is none in this namespace.
        """
        for one in (await self.lessons(caller, namespace)).lessons:
            if one.id == lesson_id:
                return one
        raise NotFoundError("there is no such lesson", lesson=lesson_id)

    async def cancel(
        self, caller: Caller, lesson_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Ends a lesson; one that has ended is left as it is.

        Raises:
            NotFoundError: there is none in this namespace.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        await self._router.call(
            partition, lambda shard, _: shard.cancel_lesson(partition, hop, place, lesson_id)
        )
        return await self.lesson(caller, lesson_id, namespace)

    async def externalise(
        self,
        caller: Caller,
        adapter_id: str,
        how: Externalising,
        namespace: str | None = None,
    ) -> ExternaliseResult:
        """Makes plaintext memories from an adapter; asking it again makes nothing new.

        Raises:
            NotFoundError: there is no such adapter in this namespace.
            PermissionDeniedError: the caller may not store memories there.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        request = ExternaliseRequest(context.hop(), place, adapter_id, how.probe)
        report = await self._router.call(
            partition, lambda shard, _: shard.externalise(partition, request)
        )
        return ExternaliseResult(
            adapter=report.adapter_id,
            namespace=report.namespace,
            memories=[
                ExternalisedMemory(
                    id=one.cube_id,
                    source=LearntMemory(id=one.source.cube_id, version=one.source.version),
                    way=one.way,
                    confidence=one.confidence,
                )
                for one in report.memories
            ],
            probing=report.probing,
            reason=report.reason,
        )

    async def _part(
        self, context: CallContext, place: str, adapter_id: str, start: int
    ) -> AdapterPart:
        partition = await self._placement.home(context, place)
        hop = context.hop()
        return await self._router.call(
            partition, lambda shard, _: shard.adapter_part(partition, hop, place, adapter_id, start)
        )

    async def _pieces(
        self, context: CallContext, place: str, adapter_id: str, part: AdapterPart
    ) -> AsyncGenerator[bytes, None]:
        digest, start = part.digest, 0
        while part.data:
            yield part.data
            start += len(part.data)
            if start >= part.size_bytes:
                return
            part = await self._part(context, place, adapter_id, start)
            if part.digest != digest:
                raise StoreCorruptError("the adapter has become another one")
