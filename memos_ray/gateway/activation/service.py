"""ActivationService: what prompts begin with, and the KV caches of that, for all doors."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.core.activation import CacheReport
from memos_ray.core.scheduling import AnsweredPrompt, GivenMemory, KeptConversation, PromptStart
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.activation.models import (
    AdaptedCache,
    Cache,
    CacheList,
    CacheSource,
    Conversion,
)
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.models import MemoryChange, WriteReport
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort

PINNED = "pinned"


class ActivationService:
    """Converts memories to KV caches, and shows and steers what became of them.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        memories: MemoryService,
        clock: ClockPort,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._memories = memories
        self._placement = Placement(router, clock)

    async def start_prompt(
        self,
        caller: Caller,
        model: str,
        namespace: str | None,
        session: str | None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt of a namespace begins with, and the KV caches that there are.

        Args:
            namespace: the caller's own home when absent.
            session: of the caller's own conversation, if it is kept.
            adapter: the one that the prompt is for; the newest that may be used when absent.

        Raises:
            NotFoundError: there is no such adapter that may be used.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        return await self._router.call(
            partition,
            lambda shard, _: shard.start_prompt(partition, hop, place, model, session, adapter),
        )

    async def response_id(self, caller: Caller, namespace: str) -> str:
        """Makes an id for an answer; it names the partition where it is on record."""
        context, _ = await self._authenticator.context(caller)
        return self._placement.mint(await self._placement.home(context, namespace))

    async def answered(
        self,
        caller: Caller,
        model: str,
        namespace: str | None,
        hits: Sequence[tuple[str, int]],
        kept: KeptConversation | None,
        conversation: str,
        response: str = "",
        given: Sequence[GivenMemory] = (),
        echoes: Sequence[tuple[str, tuple[int, ...]]] = (),
        repeated: bool = False,
    ) -> None:
        """Has the shard learn from a prompt that has been answered.

        Args:
            hits: memories of the namespace that were found for the question, with their tokens.
            kept: the conversation, if it is to go on from here.
            conversation: tells it from the caller's others.
            response: id of the answer.
            given: all memories that the model was given.
            echoes: memories of the namespace of which parts came back in the answer.
            repeated: whether nearly the same was asked before.
        """
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        answered = AnsweredPrompt(
            context.hop(),
            place,
            model,
            tuple(hits),
            self._placement.mint(partition),
            self._placement.mint(partition),
            kept,
            conversation,
            response,
            tuple(given),
            tuple(echoes),
            repeated,
        )
        await self._router.call(partition, lambda shard, _: shard.answered(partition, answered))

    async def convert(self, caller: Caller, conversion: Conversion) -> WriteReport:
        """Makes memories the shared beginning of a namespace's prompts, with a KV cache.

        Raises:
            NotFoundError: one of the memories is not there, or there is no such model.
            InvalidInputError: their text is shorter than a KV block, or too long for the model.
        """
        context, _ = await self._authenticator.context(caller)
        place = conversion.namespace or context.home
        partition = await self._placement.home(context, place)
        request = ConvertRequest(
            context.hop(),
            place,
            tuple(dict.fromkeys(conversion.ids)),
            conversion.model,
            self._placement.mint(partition),
        )
        written = await self._router.call(
            partition, lambda shard, _: shard.convert(partition, request)
        )
        return mapping.report_of([written], caller.request_id)

    async def caches(self, caller: Caller, namespace: str | None = None) -> CacheList:
        """Returns the activation memories of a namespace and the state of their caches."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        partition = await self._placement.home(context, place)
        hop = context.hop()
        found = await self._router.call(
            partition, lambda shard, _: shard.caches(partition, hop, place, None)
        )
        return CacheList(caches=[_cache(report) for report in found])

    async def cache(self, caller: Caller, memory_id: str, namespace: str | None = None) -> Cache:
        """Explains one cache.

        Raises:
            NotFoundError: there is no such memory.
            InvalidInputError: it is not an activation memory.
        """
        memory = await self._memories.get(caller, memory_id, namespace)
        context, _ = await self._authenticator.context(caller)
        partition = await self._placement.home(context, memory.namespace)
        hop = context.hop()
        found = await self._router.call(
            partition,
            lambda shard, _: shard.caches(partition, hop, memory.namespace, [memory_id]),
        )
        if not found:
            raise InvalidInputError("this is not an activation memory", id=memory_id)
        return _cache(found[0])

    async def pin(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        pinned: bool = True,
    ) -> WriteReport:
        """Has a cache stay whatever else needs room, or no longer.

        It is kept with the activation memory, as a new version of it.

        Raises:
            InvalidInputError: it is not an activation memory.
        """
        cache = await self.cache(caller, memory_id, namespace)
        change = MemoryChange(attributes={PINNED: pinned}, expected_version=cache.version)
        return await self._memories.update(caller, memory_id, change, namespace)

    async def evict(self, caller: Caller, memory_id: str, namespace: str | None = None) -> Cache:
        """Lets go of a cache, hot and at rest; the next prompt has it computed again.

        Raises:
            InvalidInputError: it is not an activation memory.
        """
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def act(partition: int) -> CacheReport:
            return await self._router.call(
                partition, lambda shard, _: shard.evict(partition, hop, memory_id)
            )

        return _cache(await self._placement.find(context, memory_id, namespace, act))


def _cache(report: CacheReport) -> Cache:
    return Cache(
        id=report.cube_id,
        version=report.version,
        namespace=report.namespace,
        model=report.model,
        state=report.state,
        reason=report.reason,
        tokens=report.tokens,
        size_bytes=report.size_bytes,
        pinned=report.pinned,
        build_s=report.build_s,
        heat=report.heat,
        worth=report.worth,
        why=report.why,
        sources=[
            CacheSource(id=one.cube_id, converted=one.converted, current=one.current)
            for one in report.sources
        ],
        adapted=[
            AdaptedCache(
                adapter_id=one.adapter_id,
                adapter=one.adapter,
                state=one.state,
                memories=one.memories,
                size_bytes=one.size_bytes,
                build_s=one.build_s,
                heat=one.heat,
                worth=one.worth,
            )
            for one in report.adapted
        ],
    )
