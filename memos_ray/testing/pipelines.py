"""Runners of pipelines over a MemOS in this process, and a webhook that remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from memos_ray.actors.pipelines.journal import PipelineJournal
from memos_ray.actors.pipelines.pipelines import PipelineRunner, RunnerParts
from memos_ray.actors.pipelines.vault import PipelineVault
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.routing import Router
from memos_ray.config import PipelineSettings
from memos_ray.core.pipeline.hooks import allowed
from memos_ray.errors import MemosError, PermissionDeniedError
from memos_ray.gateway.doorway import Backend
from memos_ray.ports import ControlStorePort, HookPort, ModelPort, ShardPort


@dataclass(slots=True)
class RememberedHooks:
    """Keeps what is published instead of sending it. Implements `ports.HookPort`.

    Attributes:
        places: that are allowed.
        sent: URL, key and body of each message.
        errors: raised by the next messages, one each.
    """

    places: tuple[str, ...] = ()
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    errors: list[MemosError] = field(default_factory=list)

    def allows(self, url: str) -> bool:
        """See `HookPort`."""
        return allowed(url, self.places)

    async def post(self, url: str, key: str, body: bytes, timeout_s: float) -> None:
        """See `HookPort`."""
        if not self.allows(url):
            raise PermissionDeniedError("the settings allow no pipeline to publish there")
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append((url, key, body))


def runner_over(
    backend: Backend,
    control: ControlStorePort,
    *,
    hooks: HookPort | None = None,
    models: Mapping[str, ModelPort] | None = None,
    settings: PipelineSettings | None = None,
    shard: Callable[[str], ShardPort] | None = None,
    timeout_s: float = 10.0,
) -> PipelineRunner:
    """Makes a runner; several over one store are like incarnations of one actor.

    Args:
        shard: finds shards in another way than the doors do.
    """
    chosen = settings or PipelineSettings()
    clock = backend.clock
    router = Router(backend.supervisor, shard or backend.shard, clock, timeout_s)
    guard = PolicyGuard(backend.public_key, backend.governance, clock)
    return PipelineRunner(
        RunnerParts(
            journal=PipelineJournal(control, clock, chosen.kept),
            vault=PipelineVault(router, guard, backend.embedder, clock, os.urandom),
            models=backend.models if models is None else models,
            hooks=hooks or RememberedHooks(),
            settings=chosen,
        )
    )
