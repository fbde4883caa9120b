"""The authorities as one actor: supervisor, policy, lifecycle and accounts share a process.

Each of them waits far more than it works, and a Python process with its libraries costs more than a
hundred megabytes. They stay apart as classes; what one keeps the others reach by its port alone.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from typing import Any

from memos_ray.actors.extraction.allowances import Allowances
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
from memos_ray.ports import ControlStorePort


class ControlHost:
    """The authorities on the control store.

    It is opened by the first call that finds it: Ray starts no actor again whose constructor has
    failed, and the store may be away just when this process is started anew.
    """

    def __init__(self, settings: Settings) -> None:
        configure_process()
        self._settings = settings
        self._store: ControlStorePort | None = None
        self._authorities: dict[Authority, object] = {}
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
        settings = self._settings
        if self._store is None:
            self._store = await asyncio.to_thread(assembly.control_store, settings)
        store, clock = self._store, SystemClock()
        keyring = Keyring(settings)
        governance = MemGovernance(
            store=store,
            clock=clock,
            entropy=os.urandom,
            signing_key=keyring.signing_key(),
            lease_s=settings.governance.lease_s,
        )
        proof = keys.parse(keyring.admin_key())
        await governance.bootstrap(settings.governance.default_tenant, proof)
        supervisor = Supervisor(store, Crew(settings), settings.vault)
        shard = cache(lambda name: ShardHandle(name, settings.namespace))
        lifecycle = MemLifecycle(store, supervisor, shard, clock, settings.lifecycle)
        await lifecycle.start()
        self._authorities = {
            Authority.SUPERVISOR: supervisor,
            Authority.GOVERNANCE: governance,
            Authority.LIFECYCLE: lifecycle,
            Authority.ALLOWANCES: Allowances(store, clock, settings.extraction.budget()),
        }
        self._begun = True


def start_control(settings: Settings) -> None:
    """Starts the authorities unless they run."""
    start_actor(ControlHost, CONTROL, settings, settings)
