"""VaultShard: the single writer, and the searcher, of the partitions that the ring gives it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from memos_ray.actors.bodies import BodyCache
from memos_ray.actors.courtesy import Pressure
from memos_ray.actors.guard import PolicyGuard
from memos_ray.actors.partition import OwnedPartition
from memos_ray.actors.residency import Place, Residency
from memos_ray.actors.searching import Searcher
from memos_ray.actors.usage import UsageLedger
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Everything, Not, Nothing, OneOf, all_of
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest, ShardStatus
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import (
    MemosError,
    NotFoundError,
    NotOwnerError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.ports import (
    ClockPort,
    EmbedderPort,
    EventQuery,
    GovernancePort,
    ProcessProbePort,
    RecordStorePort,
    VectorStorePort,
)

_log = logging.getLogger(__name__)
_SWEEP_S = 600.0
_NOT_DELETED = Not(OneOf("state", (State.DELETED.value,)))


@dataclass(frozen=True, slots=True)
class ShardParts:
    """What a shard works with; the boot code injects it."""

    store: RecordStorePort
    vectors: VectorStorePort | None
    embedder: EmbedderPort
    governance: GovernancePort
    ring: Callable[[], Ring]
    public_key: bytes
    clock: ClockPort
    probe: ProcessProbePort
    settings: VaultSettings
    retrieval: RetrievalSettings


class VaultShard:
    """One shard. Implements `ports.ShardPort`.

    A partition is served between `own` and `disown` or a fence by a newer owner; calls for others
    raise `NotOwnerError`, which tells the caller to refresh its ring. Nothing that matters lives
    here only: a new incarnation takes, at its first call, the partitions that the stored ring gives
    it, under new epochs, and the old one, if it still runs somewhere, can no longer commit.
    """

    def __init__(self, name: str, parts: ShardParts) -> None:
        self.name = name
        self._parts = parts
        self._guard = PolicyGuard(parts.public_key, parts.governance, parts.clock)
        self._executor = ThreadPoolExecutor(4, "store")
        self._embed_executor = ThreadPoolExecutor(1, "embed")
        self._bodies = BodyCache(parts.settings.body_cache_bytes)
        self._residency = Residency(
            store=parts.store,
            space=parts.embedder.space.digest,
            new_index=self._new_index,
            clock=parts.clock,
            executor=self._executor,
            budget_bytes=parts.settings.resident_bytes,
        )
        self._searcher = Searcher(
            store=parts.store,
            vectors=parts.vectors,
            space=parts.embedder.space,
            residency=self._residency,
            bodies=self._bodies,
            settings=parts.retrieval,
            new_index=self._new_index,
            executor=self._executor,
        )
        self._usage = UsageLedger()
        self._pressure = Pressure(parts.clock.monotonic)
        self._owned: dict[int, OwnedPartition] = {}
        self._counters: Counter[str] = Counter()
        self._flusher: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._recovered = False

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over; see `ShardPort`."""
        async with self._changing:
            self._recovered = True
            if self._flusher is None:
                self._flusher = asyncio.create_task(self._flush_forever())
            for partition in partitions:
                if partition not in self._owned:
                    self._owned[partition] = self._open(partition, await self._take(partition))

    async def disown(self, partitions: Sequence[int]) -> None:
        """Gives partitions up; see `ShardPort`."""
        async with self._changing:
            for partition in partitions:
                if partition in self._owned:
                    await self._flush(partition)
                    await self._release(partition)

    async def close(self) -> None:
        """Flushes and gives everything up; the stores belong to whoever injected them."""
        await self.disown(list(self._owned))
        if self._flusher is not None:
            self._flusher.cancel()
        await self._guard.close()
        self._executor.shutdown(wait=False)
        self._embed_executor.shutdown(wait=False)

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes; see `ShardPort`."""
        owned = await self._partition(partition)
        await self._guard.ensure_each(submission.context for submission in submissions)
        self._counters["writes"] += len(submissions)
        self._pressure.note(len(submissions))
        return await owned.writer.submit(submissions)

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories; see `ShardPort`."""
        policy = await self._policy(partition, context)
        now = self._parts.clock.now()
        heads = await self._heads(partition, context, ids)
        seen: list[MemCube | None] = []
        for cube_id in ids:
            head = heads.get(CubeKey(context.principal.tenant, cube_id))
            allowed = (
                head is not None
                and policy.decide(
                    context, Action.READ, facets_of(head), head.namespace, now
                ).allowed
            )
            seen.append(head if allowed else None)
        found = [cube for cube in seen if cube is not None]
        namespace = found[0].namespace if found else ""
        self._counters["reads"] += len(ids)
        self._usage.read(partition, context, "get", namespace, found, now)
        return seen

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns a page of a namespace; see `ShardPort`."""
        policy = await self._policy(partition, request.context)
        now = self._parts.clock.now()
        visible = policy.require_namespace(request.context, Action.READ, request.namespace, now)
        alive = Everything() if request.include_deleted else _NOT_DELETED
        loop = asyncio.get_running_loop()
        cubes = await loop.run_in_executor(
            self._executor,
            self._parts.store.scan,
            partition,
            request.context.principal.tenant,
            request.namespace,
            all_of(visible, request.predicate, alive),
            request.after,
            request.limit,
        )
        self._usage.read(partition, request.context, "list", request.namespace, cubes, now)
        return cubes

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns version records; see `ShardPort`."""
        head = await self._readable(partition, context, cube_id)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor,
            self._parts.store.versions,
            partition,
            CubeKey(head.tenant, head.id),
            before,
            limit,
        )

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version; see `ShardPort`."""
        head = await self._readable(partition, context, cube_id)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._executor,
            self._parts.store.version,
            partition,
            CubeKey(head.tenant, head.id),
            number,
        )
        if found is None:
            raise NotFoundError("no such version", cube_id=cube_id, version=number)
        self._usage.read(
            partition, context, "version", head.namespace, [found], self._parts.clock.now()
        )
        return found

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches; see `ShardPort`."""
        policy = await self._policy(partition, request.context)
        now = self._parts.clock.now()
        owned = await self._partition(partition)
        await self._await_token(owned, request)
        visible = policy.permit(request.context, Action.READ, request.namespace, now)
        self._counters["searches"] += 1
        if isinstance(visible, Nothing):
            self._usage.denied(partition, request.context, "search", request.namespace, now)
            policy.require_namespace(request.context, Action.READ, request.namespace, now)
        place = Place(partition, request.context.principal.tenant, request.namespace)
        found = await self._searcher.search(place, request, visible)
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
            resident=found.resident,
            hops=request.context.hops,
        )

    async def events(
        self, partition: int, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns log entries of the caller's tenant; see `ShardPort`."""
        policy = await self._policy(partition, context)
        now = self._parts.clock.now()
        if not policy.may_administer(context, "", now):
            if query.principal not in (None, context.principal.id):
                raise PermissionDeniedError("only administrators read others' log entries")
            query = replace(query, principal=context.principal.id)
        query = replace(query, tenant=context.principal.tenant)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, self._parts.store.events, partition, after, limit, query
        )

    async def status(self) -> ShardStatus:
        """Reports on this shard; see `ShardPort`."""
        loop = asyncio.get_running_loop()
        lag, index_lag = {}, {}
        for number, owned in self._owned.items():
            last = owned.writer.last_lsn
            if last is None:
                last = await loop.run_in_executor(
                    self._executor, self._parts.store.last_lsn, number
                )
            lag[number] = last - owned.embed_feed.position
            if owned.index_feed is not None:
                index_lag[number] = last - owned.index_feed.position
        return ShardStatus(
            name=self.name,
            pid=os.getpid(),
            partitions={number: owned.epoch for number, owned in self._owned.items()},
            queued=sum(owned.writer.queued for owned in self._owned.values()),
            lag=lag,
            index_lag=index_lag,
            resident_namespaces=len(self._residency),
            resident_memories=self._residency.memories,
            resident_bytes=self._residency.memory_bytes,
            rss_bytes=self._parts.probe.rss_bytes(),
            vector_store="off" if self._parts.vectors is None else "on",
            counters=dict(self._counters),
        )

    async def _partition(self, partition: int) -> OwnedPartition:
        if not self._recovered:
            await self.own(self._parts.ring().owned_by(self.name))
        owned = self._owned.get(partition)
        if owned is None:
            raise NotOwnerError("this shard does not own the partition", partition=partition)
        return owned

    async def _take(self, partition: int) -> int:
        loop, store = asyncio.get_running_loop(), self._parts.store

        def take() -> int:
            epoch = store.fence(partition).epoch + 1
            store.take(partition, self.name, epoch)
            return epoch

        return await loop.run_in_executor(self._executor, take)

    def _new_index(self) -> ResidentIndex:
        return ResidentIndex(self._parts.embedder.space.dim, self._parts.retrieval)

    def _open(self, partition: int, epoch: int) -> OwnedPartition:
        parts = self._parts
        return OwnedPartition(
            partition,
            epoch,
            store=parts.store,
            vectors=parts.vectors,
            embedder=parts.embedder,
            guard=self._guard,
            clock=parts.clock,
            residency=self._residency,
            searcher=self._searcher,
            bodies=self._bodies,
            settings=parts.settings,
            retrieval=parts.retrieval,
            executor=self._executor,
            embed_executor=self._embed_executor,
            pressing=lambda: self._pressure.pressing,
            on_fenced=self._on_fenced,
            on_error=self._on_error,
        )

    async def _policy(self, partition: int, context: CallContext) -> TenantPolicy:
        await self._partition(partition)
        return await self._guard.ensure(context.principal.tenant, context.policy)

    async def _heads(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> dict[CubeKey, MemCube]:
        keys = [CubeKey(context.principal.tenant, cube_id) for cube_id in ids]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._parts.store.heads, partition, keys)

    async def _readable(self, partition: int, context: CallContext, cube_id: str) -> MemCube:
        policy = await self._policy(partition, context)
        heads = await self._heads(partition, context, [cube_id])
        head = heads.get(CubeKey(context.principal.tenant, cube_id))
        now = self._parts.clock.now()
        facets, namespace = (facets_of(head), head.namespace) if head else (None, "")
        policy.require(context, Action.READ, facets, namespace, now)
        if head is None:
            raise NotFoundError("no such memory", cube_id=cube_id)
        return head

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

    async def _flush(self, partition: int) -> None:
        owned = self._owned[partition]
        deltas, accesses = self._usage.drain(partition)
        store, loop = self._parts.store, asyncio.get_running_loop()
        try:
            if deltas:
                await loop.run_in_executor(
                    self._executor, store.add_usage, partition, owned.epoch, deltas
                )
            if accesses:
                await loop.run_in_executor(self._executor, store.add_accesses, partition, accesses)
        except MemosError as error:
            self._on_error("usage", error)

    async def _flush_forever(self) -> None:
        settings, clock = self._parts.settings, self._parts.clock
        swept_at = clock.monotonic()
        while True:
            await asyncio.sleep(settings.usage_flush_s)
            for partition in list(self._owned):
                await self._flush(partition)
            if clock.monotonic() - swept_at > _SWEEP_S:
                swept_at = clock.monotonic()
                await self._sweep(clock.now() - timedelta(seconds=settings.reply_ttl_s))

    async def _sweep(self, before: datetime) -> None:
        loop, store = asyncio.get_running_loop(), self._parts.store
        for partition, owned in list(self._owned.items()):
            try:
                await loop.run_in_executor(
                    self._executor, store.forget_replies, partition, owned.epoch, before
                )
            except MemosError as error:
                self._on_error("replies", error)

    async def _release(self, partition: int) -> None:
        owned = self._owned.pop(partition, None)
        if owned is not None:
            await owned.close()

    def _on_fenced(self, partition: int) -> None:
        _log.warning("a newer owner holds partition %d; it is given up here", partition)
        self._counters["fenced"] += 1
        task = asyncio.create_task(self._release(partition))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _on_error(self, part: str, error: MemosError) -> None:
        _log.warning("%s: %s: %s", part, error.code, error.message)
        self._counters[f"errors_{part}"] += 1
