"""What a shard is asked to find."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import Executor

from memos_ray.actors.courtesy import Pressure
from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.organising.organising import Organiser
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.searching import Searcher
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.errors import UnavailableError, VectorStoreError


class SearchDoors(ABC):
    """The part of `ports.ShardPort` that searches; a shard is the rest."""

    _parts: ShardParts
    _guard: PolicyGuard
    _usage: UsageLedger
    _searcher: Searcher
    _organiser: Organiser
    _evolution: Evolution
    _reading: Pressure
    _counters: Counter[str]
    _executor: Executor

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches; see `ShardPort`."""
        owned = await self._serve(partition)
        await self._await_token(owned, request)
        policy = await self._guard.ensure_for(request.context)
        now = self._parts.clock.now()
        visible = policy.permit(request.context, Action.READ, request.namespace, now)
        self._counters["searches"] += 1
        self._reading.asked()
        if isinstance(visible, Nothing):
            self._usage.denied(partition, request.context, "search", request.namespace, now)
            policy.require_namespace(request.context, Action.READ, request.namespace, now)
        tenant = request.context.principal.tenant
        place = Place(partition, tenant, request.namespace, request.archived)
        request = await self._organiser.browser.settle(place, request, visible)
        try:
            found = await self._searcher.search(
                place,
                request,
                visible,
                lambda: owned.indexed_lsn,
                await self._evolution.levels(place),
            )
        except VectorStoreError:
            owned.doubt_index()
            raise
        self._usage.read(
            partition,
            request.context,
            "search",
            request.namespace,
            [hit.cube for hit in found.hits],
            now,
            cached=found.cached,
        )
        return SearchReply(
            hits=found.hits,
            lsn=owned.writer.last_lsn or 0,
            unembedded=found.unembedded,
            partial=found.partial,
            resident=found.resident,
            hops=request.context.hops,
        )

    async def _await_token(self, owned: OwnedPartition, request: SearchRequest) -> None:
        loop = asyncio.get_running_loop()
        last = owned.writer.last_lsn
        if last is None or last < request.after_lsn:
            last = await loop.run_in_executor(
                self._executor, self._parts.store.last_lsn, owned.number
            )
        if last < request.after_lsn:
            raise UnavailableError("the log has not come that far", partition=owned.number)
        if request.indexed:
            await owned.embed_feed.reached(last)
