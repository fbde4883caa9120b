"""Searches: what a query means, who is asked, how the answers become one page."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from memos_ray.actors.turns import FairGate
from memos_ray.config import LimitSettings
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube import filters
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import (
    Between,
    Everything,
    HasAny,
    Not,
    Predicate,
    Present,
    all_of,
    any_of,
)
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.scheduling.fairness import priority_of
from memos_ray.gateway import mapping, paging
from memos_ray.gateway.fusion import merge
from memos_ray.gateway.models import SearchQuery, SearchResult
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.gateway.understanding import Embedded, Understood, embed, understand
from memos_ray.ports import ClockPort, EmbedderPort

_UNTIMED = Not(Present("event_time"))


class MemorySearch:
    """The search verb of the memory API: understands and embeds here, ranks in the shards."""

    def __init__(
        self,
        *,
        router: Router,
        placement: Placement,
        embedder: Callable[[], EmbedderPort],
        clock: ClockPort,
        limits: LimitSettings,
    ) -> None:
        self._router = router
        self._placement = placement
        self._embedder = embedder
        self._clock = clock
        self._limits = limits
        # Of the processor: more at once would only hold each other up, and the calls of others.
        self._turns = FairGate(limits.embeddings_at_once or os.cpu_count() or 1)

    async def search(self, context: CallContext, query: SearchQuery) -> SearchResult:
        """Finds memories in one or several namespaces."""
        async with self._turns.turn(context.principal.tenant, priority_of(context)):
            understood = understand(query, self._clock.now())
            embedded = await self._embed(understood)
        names = tuple(dict.fromkeys(understood.namespaces or (context.principal.id,)))
        digest = paging.query_digest(
            "search",
            names,
            query.query,
            query.filter,
            query.tags,
            query.since,
            query.until,
            query.as_of,
            query.parse,
            query.min_relevance,
            query.include_ended,
        )
        offset, limit = 0, min(understood.limit, self._limits.results)
        if query.cursor:
            offset = paging.decode_cursor(query.cursor, digest, paging.AfterHits).offset
        token = paging.decode_token(query.token)
        single = len(names) == 1
        request = SearchRequest(
            context=context.hop(),
            namespace=names[0],
            text=understood.text,
            vector=embedded.vector,
            space=embedded.space,
            predicate=all_of(
                filter_of(query.filter, query.tags, self._clock.now()),
                _span(query),
                Everything() if query.include_ended else self._holding(query, understood),
            ),
            hints=understood.hints,
            k=limit + 1 if single else offset + limit + 1,
            offset=offset if single else 0,
            explain=query.explain or not single,
            as_of=query.as_of,
            indexed=query.wait_indexed,
            nameless=embedded.nameless,
            legible=embedded.legible,
            min_relevance=query.min_relevance,
        )
        replies = await asyncio.gather(*(self._search_in(request, name, token) for name in names))
        hits = list(replies[0].hits) if single else merge(replies)[offset:]
        following = None
        if len(hits) > limit:
            following = paging.encode_cursor(digest, paging.AfterHits(offset=offset + limit))
        return SearchResult.model_construct(
            hits=[mapping.hit_of(hit, query.explain) for hit in hits[:limit]],
            cursor=following,
            unembedded=sum(reply.unembedded for reply in replies),
            partial=any(reply.partial for reply in replies),
            understood=understood.report if query.explain else {},
            request_id=context.request_id,
        )

    def _holding(self, query: SearchQuery, understood: Understood) -> Predicate:
        """What holds at the moment asked for, or has held in the time that the query names."""
        at, named = query.as_of or self._clock.now(), understood.hints.time_range
        return _holds(at if named is None else min(at, named.start))

    async def _search_in(
        self, request: SearchRequest, namespace: str, token: dict[int, int]
    ) -> SearchReply:
        partition = await self._placement.home(request.context, namespace)
        wanted = replace(request, namespace=namespace, after_lsn=token.get(partition, 0))
        return await self._router.call(partition, lambda shard, _: shard.search(partition, wanted))

    async def _embed(self, understood: Understood) -> Embedded:
        if not understood.text.strip():
            return Embedded()
        return await asyncio.to_thread(embed, understood, self._embedder())


def filter_of(filter: str | dict[str, Any] | None, tags: Sequence[str], now: datetime) -> Predicate:
    """Makes one predicate of a filter and the tags of which a memory must have one.

    Raises:
        InvalidFilterError: the filter cannot be read.
    """
    wanted = filters.parse(filter, now) if filter else Everything()
    return all_of(wanted, HasAny("tags", tuple(tags)) if tags else Everything())


def _span(query: SearchQuery) -> Predicate:
    if query.since is None and query.until is None:
        return Everything()
    lower = to_micros(query.since) if query.since else None
    upper = to_micros(query.until) if query.until else None
    # What carries no time of its own is judged by when it was stored.
    timed = Between("event_time", lower, upper)
    return any_of(timed, all_of(_UNTIMED, Between("created_at", lower, upper)))


def _holds(at: datetime) -> Predicate:
    """What has not ceased to hold: superseded facts are history, not answers."""
    return Not(Between("valid_to", None, to_micros(at) + 1))
