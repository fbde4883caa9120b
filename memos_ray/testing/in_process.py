"""A whole MemOS in one process, without Ray: the real classes, wired by hand.

For tests of everything but Ray itself: real policy authority, shards, stores and service, direct
calls instead of remote ones. Shards can be "killed": they stop answering and keep whatever they
hold, like a process that was cut off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.extraction.allowances import Allowances
from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.actors.lifecycle.lifecycle import MemLifecycle
from memos_ray.actors.pipelines.erasing import RunJournals
from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.actors.supervisor import Supervisor, load_ring
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.actors.vault.shard_parts import KvParts, ShardParts
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.cluster.clock import OwnProcess, SystemClock
from memos_ray.config import LifecycleSettings, LimitSettings, VaultSettings
from memos_ray.core.access import keys
from memos_ray.core.access.administration import IssueKey, PutNamespace, PutPrincipal
from memos_ray.core.access.model import NamespaceKind, PrincipalRecord, default_spec
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.scheduling import Learning, Promoting
from memos_ray.errors import UnavailableError
from memos_ray.gateway.admin.service import AdminService
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.doorway import Backend, Doorway
from memos_ray.gateway.memories.completing import Completing
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.ports import (
    AdapterReplicasPort,
    ClockPort,
    ControlStorePort,
    EmbedderPort,
    HookPort,
    KvBuilderPort,
    ModelPort,
    RecordStorePort,
    ShardPort,
    TrainerPort,
    VectorStorePort,
)
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.pipelines import runner_over


class LocalObjects:
    """The objects of one process: a reference is the object. Implements `ports.ObjectsPort`."""

    async def put(self, value: Any) -> object:
        """See `ObjectsPort`."""
        return value

    async def get(self, reference: object) -> Any:
        """See `ObjectsPort`."""
        return reference


@dataclass
class Crew:
    """Shards of this process, by name. Implements `ports.CrewPort`."""

    make: Callable[[str], VaultShard]
    shards: dict[str, VaultShard] = field(default_factory=dict)
    dead: list[VaultShard] = field(default_factory=list)

    async def start_pipelines(self) -> None:
        """It runs already."""

    async def has_pipelines(self) -> bool:
        """It runs already."""
        return True

    async def start_shard(self, name: str) -> None:
        """Makes a shard unless there is one."""
        if name not in self.shards:
            self.shards[name] = self.make(name)

    async def has_shard(self, name: str) -> bool:
        """Says whether there is a shard of this name."""
        return name in self.shards

    async def stop_shard(self, name: str) -> None:
        """Closes a shard."""
        await self.shards.pop(name).close()

    def shard(self, name: str) -> ShardPort:
        """Returns a shard.

        Raises:
            UnavailableError: there is none of this name.
        """
        if name not in self.shards:
            raise UnavailableError("the actor is away", actor=name)
        return self.shards[name]

    def cut_off(self, name: str) -> VaultShard:
        """Makes a shard unreachable; it goes on running, as behind a broken network."""
        zombie = self.shards.pop(name)
        self.dead.append(zombie)
        return zombie


@dataclass
class InProcess:
    """The parts, for tests to reach into."""

    doorway: Doorway
    supervisor: Supervisor
    crew: Crew
    governance: MemGovernance
    store: RecordStorePort
    control: ControlStorePort
    clock: ClockPort
    administrator: Caller
    backend: Backend
    administrator_id: str = "user:admin"

    @property
    def service(self) -> MemoryService:
        """The memory API."""
        return self.doorway.memories

    @property
    def admin(self) -> AdminService:
        """The administration."""
        return self.doorway.admin

    async def caller(self, principal: str, *roles: str) -> Caller:
        """Makes a principal with a key of its own."""
        record = PrincipalRecord(principal, roles)
        await self.admin.change(self.administrator, PutPrincipal(record))
        changed = await self.admin.change(self.administrator, IssueKey(principal))
        return replace(self.administrator, credential=changed.secret or "")

    async def namespace(self, name: str) -> str:
        """Makes a namespace of the administrator's own."""
        spec = default_spec(name, NamespaceKind.USER_PRIVATE, self.administrator_id)
        await self.admin.change(self.administrator, PutNamespace(spec))
        return name


