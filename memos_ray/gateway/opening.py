"""Opens a `MemoryService` in a process that is connected to the cluster."""

from __future__ import annotations

import asyncio
from functools import cache

from memos_ray.actors.guard import PolicyGuard
from memos_ray.cluster import assembly
from memos_ray.cluster.clock import SystemClock
from memos_ray.cluster.handles import PolicyHandle, ShardHandle, SupervisorHandle
from memos_ray.config import Settings
from memos_ray.errors import MemosError
from memos_ray.gateway.administration import AdminService
from memos_ray.gateway.callers import Authenticator
from memos_ray.gateway.models import Component
from memos_ray.gateway.routing import Router
from memos_ray.gateway.service import MemoryService
from memos_ray.ports import BlobStorePort, EmbedderPort, ShardPort


class Doorway:
    """The services that every door opens on, for one process."""

    def __init__(self, settings: Settings, public_key: bytes) -> None:
        clock = SystemClock()
        policy = PolicyHandle(settings.namespace)
        self.supervisor = SupervisorHandle(settings.namespace)
        self._guard = PolicyGuard(public_key, policy, clock)

        @cache
        def shard(name: str) -> ShardPort:
            return ShardHandle(name, settings.namespace)

        @cache
        def embedder() -> EmbedderPort:
            return assembly.embedder(settings.embedder)

        @cache
        def blobs() -> BlobStorePort:
            return assembly.blob_store(settings)

        self._embedder = embedder
        self.blobs = blobs
        authenticator = Authenticator(self._guard, clock)
        self.memories = MemoryService(
            router=Router(self.supervisor, shard, clock, settings.gateway.timeout_s),
            authenticator=authenticator,
            embedder=embedder,
            clock=clock,
            limits=settings.limits,
        )
        self.admin = AdminService(authenticator, policy)

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
            return [
                *found,
                Component(name="supervisor", status="down", detail={"code": error.code}),
            ]
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
                "rss_bytes": status.rss_bytes,
                "vector_store": status.vector_store,
            }
            found.append(Component(name=name, status="ok", detail=detail))
        return found

    async def _policy(self) -> Component:
        try:
            await self._guard.ensure_directory()
        except MemosError as error:
            return _down("policy", error)
        return Component(name="policy", status="ok")

    async def close(self) -> None:
        """Stops following the policy."""
        await self._guard.close()


def _down(name: str, error: MemosError) -> Component:
    return Component(name=name, status="down", detail={"code": error.code})
