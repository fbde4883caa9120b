"""Model replicas as Ray Serve deployments, one for each model.

A replica is one process with one engine. Serve starts as many as the load needs, sends requests to
those that have room, and replaces one that has died or whose engine has.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from memos_ray.config import EngineKind, ModelSettings
from memos_ray.core.activation import KvPayload, SourceVersion
from memos_ray.core.generation import ChatRequest, GenerationPart, ReplicaStatus
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import ConfigurationError, UnavailableError
from memos_ray.ports import EnginePort
from memos_ray.serving.replica import AdapterSource, ModelReplica
from memos_ray.serving.routing import HELD, HolderRouter

_Payload = TypeVar("_Payload", KvPayload, AdapterPayload)

_ONGOING_FACTOR = 2
# Rather than wait longer, for a node that does not answer, the text is computed.
_FETCH_S = 10.0
_STATS_S = 1.0


class ModelDeployment:
    """What runs in the process of a replica."""

    def __init__(self, settings: ModelSettings) -> None:
        # Whoever only describes the deployment does not load a tokenizer's library.
        from memos_ray.serving.tokenizer import ModelTokenizer

        self._replica = ModelReplica(
            _engine(settings), ModelTokenizer(settings.folder), settings.context_tokens
        )

    async def chat(
        self, request: ChatRequest, kv: Sequence[Any] = (), weights: Sequence[Any] = ()
    ) -> AsyncIterator[GenerationPart]:
        """Yields an answer as it comes; see `ModelReplica.chat`.

        Args:
            kv: references to each `KvPayload` in the object store. One whose owner has died is
                reported as `lost`, and the text is computed.
            weights: one reference to the `AdapterPayload`, or none; in a list, or Serve would fetch
                it for replicas that have the adapter.
        """
        payloads = await asyncio.gather(*[_fetched(one, KvPayload) for one in kv])
        async for part in self._replica.chat(request, payloads, _source(weights)):
            yield part

    async def build_kv(
        self,
        shared: str,
        salt: str,
        adapter: str,
        weights: Sequence[Any],
        sources: tuple[SourceVersion, ...],
    ) -> KvPayload:
        """Computes the KV cache of a shared beginning; it belongs to whoever called."""
        return await self._replica.build_kv(
            shared, salt=salt, adapter=adapter, weights=_source(weights), sources=sources
        )

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        salt: str,
        adapter: str,
        weights: Sequence[Any],
        sources: tuple[SourceVersion, ...],
        start: int,
    ) -> KvPayload:
        """Computes the KV cache of a conversation from `start`; it belongs to whoever called."""
        return await self._replica.export_kv(
            tokens,
            salt=salt,
            adapter=adapter,
            weights=_source(weights),
            sources=sources,
            start=start,
        )

    async def status(self) -> ReplicaStatus:
        """Says which process this is, and what it holds."""
        return ReplicaStatus(os.getpid(), self._replica.fingerprint)

    def record_routing_stats(self) -> dict[str, Any]:
        """Serve asks this, and hands it to the routers; see `serving.routing`."""
        return {HELD: dict(self._replica.held)}

    async def drop_adapter(self, digest: str) -> bool:
        """Drops the weights of a retired adapter; says whether they are out of memory."""
        return await self._replica.drop_adapter(digest)

    async def forget(self) -> bool:
        """Empties this replica's own prefix cache."""
        return await self._replica.forget()

    async def check_health(self) -> None:
        """Serve asks this, and replaces a replica that raises."""
        if not self._replica.healthy:
            raise UnavailableError("the engine has died")

    def __del__(self) -> None:
        replica = getattr(self, "_replica", None)
        if replica is not None:
            replica.close()


async def _fetched(reference: Any, kind: type[_Payload]) -> _Payload | None:
    """Awaits a payload; nothing when it cannot be had."""
    try:
        async with asyncio.timeout(_FETCH_S):
            payload = await reference
    except (RayError, TimeoutError):
        return None
    assert isinstance(payload, kind)
    return payload


def _source(weights: Sequence[Any]) -> AdapterSource | None:
    return partial(_fetched, weights[0], AdapterPayload) if weights else None


def bind(settings: ModelSettings) -> Application:
    """Describes the deployment of a model.

    Raises:
        ConfigurationError: an endpoint computes the model.
    """
    if settings.external:
        raise ConfigurationError("a model behind an endpoint has no replicas", model=settings.name)
    deployment = serve.deployment(
        name=f"model-{settings.name}",
        autoscaling_config=AutoscalingConfig(
            min_replicas=settings.replicas_min,
            max_replicas=settings.replicas_max,
            target_ongoing_requests=settings.ongoing_target or settings.sequences,
            upscale_delay_s=settings.upscale_delay_s,
            downscale_delay_s=settings.downscale_delay_s,
        ),
        # A few more than are computed at once, so that the engine never waits for the next.
        max_ongoing_requests=_ONGOING_FACTOR * settings.sequences,
        max_queued_requests=settings.waiting_max,
        request_router_config=_routing(settings),
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        health_check_period_s=1.0,
        graceful_shutdown_timeout_s=settings.drain_s,
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )(ModelDeployment)
    return deployment.bind(settings)


def _routing(settings: ModelSettings) -> RequestRouterConfig:
    # Ray declares every field as a dictionary.
    fields: dict[str, Any] = {
        "request_router_class": HolderRouter,
        "request_router_kwargs": {
            "holder_requests": settings.holder_requests,
            "copies_max": settings.copies_max,
            "model": settings.name,
        },
        "request_routing_stats_period_s": _STATS_S,
    }
    return RequestRouterConfig(**fields)


def application_of(model: str) -> str:
    """Names the Serve application of a model."""
    return f"memos-model-{model}"


def start(models: Sequence[ModelSettings]) -> None:
    """Starts the replicas of all models in the cluster that this process is connected to.

    Returns when they answer. Those that run already stay as they are. Where there is no door over
    HTTP yet, Serve is started without one: whoever opens one does that first.
    """
    if not models:
        return
    serve.start(
        proxy_location="Disabled",
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    running = serve.status().applications
    for settings in models:
        if application_of(settings.name) not in running:
            serve.run(bind(settings), name=application_of(settings.name), route_prefix=None)


def build(args: dict[str, Any]) -> Application:
    """Builds the application of one model for a Serve config file.

    Args:
        args: fields of `config.ModelSettings`; the application must be named as `application_of`
            says.
    """
    return bind(ModelSettings.model_validate(args))


def end() -> None:
    """Drains all replicas and ends Serve, in this process as well.

    What is left of it here would go on calling a cluster that is gone, and disturb the next one.
    """
    serve.shutdown()  # type: ignore[no-untyped-call]


def _engine(settings: ModelSettings) -> EnginePort:
    if settings.engine is EngineKind.VLLM:
        from memos_ray.serving.vllm_engine import VllmEngine

        return VllmEngine(settings)
    assert settings.factory
    module, _, name = settings.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            "the engine's factory is not there", field="models.factory", module=module
        ) from error
    engine: EnginePort = factory()
    return engine
