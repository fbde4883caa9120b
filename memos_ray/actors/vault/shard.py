"""VaultShard: the single writer, and the searcher, of the partitions that the ring gives it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from memos_ray.actors.activation.preloading import PreloadBudget, Preloader
from memos_ray.actors.courtesy import Pressure
from memos_ray.actors.evolution.doors import EvolutionDoors
from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.evolution.promotions import Promotions
from memos_ray.actors.extraction.doors import ExtractionDoors
from memos_ray.actors.extraction.extraction import Extraction
from memos_ray.actors.lifecycle.branches import BranchDoors
from memos_ray.actors.lifecycle.sweeping import (
    LifecycleDoors,
    refuse_the_lifecycles_own,
    sweeping_courtesy,
)
from memos_ray.actors.organising.doors import OrganiseDoors
from memos_ray.actors.organising.organising import Organiser
from memos_ray.actors.organising.topic_doors import TopicDoors
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.sources.doors import SourceDoors
from memos_ray.actors.sources.sources import SourceDesk
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.actors.vault.holdings import Holdings
from memos_ray.actors.vault.model_doors import ModelDoors
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.receipts import Receipts
from memos_ray.actors.vault.record_doors import RecordDoors
from memos_ray.actors.vault.residency import Residency
from memos_ray.actors.vault.reuse import ReuseDoors, ReuseLooking
from memos_ray.actors.vault.search_doors import SearchDoors
from memos_ray.actors.vault.searching import Searcher
from memos_ray.actors.vault.shard_parts import (
    Judged,
    ShardParts,
    activation_memory,
    parameter_memory,
)
from memos_ray.actors.vault.transactions import settled
from memos_ray.actors.vault.upkeep import Upkeep
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.vault.operations import Delete, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.receipts import Receipt
from memos_ray.core.vault.requests import (
    ListRequest,
    ShardStatus,
)
from memos_ray.errors import MemosError

_log = logging.getLogger(__name__)


class VaultShard(
    SearchDoors,
    ModelDoors,
    OrganiseDoors,
    TopicDoors,
    ExtractionDoors,
    SourceDoors,
    ReuseDoors,
    LifecycleDoors,
    BranchDoors,
    RecordDoors,
    EvolutionDoors,
):
    """One shard. Implements `ports.ShardPort`.

    A partition is served between `own` and `disown` or a fence by a newer owner (see `Holdings`);
    calls for others raise `NotOwnerError`, which tells the caller to refresh its ring.
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
        # Of the event loop: one piece of work has it at a time, whatever the order is.
        self._turns = FairGate(1)
        self._searcher = Searcher(
            store=parts.store,
            vectors=parts.vectors,
            space=parts.embedder.space,
            residency=self._residency,
            bodies=self._bodies,
            settings=parts.retrieval,
            new_index=self._new_index,
            executor=self._executor,
            turns=self._turns,
        )
        self._usage = UsageLedger()
        self._pressure = Pressure(parts.clock.monotonic)
        self._reading = Pressure(parts.clock.monotonic)
        self._sweeping = sweeping_courtesy(lambda: self._pressed)
        self._counters: Counter[str] = Counter()
        self._reader = RecordReader(
            store=parts.store,
            guard=self._guard,
            usage=self._usage,
            clock=parts.clock,
            executor=self._executor,
        )
        judged = Judged(self._reader, self._guard, self._usage, self.write)
        preloader = Preloader(
            PreloadBudget(parts.settings.preload_memories, parts.settings.preload_bytes),
            store=parts.store,
            residency=self._residency,
            bodies=self._bodies,
            executor=self._executor,
            pressing=lambda: self._pressure.pressing,
            turns=self._turns,
        )
        self._activation = activation_memory(parts, self._executor, judged, preloader)
        prefill_s = self._activation.prefill_s
        self._parameter = parameter_memory(parts, self._executor, judged, prefill_s)
        self._receipts = Receipts(
            self._activation,
            self._parameter,
            store=parts.store,
            guard=self._guard,
            governance=parts.governance,
            clock=parts.clock,
            executor=self._executor,
            journals=parts.journals,
            opinions_of=lambda partition, key: self._evolution.opinions.names(partition, key),
        )
        self._organiser = Organiser(
            store=parts.store,
            residency=self._residency,
            reader=self._reader,
            guard=self._guard,
            clock=parts.clock,
            executor=self._executor,
            write_all=self.write_all,
            turns=self._turns,
            trusted=lambda *asked: self._sources.trusts(*asked),
            asking=lambda: self._extraction.asking,
        )
        self._sources = SourceDesk(
            store=parts.store,
            residency=self._residency,
            reader=self._reader,
            guard=self._guard,
            usage=self._usage,
            clock=parts.clock,
            executor=self._executor,
            write=self.write,
        )
        self._reuse = ReuseLooking(
            store=parts.store, guard=self._guard, clock=parts.clock, executor=self._executor
        )
        self._extraction = Extraction(
            parts.extraction,
            store=parts.store,
            guard=self._guard,
            usage=self._usage,
            clock=parts.clock,
            executor=self._executor,
            store_all=self.write_all,
            pressing=lambda: self._pressure.pressing,
        )
        self._evolution = Evolution(
            store=parts.store,
            reader=self._reader,
            guard=self._guard,
            usage=self._usage,
            clock=parts.clock,
            executor=self._executor,
            write_all=self.write_all,
            pressing=lambda: self._pressure.pressing,
            asking=self._extraction.asking,
            promotions=Promotions(
                self._activation.promoter, self._parameter, guard=self._guard, now=parts.clock.now
            ),
        )
        self._upkeep = Upkeep(
            evolve=self._evolution.tick,
            follow_up=self._extraction.tick,
            store=parts.store,
            usage=self._usage,
            clock=parts.clock,
            settings=parts.settings,
            executor=self._executor,
            on_error=self._on_error,
        )
        self._holdings = Holdings(
            name,
            store=parts.store,
            ring=parts.ring,
            open=self._open,
            settle=self._upkeep.flush,
            executor=self._executor,
        )

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over; see `ShardPort`."""
        self._upkeep.start(self._holdings)
        await self._holdings.own(partitions)

    async def disown(self, partitions: Sequence[int]) -> None:
        """Gives partitions up; see `ShardPort`."""
        await self._holdings.disown(partitions)

    async def close(self) -> None:
        """Flushes and gives everything up; the stores belong to whoever injected them."""
        # What is to rest is written as long as the partitions are this shard's.
        await self._activation.settle()
        await self._holdings.give_up()
        self._upkeep.stop()
        await self._evolution.close()
        await self._organiser.close()
        await self._extraction.close()
        await self._parameter.close()
        await self._receipts.close()
        await self._sources.close()
        await self._activation.close()
        await self._guard.close()
        # Whoever injected the stores may close them once no call is under way any more.
        for executor in (self._embed_executor, self._executor):
            await asyncio.to_thread(executor.shutdown)

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes; see `ShardPort`."""
        return await self._submit(partition, submissions)

    async def receipt(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns the receipt of an erasure; see `ShardPort`."""
        await self._serve(partition)
        return await self._receipts.show(partition, context, cube_id)

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits writes, all or none; see `ShardPort`."""
        return settled(await self._submit(partition, submissions, whole=True))

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories; see `ShardPort`."""
        await self._serve(partition)
        self._counters["reads"] += len(ids)
        return await self._reader.get(partition, context, ids)

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns a page of a namespace; see `ShardPort`."""
        await self._serve(partition)
        return await self._reader.page(partition, request)

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns version records; see `ShardPort`."""
        await self._serve(partition)
        return await self._reader.versions(partition, context, cube_id, before, limit)

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version; see `ShardPort`."""
        await self._serve(partition)
        return await self._reader.version(partition, context, cube_id, number)

    async def status(self) -> ShardStatus:
        """Reports on this shard; see `ShardPort`."""
        loop = asyncio.get_running_loop()
        lag, index_lag = {}, {}
        for owned in self._holdings:
            number, last = owned.number, owned.writer.last_lsn
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
            partitions={owned.number: owned.epoch for owned in self._holdings},
            queued=sum(owned.writer.queued for owned in self._holdings),
            lag=lag,
            index_lag=index_lag,
            resident_namespaces=len(self._residency),
            resident_memories=self._residency.memories,
            resident_bytes=self._residency.memory_bytes,
            kv_bytes=self._activation.hot_bytes,
            kv_rest_bytes=self._activation.rest_bytes,
            conversations=self._activation.conversations,
            rss_bytes=self._parts.probe.rss_bytes(),
            vector_store="off" if self._parts.vectors is None else "on",
            counters=dict(
                self._counters
                + self._activation.counters
                + self._parameter.counters
                + self._sources.counters
                + self._reuse.counters
                + self._evolution.counters
                + self._residency.counters
                + self._organiser.counters
                + self._extraction.counters
                + self._turns.counters
                + Counter(self._parts.journals.counters if self._parts.journals else {})
            ),
            extraction_queued=self._extraction.queued,
            followers=self._holdings.followers(),
        )

    async def _submit(
        self, partition: int, submissions: Sequence[Submission], *, whole: bool = False
    ) -> list[Written | MemosError]:
        owned = await self._serve(partition)
        refuse_the_lifecycles_own(submissions)
        await self._guard.ensure_each(submission.context for submission in submissions)
        submissions = await self._extraction.marked(partition, submissions)
        self._counters["writes"] += len(submissions)
        for one in submissions:
            # Whoever asks for a write has a credential.
            if not one.context.principal.credential and one.context.application:
                self._counters[f"automatic_{one.context.application}"] += 1
        self._pressure.note(len(submissions))
        outcomes = await owned.writer.submit(submissions, whole=whole)
        if any(_erases(one) for one in submissions):
            await self._receipts.written()
        return outcomes

    async def _serve(self, partition: int) -> OwnedPartition:
        self._upkeep.start(self._holdings)
        return await self._holdings.of(partition)

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
            activation=self._activation,
            parameter=self._parameter,
            receipts=self._receipts,
            organiser=self._organiser,
            evolution=self._evolution,
            sources=self._sources,
            extraction=self._extraction,
            settings=parts.settings,
            retrieval=parts.retrieval,
            executor=self._executor,
            embed_executor=self._embed_executor,
            blobs=parts.blobs,
            pressing=lambda: self._pressure.pressing,
            busy=lambda: self._pressed,
            on_fenced=self._on_fenced,
            on_error=self._on_error,
            counters=self._counters,
        )

    def _on_fenced(self, partition: int) -> None:
        self._counters["fenced"] += 1
        self._holdings.fenced(partition)

    def _on_error(self, part: str, error: MemosError) -> None:
        _log.warning("%s: %s: %s", part, error.code, error.message)
        self._counters[f"errors_{part}"] += 1


def _erases(submission: Submission) -> bool:
    operation = submission.write.operation
    return isinstance(operation, Delete) and operation.hard
