"""BrowsingService: topics, predicted tags, relations and paths, for all doors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memos_ray.core.organising.layers import Layer, layers
from memos_ray.core.organising.topics import Concept, Topic, label_of
from memos_ray.gateway import paging
from memos_ray.gateway.browsing.models import (
    ConceptSummary,
    EntityCount,
    EntityList,
    LayerList,
    Prediction,
    PredictionList,
    RelatedList,
    RelatedMemory,
    RoutePlan,
    RouteQuery,
    TopicList,
    TopicPage,
    TopicSummary,
)
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.models import SearchQuery
from memos_ray.gateway.memories.pathfinding import Pathfinder, plan_of
from memos_ray.gateway.memories.understanding import embed, understand
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, EmbedderPort, ShardPort

T = TypeVar("T")


class BrowsingService:
    """Shows the order among memories, as far as the caller may read them.

    Every method takes the `Caller`; errors are those of `MemoryService`.
    """

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
        self._clock = clock
        self._placement = Placement(router, clock)
        self._pathfinder = Pathfinder(router, self._placement, clock)

    async def topics(self, caller: Caller, namespace: str | None = None) -> TopicList:
        """Returns the topics of what the caller may read in a namespace, the largest first."""
        context, _ = await self._authenticator.context(caller)
        place, hop = namespace or context.home, context.hop()
        partition = await self._placement.home(context, place)
        found = await self._router.call(
            partition, lambda shard, _: shard.topics(partition, hop, place)
        )
        return TopicList(
            topics=[_topic(one) for one in found.topics],
            waiting=found.waiting,
            resident=found.resident,
        )

    async def topic(
        self,
        caller: Caller,
        name: str,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 20,
    ) -> TopicPage:
        """Returns a topic or a concept, by id or label, with a page of its memories.

        Raises:
            NotFoundError: there is none that the caller may see.
        """
        context, _ = await self._authenticator.context(caller)
        place, hop = namespace or context.home, context.hop()
        query = paging.query_digest("topic", place, name)
        offset = paging.decode_cursor(cursor, query, paging.AfterHits).offset if cursor else 0
        partition = await self._placement.home(context, place)
        found = await self._router.call(
            partition,
            lambda shard, _: shard.topic(partition, hop, place, name, offset, limit),
        )
        return TopicPage(
            topic=_topic(found.topic),
            concept=None if found.concept is None else _concept(found.concept),
            memories=[mapping.memory_of(one) for one in found.memories],
            cursor=paging.encode_cursor(query, paging.AfterHits(offset=offset + limit))
            if found.more
            else None,
        )

    async def predicted(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> PredictionList:
        """Returns what is predicted of a memory, and why."""
        found = await self._of_memory(
            caller,
            memory_id,
            namespace,
            lambda shard, partition, context: shard.predicted_tags(partition, context, memory_id),
        )
        return PredictionList(
            id=memory_id,
            predicted=[
                Prediction(
                    kind=one.kind,
                    value=one.value,
                    confidence=one.confidence,
                    model=one.model,
                    reasons=list(one.reasons),
                )
                for one in found
            ],
        )

    async def entities(
        self, caller: Caller, namespace: str | None = None, *, limit: int = 50
    ) -> EntityList:
        """Returns the names that most memories tell, and who speaks."""
        context, _ = await self._authenticator.context(caller)
        place, hop = namespace or context.home, context.hop()
        partition = await self._placement.home(context, place)
        found = await self._router.call(
            partition, lambda shard, _: shard.entities(partition, hop, place, limit)
        )
        return EntityList(
            entities=[
                EntityCount(name=one.name, memories=one.memories, speaks=one.speaks)
                for one in found
            ]
        )

    async def related(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        limit: int = 10,
    ) -> RelatedList:
        """Returns what a memory has to do with others; `limit` is of those that share words."""
        found = await self._of_memory(
            caller,
            memory_id,
            namespace,
            lambda shard, partition, context: shard.related(partition, context, memory_id, limit),
        )
        return RelatedList(
            id=memory_id,
            related=[
                RelatedMemory(
                    relation=one.link.relation,
                    why=one.link.why,
                    steps=one.link.steps,
                    memory=mapping.memory_of(one.cube),
                )
                for one in found
            ],
        )

    async def route(self, caller: Caller, query: RouteQuery) -> RoutePlan:
        """Plans where `search(…, route=True)` goes, without searching."""
        context, policy = await self._authenticator.context(caller)
        understood = understand(SearchQuery(query=query.query), self._clock.now())
        vector = None
        if understood.text.strip():
            embedded = await asyncio.to_thread(embed, understood, self._embedder())
            vector = embedded.vector
        path = await self._pathfinder.path(context, policy, understood.call, vector, explain=True)
        return plan_of(path)

    async def layers(self, caller: Caller) -> LayerList:
        """Returns the namespaces that the caller may read, by layer."""
        context, policy = await self._authenticator.context(caller)
        found: dict[Layer, list[str]] = {layer: [] for layer in Layer}
        for one in layers(policy, context, self._clock.now()):
            found[one.layer].append(one.namespace)
        return LayerList(layers=found)

    async def _of_memory(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None,
        ask: Callable[..., Awaitable[T]],
    ) -> T:
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def there(partition: int) -> T:
            async def act(shard: ShardPort, _: object) -> T:
                return await ask(shard, partition, hop)

            return await self._router.call(partition, act)

        return await self._placement.find(context, memory_id, namespace, there)


def _concept(one: Concept | Topic) -> ConceptSummary:
    return ConceptSummary(
        id=one.id, label=label_of(one), memories=one.memories, typical=list(one.typical)
    )


def _topic(one: Topic) -> TopicSummary:
    concepts = [_concept(concept) for concept in one.concepts]
    return TopicSummary(**dict(_concept(one)), concepts=concepts, titled_by=one.titled_by)
