"""Opens the doorway in a process that is connected to the cluster."""

from __future__ import annotations

from functools import cache

from memos_ray.cluster import assembly
from memos_ray.cluster.clock import SystemClock
from memos_ray.cluster.handles import LifecycleHandle, PolicyHandle, ShardHandle, SupervisorHandle
from memos_ray.config import ModelSettings, Settings
from memos_ray.gateway.doorway import Backend, Doorway
from memos_ray.ports import BlobStorePort, EmbedderPort, ModelPort, ShardPort
from memos_ray.serving.handles import ModelHandle


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

    backend = Backend(
        supervisor=SupervisorHandle(settings.namespace),
        governance=PolicyHandle(settings.namespace),
        lifecycle=LifecycleHandle(settings.namespace),
        shard=shard,
        embedder=embedder,
        blobs=blobs,
        public_key=public_key,
        clock=SystemClock(),
        models={model.name: _model(model) for model in settings.models},
    )
    return Doorway(backend, settings.limits, settings.gateway.timeout_s)


def _model(settings: ModelSettings) -> ModelPort:
    if not settings.external:
        return ModelHandle(settings.name, settings.answer_s)
    from memos_ray.adapters.openai_model import OpenAIModel

    # The settings' own validation has seen to that.
    assert settings.base_url is not None
    key = settings.api_key
    return OpenAIModel(
        base_url=settings.base_url,
        model=settings.remote_name or settings.name,
        api_key=key.get_secret_value() if key else None,
        limit_field=settings.limit_field.value,
        at_once=settings.sequences,
        waiting=settings.waiting_max,
        connect_s=settings.connect_s,
        silence_s=settings.silence_s,
        answer_s=settings.answer_s,
    )
