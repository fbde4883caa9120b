"""What runs inside each actor process: a plain class with its real parts.

The classes are ordinary and importable; `crew.py` turns them into actors. The constructor opens
the stores, so that a restarted actor recovers from them alone.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import cache
from typing import Any

from memos_ray.actors import interpreter
from memos_ray.actors.pipelines.erasing import RunJournals
from memos_ray.actors.pipelines.journal import PipelineJournal
from memos_ray.actors.pipelines.pipelines import PipelineRunner, RunnerParts
from memos_ray.actors.pipelines.vault import PipelineVault
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.routing import Router
from memos_ray.actors.supervisor import load_ring
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.cluster import assembly
from memos_ray.cluster.authorities import AllowanceHandle, PolicyHandle, SupervisorHandle
from memos_ray.cluster.clock import OwnProcess, SystemClock
from memos_ray.cluster.packing import Packed, pack, unpack
from memos_ray.cluster.shard.handle import ShardHandle
from memos_ray.config import Settings


def configure_process() -> None:
    """Sets up an actor's process: its threads' turns, its log."""
    interpreter.tune()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


class ShardHost(VaultShard):
    """A vault shard with the stores and the embedder that the settings name."""

    def __init__(self, name: str, settings: Settings, public_key: bytes) -> None:
        configure_process()
        control = assembly.control_store(settings)
        super().__init__(
            name,
            ShardParts(
                store=assembly.record_store(settings),
                vectors=assembly.vector_store(settings, name),
                embedder=assembly.embedder(settings.embedder),
                governance=PolicyHandle(settings.namespace),
                ring=lambda: load_ring(control),
                public_key=public_key,
                clock=SystemClock(),
                probe=OwnProcess(),
                settings=settings.vault,
                retrieval=assembly.retrieval_settings(settings),
                kv=assembly.kv_parts(settings),
                blobs=cache(lambda: assembly.blob_store(settings)),
                extraction=replace(
                    assembly.extraction_parts(settings),
                    allowances=AllowanceHandle(settings.namespace),
                ),
                journals=RunJournals(control, SystemClock()),
            ),
        )

    async def close(self) -> None:
        """Flushes, gives everything up and closes the stores."""
        await super().close()
        if self._parts.vectors is not None:
            self._parts.vectors.close()
        self._parts.store.close()

    async def start_prompt_apart(self, packed: Packed) -> tuple[Packed, list[Any]]:
        """Calls `start_prompt`; references stand beside what is packed, for Ray to carry."""
        found, references = (await self.start_prompt(*unpack(packed))).apart()
        return pack(found), references

    async def call(self, method: str, packed: Packed) -> Packed:
        """Calls a method of `ShardPort` with packed arguments; packs its answer."""
        return pack(await getattr(self, method)(*unpack(packed)))


class PipelineHost(PipelineRunner):
    """The runner of pipelines on the control store."""

    def __init__(self, settings: Settings, public_key: bytes) -> None:
        # Here, so that shards, which call nobody, do without an HTTP client.
        from memos_ray.adapters.hooks import HttpHooks

        configure_process()
        clock = SystemClock()
        supervisor = SupervisorHandle(settings.namespace)
        router = Router(
            supervisor,
            cache(lambda name: ShardHandle(name, settings.namespace)),
            clock,
            settings.gateway.timeout_s,
        )
        super().__init__(
            RunnerParts(
                journal=PipelineJournal(
                    assembly.control_store(settings), clock, settings.pipelines.kept
                ),
                vault=PipelineVault(
                    router,
                    PolicyGuard(public_key, PolicyHandle(settings.namespace), clock),
                    cache(lambda: assembly.embedder(settings.embedder)),
                    clock,
                    os.urandom,
                ),
                models=assembly.models(settings),
                hooks=HttpHooks(settings.pipelines.hooks),
                settings=settings.pipelines,
            )
        )

    async def pid(self) -> int:
        """Returns the id of this process."""
        return os.getpid()

    async def call(self, method: str, packed: Packed) -> Packed:
        """Calls a method of `PipelinesPort` with packed arguments; packs its answer."""
        return pack(await getattr(self, method)(*unpack(packed)))
