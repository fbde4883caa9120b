"""Vault shards on one store, in one process, behind a real policy authority."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.cluster.clock import OwnProcess
from memos_ray.config import VaultSettings
from memos_ray.core.access import keys
from memos_ray.core.access.administration import PutNamespace, PutPrincipal, PutRule
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.model import (
    Effect,
    NamespaceKind,
    NamespaceMode,
    PrincipalRecord,
    Rule,
    default_spec,
)
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import ClockPort, EmbedderPort, RecordStorePort, VectorStorePort
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.guards import ADMINISTRATOR


@dataclass
class ShardBench:
    """Makes shards that share a store, a clock and an authority.

    Attributes:
        ring: what a shard that has just been started takes over.
    """

    store: RecordStorePort
    clock: ClockPort
    ring: Callable[[], Ring]
    settings: VaultSettings = field(default_factory=VaultSettings)
    embedder: EmbedderPort = field(default_factory=HashingEmbedder)
    vectors: VectorStorePort | None = None

    def __post_init__(self) -> None:
        self._dice = random.Random(0)
        self.governance = MemGovernance(
            MemoryControlStore(), self.clock, self._dice.randbytes, Ed25519PrivateKey.generate()
        )

    async def admit(
        self, tenant: str, principals: Sequence[str], pools: Mapping[str, NamespaceMode]
    ) -> None:
        """Makes a tenant with principals, and pools that all of them are members of.

        What says nothing else of itself is private there. `ADMINISTRATOR`, where it is among
        them, administers the tenant.
        """
        key = keys.mint(tenant, self._dice.randbytes(keys.KEY_ENTROPY_BYTES))
        await self.governance.bootstrap(tenant, keys.parse(key.secret))
        administrator = CallContext(
            Principal(tenant, "user:admin", ("admin",), f"key:{key.key_id}")
        )
        for principal in principals:
            operation = PutPrincipal(PrincipalRecord(principal))
            await self.governance.change(administrator, operation)
        if ADMINISTRATOR in principals:
            rule = Rule("lead", Effect.ALLOW, (Action.ADMINISTER,), ("*",), (ADMINISTRATOR,))
            await self.governance.change(administrator, PutRule(rule))
        for name, mode in pools.items():
            spec = replace(
                default_spec(name, NamespaceKind.CONTEXTUAL_POOL, "user:admin"),
                members=tuple(principals),
                mode=mode,
                default_visibility=Visibility.PRIVATE,
            )
            await self.governance.change(administrator, PutNamespace(spec))

    def shard(self, name: str, store: RecordStorePort | None = None) -> VaultShard:
        """Starts a shard.

        Args:
            store: as this shard sees the common one, faults included.
        """
        return VaultShard(
            name,
            ShardParts(
                store=store or self.store,
                vectors=self.vectors,
                embedder=self.embedder,
                governance=self.governance,
                ring=self.ring,
                public_key=self.governance.public_key(),
                clock=self.clock,
                probe=OwnProcess(),
                settings=self.settings,
                retrieval=RetrievalSettings(),
            ),
        )
