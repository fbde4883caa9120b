"""The services that every door opens on, for one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.config import LimitSettings
from memos_ray.core.vault.requests import Follower
from memos_ray.errors import MemosError
from memos_ray.gateway.activation.service import ActivationService
from memos_ray.gateway.admin.service import AdminService
from memos_ray.gateway.admission import CallRates
from memos_ray.gateway.branches.service import BranchService
from memos_ray.gateway.browsing.service import BrowsingService
from memos_ray.gateway.callers import Authenticator
from memos_ray.gateway.chat.embeddings import EmbeddingService
from memos_ray.gateway.chat.service import ChatService
from memos_ray.gateway.evolution.service import EvolutionService
from memos_ray.gateway.extraction.service import ExtractionService
from memos_ray.gateway.lifecycle.service import LifecycleService
from memos_ray.gateway.memories.completing import Completing
from memos_ray.gateway.memories.record_models import Component
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.organising.service import OrganisingService
from memos_ray.gateway.parameter.service import ParameterService
from memos_ray.gateway.past.service import PastService
from memos_ray.gateway.personas.service import PersonaService
from memos_ray.gateway.pipelines.service import PipelineService
from memos_ray.gateway.records.logs import LogService
from memos_ray.gateway.records.provenance import ProvenanceService
from memos_ray.gateway.records.receipts import ReceiptService
from memos_ray.gateway.reuse.service import ReuseService
from memos_ray.gateway.routing import Router
from memos_ray.gateway.sources.service import SourceService
from memos_ray.ports import (
    BlobStorePort,
    ClockPort,
    EmbedderPort,
    GovernancePort,
    LifecyclePort,
    ModelPort,
    PipelinesPort,
    ShardPort,
    SupervisorPort,
)


@dataclass(frozen=True, slots=True)
class Backend:
    """What stands behind the doors.

    Attributes:
        shard: returns a shard by its name.
        embedder: loads the embedding model at its first call.
        blobs: opens the blob store at its first call.
        models: the models that answer conversations, by name.
        pipelines: the runner, where there is one.
        public_key: verifies policy snapshots.
        extracts: whether there is a model that reads memories for facts.
        completing: the model that completes questions in a dialogue, where there is one.
    """

    supervisor: SupervisorPort
    governance: GovernancePort
    lifecycle: LifecyclePort
    shard: Callable[[str], ShardPort]
    embedder: Callable[[], EmbedderPort]
    blobs: Callable[[], BlobStorePort]
    public_key: bytes
    clock: ClockPort
    models: Mapping[str, ModelPort] = field(default_factory=dict)
    pipelines: PipelinesPort | None = None
    extracts: bool = False
    completing: Completing | None = None


class Doorway:
    """The memory API and the administration, on one backend."""

    def __init__(self, backend: Backend, limits: LimitSettings, timeout_s: float) -> None:
        clock = backend.clock
        self._guard = PolicyGuard(backend.public_key, backend.governance, clock)
        self._embedder = backend.embedder
        self.supervisor = backend.supervisor
        self.blobs = backend.blobs
        authenticator = Authenticator(self._guard, clock, CallRates(limits, clock))
        router = Router(backend.supervisor, backend.shard, clock, timeout_s)
        self.memories = MemoryService(
            router=router,
            authenticator=authenticator,
            embedder=backend.embedder,
            clock=clock,
            limits=limits,
            extracts=backend.extracts,
            completing=backend.completing,
        )
        self.activation = ActivationService(
            router=router, authenticator=authenticator, memories=self.memories, clock=clock
        )
        self.past = PastService(router=router, authenticator=authenticator, clock=clock)
        self.branches = BranchService(
            router=router,
            authenticator=authenticator,
            memories=self.memories,
            past=self.past,
            clock=clock,
        )
        self._models = backend.models
        self.parameter = ParameterService(router=router, authenticator=authenticator, clock=clock)
        self.receipts = ReceiptService(
            router=router,
            authenticator=authenticator,
            clock=clock,
            public_key=backend.public_key,
        )
        self.logs = LogService(router=router, authenticator=authenticator, clock=clock)
        self.provenance = ProvenanceService(router=router, authenticator=authenticator, clock=clock)
        self.evolution = EvolutionService(
            router=router, authenticator=authenticator, logs=self.logs, clock=clock
        )
        self.pipelines = PipelineService(authenticator, backend.pipelines)
        self.organising = OrganisingService(router=router, authenticator=authenticator, clock=clock)
        self.sources = SourceService(
            router=router, authenticator=authenticator, memories=self.memories, clock=clock
        )
        self.reuse = ReuseService(
            router=router, authenticator=authenticator, embedder=backend.embedder, clock=clock
        )
        self.browsing = BrowsingService(
            router=router, authenticator=authenticator, embedder=backend.embedder, clock=clock
        )
        self.extraction = ExtractionService(router=router, authenticator=authenticator, clock=clock)
        self.lifecycle = LifecycleService(authenticator, backend.lifecycle, self.memories, clock)
        self.chats = ChatService(
            authenticator, self.memories, self.activation, backend.models, clock
        )
        self.embeddings = EmbeddingService(authenticator, backend.embedder)
        self.admin = AdminService(authenticator, self._guard, backend.governance, router, clock)
        self.personas = PersonaService(authenticator, self.admin, clock)

    async def warm(self) -> None:
        """Loads the embedder, so that the first search does not wait for it.

        A failure is left to the searches, which report it; everything else works without.
        """
        try:
            await asyncio.to_thread(lambda: self._embedder().embed(["warm"]))
        except MemosError:
            return

    async def components(self) -> list[Component]:
        """Reports on the parts that requests depend on."""
        found = [await self._policy()]
        try:
            shards = await self.supervisor.status()
        except MemosError as error:
            return [*found, _down("supervisor", error)]
        found.append(Component(name="supervisor", status="ok"))
        for name, status in sorted(shards.items()):
            if status is None:
                found.append(Component(name=name, status="degraded"))
                continue
            detail = {
                "pid": status.pid,
                "partitions": len(status.partitions),
                "queued": status.queued,
                "lag": sum(status.lag.values()),
                "index_lag": sum(status.index_lag.values()),
                "resident_memories": status.resident_memories,
                "resident_bytes": status.resident_bytes,
                "kv_bytes": status.kv_bytes,
                "kv_rest_bytes": status.kv_rest_bytes,
                "conversations": status.conversations,
                "extraction_queued": status.extraction_queued,
                "rss_bytes": status.rss_bytes,
                "vector_store": status.vector_store,
                **_followers(status.followers),
                **status.counters,
            }
            well = not any(one.stalled_by for one in status.followers.values())
            found.append(Component(name=name, status="ok" if well else "degraded", detail=detail))
        return found

    async def _policy(self) -> Component:
        try:
            await self._guard.ensure_directory()
        except MemosError as error:
            return _down("policy", error)
        return Component(name="policy", status="ok")

    async def close(self) -> None:
        """Stops following the policy, and lets go of the models."""
        await self.chats.close()
        await self._guard.close()
        for model in self._models.values():
            await model.close()


def _followers(followers: Mapping[str, Follower]) -> dict[str, int | str]:
    """Shows what follows the logs: how far it is behind, and what keeps it.

    Seconds are rounded up: 0 is shown only where nothing is behind.
    """
    stalled = {name: one.stalled_by for name, one in followers.items() if one.stalled_by}
    shown: dict[str, int | str] = {
        "behind_s": ceil(max((one.behind_s for one in followers.values()), default=0.0)),
        "aside": sum(one.aside for one in followers.values()),
    }
    if stalled:
        shown["stalled"] = ", ".join(f"{name} by {code}" for name, code in stalled.items())
    return shown


def _down(name: str, error: MemosError) -> Component:
    return Component(name=name, status="down", detail={"code": error.code})