@asynccontextmanager
async def in_process(
    folder: Path,
    *,
    embedder: EmbedderPort | None = None,
    vectors: Callable[[str], VectorStorePort] | None = None,
    settings: VaultSettings | None = None,
    limits: LimitSettings | None = None,
    lifecycle: LifecycleSettings | None = None,
    clock: ClockPort | None = None,
    store: RecordStorePort | None = None,
    control: ControlStorePort | None = None,
    models: Mapping[str, ModelPort] | None = None,
    kv_builder: KvBuilderPort | None = None,
    promoting: Mapping[str, Promoting] | None = None,
    learning: Mapping[str, Learning] | None = None,
    trainer: TrainerPort | None = None,
    replicas: AdapterReplicasPort | None = None,
    hooks: HookPort | None = None,
    extraction: ExtractionParts | None = None,
    completing: Completing | None = None,
    timeout_s: float = 10.0,
) -> AsyncIterator[InProcess]:
    """Runs a MemOS for the length of a block; `folder` keeps its data.

    Args:
        vectors: gives each shard its vector store, by the shard's name.
        promoting: rules of the models that memories are promoted for; decided at every prompt.
        learning: rules of the models that learn by what is used; decided at every prompt.
    """
    time = clock or SystemClock()
    model = embedder or HashingEmbedder()
    vault = settings or VaultSettings(partitions=4)
    blobs = BlobStore.local(folder / "blobs")
    contents = ArchivedContents(lambda: blobs)
    records = store or SqlRecordStore.embedded(folder / "records", contents)
    documents = control or SqlControlStore.embedded(folder / "records")
    signing_key = Ed25519PrivateKey.generate()
    governance = MemGovernance(documents, time, os.urandom, signing_key)
    admin_key = keys.mint("default", os.urandom(keys.KEY_ENTROPY_BYTES)).secret
    await governance.bootstrap("default", keys.parse(admin_key))
    reading = extraction or ExtractionParts()
    parts = ShardParts(
        store=records,
        vectors=None,
        embedder=model,
        governance=governance,
        ring=lambda: load_ring(documents),
        public_key=governance.public_key(),
        clock=time,
        probe=OwnProcess(),
        settings=vault,
        retrieval=RetrievalSettings(),
        blobs=lambda: blobs,
        extraction=replace(
            reading, allowances=Allowances(documents, time, reading.settings.budget())
        ),
        journals=RunJournals(documents, time),
        kv=None
        if kv_builder is None
        else KvParts(
            kv_builder,
            LocalObjects(),
            lambda: blobs,
            trainer,
            promoting or {},
            promotion_pause_s=0.0,
            replicas=replicas,
            learning=learning or {},
        ),
    )

    def make(name: str) -> VaultShard:
        return VaultShard(name, replace(parts, vectors=vectors(name)) if vectors else parts)

    crew = Crew(make)
    supervisor = Supervisor(documents, crew, vault)
    schedule = MemLifecycle(
        documents, supervisor, crew.shard, time, lifecycle or LifecycleSettings(enabled=False)
    )
    backend = Backend(
        supervisor=supervisor,
        governance=governance,
        lifecycle=schedule,
        shard=crew.shard,
        embedder=lambda: model,
        blobs=lambda: blobs,
        public_key=governance.public_key(),
        clock=time,
        models=models or {},
        extracts=extraction is not None and extraction.extractor is not None,
        completing=completing,
    )
    runner = runner_over(backend, documents, hooks=hooks, timeout_s=timeout_s)
    backend = replace(backend, pipelines=runner)
    doorway = Doorway(backend, limits or LimitSettings(), timeout_s)
    try:
        await supervisor.boot()
        yield InProcess(
            doorway,
            supervisor,
            crew,
            governance,
            records,
            documents,
            time,
            Caller(admin_key),
            backend,
        )
    finally:
        await runner.close()
        await schedule.close()
        await supervisor.close()
        await doorway.close()
        await _close([*crew.shards.values(), *crew.dead])
        documents.close()
        records.close()


async def _close(shards: Sequence[VaultShard]) -> None:
    await asyncio.gather(*(shard.close() for shard in shards))
