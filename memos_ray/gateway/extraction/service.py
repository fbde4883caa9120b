"""ExtractionService: what a model makes of memories, for all doors."""

from __future__ import annotations

from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.extraction.models import (
    ExtractionJob,
    ExtractionRetried,
    ExtractionSource,
    ExtractionStatus,
)
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort


class ExtractionService:
    """Says how extraction stands, and has parked jobs tried again.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)

    async def status(self, caller: Caller, namespace: str | None = None) -> ExtractionStatus:
        """Returns counts of a namespace, with jobs and sources of the caller's own.

        Who administers the namespace sees everybody's.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        found = await self._router.call(
            partition, lambda shard, _: shard.extraction(partition, hop, place)
        )
        return ExtractionStatus(
            model=found.model,
            automatic=found.automatic,
            lag=found.lag,
            queued=found.queued,
            running=found.running,
            parked=found.parked,
            done=found.done,
            read=found.read,
            memories=found.memories,
            tokens=found.tokens,
            refused=dict(found.refused),
            sources=[
                ExtractionSource(
                    source=one.source,
                    owner=one.owner,
                    queued=one.queued,
                    running=one.running,
                    parked=one.parked,
                    read=one.read,
                    memories=one.memories,
                    refused=one.refused,
                    tokens=one.tokens,
                    done_at=one.done_at,
                )
                for one in found.sources
            ],
            jobs=[
                ExtractionJob(
                    id=one.id,
                    state=one.state,
                    source=one.source,
                    owner=one.owner,
                    memory_ids=list(one.ids),
                    attempts=one.attempts,
                    reason=one.reason,
                    not_before=one.not_before,
                )
                for one in found.jobs
            ],
        )

    async def retry(
        self, caller: Caller, job: str | None = None, namespace: str | None = None
    ) -> ExtractionRetried:
        """Has a parked job tried again, or all of the caller's.

        Raises:
            NotFoundError: there is no such parked job of the caller's.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        count = await self._router.call(
            partition, lambda shard, _: shard.retry_extraction(partition, hop, place, job)
        )
        return ExtractionRetried(retried=count)

    async def automate(
        self, caller: Caller, namespace: str | None = None, *, automatic: bool
    ) -> ExtractionStatus:
        """Has all that is stored in a namespace from now on read, or only what is marked.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
            InvalidInputError: no model is set up.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        await self._router.call(
            partition,
            lambda shard, _: shard.automate_extraction(partition, hop, place, automatic),
        )
        return await self.status(caller, namespace)
