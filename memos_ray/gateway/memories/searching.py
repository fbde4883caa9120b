"""Searches: what a query means, who is asked, how the answers become one page."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from memos_ray.actors.turns import FairGate
from memos_ray.config import LimitSettings
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.names import base_of
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube import filters
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import (
    Between,
    Everything,
    HasAny,
    Not,
    OneOf,
    Predicate,
    Present,
    all_of,
    any_of,
)
from memos_ray.core.lifecycle.branches import BranchView, shown
from memos_ray.core.organising.paths import Path
from memos_ray.core.retrieval.requests import Hit, SearchReply, SearchRequest
from memos_ray.core.scheduling.fairness import priority_of
from memos_ray.errors import InvalidCursorError
from memos_ray.gateway import paging
from memos_ray.gateway.fusion import Shown, merge, page
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.completing import Completing
from memos_ray.gateway.memories.models import SearchQuery, SearchResult
from memos_ray.gateway.memories.pathfinding import Pathfinder, report_of
from memos_ray.gateway.memories.turn_models import said
from memos_ray.gateway.memories.understanding import (
    Embedded,
    Understood,
    embed,
    steps,
    understand,
    with_date,
)
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, EmbedderPort

_log = logging.getLogger(__name__)
# Several may speak of one event, and must agree on its date.
_EVENT_HITS = 10
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
        completing: Completing | None = None,
    ) -> None:
        self._router = router
        self._placement = placement
        self._embedder = embedder
        self._clock = clock
        self._limits = limits
        self._completing = completing
        self._watchers: list[Callable[[str, str], None]] = []
        self._paths = Pathfinder(router, placement, clock)
        # Of the processor: more at once would only hold each other up, and the calls of others.
        self._turns = FairGate(limits.embeddings_at_once or os.cpu_count() or 1)

    async def search(
        self,
        context: CallContext,
        policy: TenantPolicy,
        query: SearchQuery,
        branch: BranchView | None = None,
    ) -> SearchResult:
        """Finds memories in one or several namespaces, or in a branch of one."""
        scope = policy.scope(context, self._clock.now())
        understood = await self.understand(context, query, scope, branch)
        names = _names(understood, scope, branch)
        routed = query.route and not understood.namespaces and branch is None
        digest = paging.query_digest(
            "search",
            "routed" if routed else names,
            query.query,
            query.filter,
            query.tags,
            query.since,
            query.until,
            query.as_of,
            query.parse,
            query.min_relevance,
            query.include_ended,
            query.include_archived,
            branch and branch.branch.space,
            *(turn.model_dump_json() for turn in query.turns),
        )
        limit, after = min(understood.limit, self._limits.results), None
        if query.cursor:
            after = paging.decode_cursor(query.cursor, digest, paging.AfterRanked)
        async with self._turns.turn(context.principal.tenant, priority_of(context)):
            embedded = await self._embed(understood)
        path: Path | None = None
        if routed and after is not None:
            # Topics may have changed since; pages go on where the first one went.
            names = tuple(after.route) or names
        elif routed:
            path = await self._paths.path(
                context, policy, understood.call, embedded.vector, explain=query.explain
            )
            names = tuple(step.namespace for step in path.steps) or names
            context = context.hop()
        token = paging.decode_token(query.token)
        # What has been put away is searched as if it were a namespace of its own.
        away = (False, True) if query.include_archived else (False,)
        single = len(names) == len(away) == 1 and branch is None
        request = SearchRequest(
            context=context.hop(),
            namespace=names[0],
            text=understood.text,
            vector=embedded.vector,
            space=embedded.space,
            predicate=all_of(
                filter_of(query.filter, query.tags, self._clock.now(), predicted=True),
                _span(query),
                Everything() if query.include_ended else self._holding(query, understood),
            ),
            hints=understood.hints,
            explain=query.explain or not single,
            as_of=query.as_of,
            indexed=query.wait_indexed,
            nameless=embedded.nameless,
            legible=embedded.legible,
            min_relevance=query.min_relevance,
        )
        requests = [
            replace(one, archived=archived)
            for name in names
            for one in _in(replace(request, namespace=name), branch)
            for archived in away
        ]
        seen = Shown.nothing(len(requests)) if after is None else _seen(after, len(requests))
        wanted = [seen.wanted(place, limit) for place in range(len(requests))]
        replies = await asyncio.gather(
            *(
                self._search_in(replace(one, offset=offset, k=k), token)
                for one, (offset, k) in zip(requests, wanted, strict=True)
            )
        )
        hits, left = page(replies, seen, limit)
        following = None if left is None else _cursor(digest, left, names if routed else ())
        return SearchResult.model_construct(
            hits=[
                mapping.hit_of(hit if branch is None else _shown(hit), query.explain)
                for hit in hits
            ],
            cursor=following,
            unembedded=sum(reply.unembedded for reply in replies),
            partial=any(reply.partial for reply in replies),
            understood=_told(understood, path) if query.explain else {},
            request_id=context.request_id,
        )

    async def understand(
        self,
        context: CallContext,
        query: SearchQuery,
        scope: Sequence[str],
        branch: BranchView | None = None,
    ) -> Understood:
        """Takes a query apart, and looks up the date of an event that a time counts from."""
        understood = understand(query, self._clock.now())
        if self._completing is not None and understood.rewriting.decisions:
            tenant, turns = context.principal.tenant, said(query.turns)
            completed = await self._completing.complete(
                tenant, query.query, turns, understood.rewriting
            )
            understood = understand(query, self._clock.now(), completed)
        if understood.anchored is not None:
            names = _names(understood, scope, branch)
            found = await self._of_event(context, query, understood.anchored.event, names, branch)
            understood = with_date(understood, found, self._clock.now())
        self._observe(understood)
        return understood

    def watch(self, watcher: Callable[[str, str], None]) -> None:
        """Has somebody told how each step of reading a query came out, as `step, outcome`."""
        self._watchers.append(watcher)

    def _observe(self, understood: Understood) -> None:
        for step, outcome in steps(understood):
            _log.info("a question was read: %s %s", step, outcome)
            for watcher in self._watchers:
                watcher(step, outcome)

    async def _of_event(
        self,
        context: CallContext,
        query: SearchQuery,
        event: str,
        names: tuple[str, ...],
        branch: BranchView | None,
    ) -> list[MemCube]:
        """Searches for an event where the query itself will be searched, with the same rights."""
        embedded = await self._embed(Understood(event, _EVENT_HITS))
        token = paging.decode_token(query.token)
        request = SearchRequest(
            context=context.hop(),
            namespace="",
            # Several replies are merged by the parts of their scores.
            explain=True,
            text=event,
            vector=embedded.vector,
            space=embedded.space,
            k=_EVENT_HITS,
            as_of=query.as_of,
            predicate=Everything() if query.include_ended else self._holding(query, None),
            legible=embedded.legible,
        )
        places = [one for name in names for one in _in(replace(request, namespace=name), branch)]
        replies = await asyncio.gather(*(self._search_in(one, token) for one in places))
        hits = list(replies[0].hits) if len(places) == 1 else merge(replies)
        return [hit.cube for hit in hits]

    def _holding(self, query: SearchQuery, understood: Understood | None) -> Predicate:
        """What holds at the moment asked for, or has held in the time that the query names."""
        at = query.as_of or self._clock.now()
        named = None if understood is None else understood.hints.time_range
        return _holds(at if named is None else min(at, named.start))

    async def _search_in(self, request: SearchRequest, token: dict[int, int]) -> SearchReply:
        partition = await self._placement.home(request.context, base_of(request.namespace))
        wanted = replace(request, after_lsn=token.get(partition, 0))
        return await self._router.call(partition, lambda shard, _: shard.search(partition, wanted))

    async def _embed(self, understood: Understood) -> Embedded:
        if not understood.text.strip():
            return Embedded()
        return await asyncio.to_thread(embed, understood, self._embedder())


def _names(
    understood: Understood, scope: Sequence[str], branch: BranchView | None
) -> tuple[str, ...]:
    """Where to search."""
    if branch is not None:
        return (branch.branch.namespace,)
    return tuple(dict.fromkeys(understood.namespaces or scope))


def _seen(after: paging.AfterRanked, places: int) -> Shown:
    """Reads what a cursor says has been shown.

    Raises:
        InvalidCursorError: it is of a search of other places.
    """
    if not len(after.first) == len(after.ahead) == places:
        raise InvalidCursorError("the places of the search have changed")
    scales = {name: (mean, deviation) for name, (mean, deviation) in after.scales.items()}
    return Shown(tuple(after.first), tuple(map(tuple, after.ahead)), scales)


def _cursor(digest: str, shown: Shown, route: Sequence[str]) -> str:
    place = paging.AfterRanked(
        first=list(shown.first),
        ahead=[list(one) for one in shown.ahead],
        scales={name: list(scale) for name, scale in shown.scales.items()},
        route=list(route),
    )
    return paging.encode_cursor(digest, place)


def _in(request: SearchRequest, view: BranchView | None) -> list[SearchRequest]:
    """Returns what to ask for one namespace: of a branch, its moment and its own memories."""
    if view is None:
        return [request]
    moment = Not(OneOf("id", view.covered)) if view.covered else Everything()
    own = Not(OneOf("id", view.orphans)) if view.orphans else Everything()
    return [
        replace(
            request,
            as_of=view.branch.at,
            predicate=all_of(request.predicate, moment),
        ),
        replace(request, namespace=view.branch.space, predicate=all_of(request.predicate, own)),
    ]


def _shown(hit: Hit) -> Hit:
    return replace(hit, cube=shown(hit.cube))


def filter_of(
    filter: str | dict[str, Any] | None,
    tags: Sequence[str],
    now: datetime,
    *,
    predicted: bool = False,
) -> Predicate:
    """Makes one predicate of a filter and the tags of which a memory must have one.

    Raises:
        InvalidFilterError: the filter cannot be read.
    """
    wanted = filters.parse(filter, now, predicted=predicted) if filter else Everything()
    return all_of(wanted, HasAny("tags", tuple(tags)) if tags else Everything())


def _told(understood: Understood, path: Path | None) -> dict[str, Any]:
    return understood.report if path is None else {**understood.report, "path": report_of(path)}


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
