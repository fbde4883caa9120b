"""The authorities as one actor: supervisor, policy and lifecycle share a process.

Each of them waits far more than it works, and a Python process with its libraries costs more than a
hundred megabytes. They stay apart as classes; what one keeps the others reach by its port alone.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from typing import Any

from memos_ray.actors.lifecycle.lifecycle import MemLifecycle
from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.actors.supervisor import Supervisor
from memos_ray.cluster import assembly
from memos_ray.cluster.authorities import CONTROL, Authority
from memos_ray.cluster.clock import SystemClock
from memos_ray.cluster.crew import Crew, start_actor
from memos_ray.cluster.hosts import configure_process
from memos_ray.cluster.keyring import Keyring
from memos_ray.cluster.shard.handle import ShardHandle
from memos_ray.config import Settings
from memos_ray.core.access import keys


class ControlHost:
    """The authorities on the control store."""

    def __init__(self, settings: Settings) -> None:
        configure_process()
        self._settings = settings
        store, clock = assembly.control_store(settings), SystemClock()
        self._governance = MemGovernance(
            store=store,
            clock=clock,
            entropy=os.urandom,
            signing_key=Keyring(settings).signing_key(),
            lease_s=settings.governance.lease_s,
        )
        supervisor = Supervisor(store, Crew(settings), settings.vault)
        shard = cache(lambda name: ShardHandle(name, settings.namespace))
        self._lifecycle = MemLifecycle(store, supervisor, shard, clock, settings.lifecycle)
        self._authorities: dict[Authority, object] = {
            Authority.SUPERVISOR: supervisor,
            Authority.GOVERNANCE: self._governance,
            Authority.LIFECYCLE: self._lifecycle,
        }
        self._begun = False
        self._beginning = asyncio.Lock()

    async def ask(self, authority: Authority, method: str, *args: Any) -> Any:
        """Calls a method of an authority's port; the first call begins their work."""
        if not self._begun:
            async with self._beginning:
                await self._begin()
        return await getattr(self._authorities[authority], method)(*args)

    async def _begin(self) -> None:
        """Makes sure that there is a tenant with an administrator, and that memories age."""
        if self._begun:
            return
        proof = keys.parse(Keyring(self._settings).admin_key())
        await self._governance.bootstrap(self._settings.governance.default_tenant, proof)
        await self._lifecycle.start()
        self._begun = True


def start_control(settings: Settings) -> None:
    """Starts the authorities unless they run."""
    start_actor(ControlHost, CONTROL, settings, settings)
