"""Plain classes become actors here, and nowhere else: all actor options sit on this page."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from memos_ray.cluster.hosts import PipelineHost, ShardHost
from memos_ray.cluster.keyring import Keyring, without_keys
from memos_ray.cluster.pipeline_handle import PIPELINES, PipelineHandle
from memos_ray.cluster.shard.handle import ShardHandle
from memos_ray.config import Settings
from memos_ray.errors import MemosError, UnavailableError

# Of calls that wait: a reader of policy holds one for each tenant that it serves.
_CONCURRENCY = 100_000


def start_actor(host: type, name: str, settings: Settings, *args: object) -> Any:
    """Starts a named actor unless there is one.

    Detached, so that it outlives whoever started it; restarted by Ray without limit, since it
    recovers from the stores; its calls are never repeated by Ray: callers know which may be.
    """
    return (
        ray.remote(host)
        .options(
            name=name,
            namespace=settings.namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=_CONCURRENCY,
            num_cpus=1,
        )
        .remote(*args)
    )


class Crew:
    """The actors of a cluster. Implements `ports.CrewPort`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._public_key = Keyring(settings).public_key()
        self._shards: dict[str, ShardHandle] = {}
        self._pipelines = PipelineHandle(settings.namespace)

    async def start_pipelines(self) -> None:
        """Starts the runner of pipelines and has it resume what it finds."""
        settings = without_keys(self._settings)
        await asyncio.to_thread(
            start_actor, PipelineHost, PIPELINES, settings, settings, self._public_key
        )
        await self._pipelines.resume()

    async def has_pipelines(self) -> bool:
        """Says whether the runner of pipelines has been started."""
        return await asyncio.to_thread(self._exists, PIPELINES)

    async def start_shard(self, name: str) -> None:
        """Starts a shard unless it runs."""
        settings = without_keys(self._settings)
        await asyncio.to_thread(
            start_actor, ShardHost, name, settings, name, settings, self._public_key
        )

    async def has_shard(self, name: str) -> bool:
        """Says whether a shard of this name is there."""
        return await asyncio.to_thread(self._exists, name)

    async def stop_shard(self, name: str) -> None:
        """Closes a shard and ends its process."""
        try:
            await self.shard(name).close()
        except MemosError as error:
            if not isinstance(error, UnavailableError):
                raise
        await asyncio.to_thread(self._kill, name)
        self._shards.pop(name, None)

    def shard(self, name: str) -> ShardHandle:
        """Returns a shard's handle."""
        return self._shards.setdefault(name, ShardHandle(name, self._settings.namespace))

    def _exists(self, name: str) -> bool:
        try:
            ray.get_actor(name, namespace=self._settings.namespace)
        except ValueError:
            return False
        return True

    def _kill(self, name: str) -> None:
        try:
            ray.kill(ray.get_actor(name, namespace=self._settings.namespace), no_restart=True)
        except ValueError:
            return
