"""Opens the doorway in a process that is connected to the cluster."""

from __future__ import annotations

from functools import cache

from memos_ray.cluster import assembly
from memos_ray.cluster.authorities import LifecycleHandle, PolicyHandle, SupervisorHandle
from memos_ray.cluster.clock import SystemClock
from memos_ray.cluster.pipeline_handle import PipelineHandle
from memos_ray.cluster.shard.handle import ShardHandle
from memos_ray.config import Settings
from memos_ray.gateway.doorway import Backend, Doorway
from memos_ray.gateway.memories.completing import Completing
from memos_ray.ports import BlobStorePort, EmbedderPort, ShardPort


def open_doorway(settings: Settings, public_key: bytes) -> Doorway:
    """Opens the doorway to the actors of the Ray cluster that this process is connected to."""

    @cache
    def shard(name: str) -> ShardPort:
        return ShardHandle(name, settings.namespace)

    @cache
    def embedder() -> EmbedderPort:
        return assembly.embedder(settings.embedder)

    @cache
    def blobs() -> BlobStorePort:
        return assembly.blob_store(settings)

    clock, models = SystemClock(), assembly.models(settings)
    completer = assembly.completer(settings, models)
    backend = Backend(
        supervisor=SupervisorHandle(settings.namespace),
        governance=PolicyHandle(settings.namespace),
        lifecycle=LifecycleHandle(settings.namespace),
        shard=shard,
        embedder=embedder,
        blobs=blobs,
        public_key=public_key,
        clock=clock,
        models=models,
        pipelines=PipelineHandle(settings.namespace),
        extracts=settings.extraction.model is not None,
        completing=None if completer is None else Completing(completer, settings.dialogue, clock),
    )
    return Doorway(backend, settings.limits, settings.gateway.timeout_s)
