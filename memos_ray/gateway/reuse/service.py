"""ReuseService: what earlier tasks have used, for all doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.fingerprint import Fingerprint, simhash, sketch
from memos_ray.core.reuse import AlikeTask, Reuse, ReuseTask
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories.mapping import memory_of
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.reuse.models import EarlierTask, ReusedMemory, ReuseQuery, ReuseResult
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, EmbedderPort


class ReuseService:
    """Offers memories for a task. Every method takes the `Caller`."""

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        embedder: Callable[[], EmbedderPort],
        clock: ClockPort,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._embedder = embedder
        self._placement = Placement(router, clock)
        self._clock = clock

    async def find(self, caller: Caller, query: ReuseQuery) -> ReuseResult:
        """Returns what tasks like this one have used usefully, of what the caller may read.

        Raises:
            NotFoundError: a namespace may not be read in this role.
            EmbedderError: the embedding model is away or fails.
        """
        context, policy = await self._authenticator.context(caller)
        names = tuple(dict.fromkeys(query.namespaces or policy.scope(context, self._clock.now())))
        mark = await asyncio.to_thread(self._fingerprint, query.task)
        task = ReuseTask(query.task, context.purpose, mark)
        hop = context.hop()
        found = await asyncio.gather(*(self._in(hop, name, task, query.limit) for name in names))
        tasks: dict[str, AlikeTask] = {}
        for one in sorted((each for reply in found for each in reply.tasks), key=lambda t: t.alike):
            tasks[one.name] = one
        ranked = sorted(
            (offer for reply in found for offer in reply.offers),
            key=lambda offer: (-offer.score, offer.cube.id),
        )
        return ReuseResult(
            tasks=[
                EarlierTask(
                    name=one.name, alike=one.alike, memories=one.memories, reasons=[*one.reasons]
                )
                for one in sorted(tasks.values(), key=lambda one: (-one.alike, one.name))
            ],
            offers=[
                ReusedMemory(
                    memory=memory_of(offer.cube), score=offer.score, reasons=[*offer.reasons]
                )
                for offer in ranked[: query.limit]
            ],
            partial=any(reply.partial for reply in found),
        )

    async def _in(self, context: CallContext, name: str, task: ReuseTask, limit: int) -> Reuse:
        partition = await self._placement.home(context, name)
        return await self._router.call(
            partition, lambda shard, _: shard.reuse(partition, context, name, task, limit)
        )

    def _fingerprint(self, text: str) -> Fingerprint:
        return Fingerprint(simhash(text), sketch(self._embedder().embed([text])[0]))
