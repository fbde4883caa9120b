"""What a shard works with, and how its memories of models are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memos_ray.actors.activation import ActivationMemory
from memos_ray.actors.adapters import Adapters
from memos_ray.actors.conversations import Conversations
from memos_ray.actors.externalising import Externalising
from memos_ray.actors.guard import PolicyGuard
from memos_ray.actors.kv_library import KvLibrary
from memos_ray.actors.kv_rest import KvRest
from memos_ray.actors.lessons import Lessons
from memos_ray.actors.parameter import ParameterMemory
from memos_ray.actors.promoting import Writing
from memos_ray.actors.reading import RecordReader
from memos_ray.actors.shared_blocks import SharedBlocks
from memos_ray.actors.usage import UsageLedger
from memos_ray.config import KvRetention, VaultSettings
from memos_ray.core.activation import (
    CostAware,
    KvBudget,
    LeastRecentlyUsed,
    RetentionPolicy,
)
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.scheduling import Promoting
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import (
    BlobStorePort,
    ClockPort,
    EmbedderPort,
    GovernancePort,
    KvBuilderPort,
    ObjectsPort,
    ProcessProbePort,
    RecordStorePort,
    TrainerPort,
    VectorStorePort,
)

_RETENTION: dict[KvRetention, Callable[[], RetentionPolicy]] = {
    KvRetention.COST: CostAware,
    KvRetention.LRU: LeastRecentlyUsed,
}


@dataclass(frozen=True, slots=True)
class KvParts:
    """What a shard needs for KV caches and adapters, where models are served.

    Attributes:
        blobs: opens the blob store at its first call.
        trainer: teaches models, where some can be taught.
        promoting: the rules of each model that memories are promoted for by their use.
        promotion_pause_s: shortest time between two decisions about the same.
    """

    builder: KvBuilderPort
    objects: ObjectsPort
    blobs: Callable[[], BlobStorePort]
    trainer: TrainerPort | None = None
    promoting: Mapping[str, Promoting] = field(default_factory=dict)
    promotion_pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ShardParts:
    """What a shard works with; the boot code injects it.

    Attributes:
        blobs: opens the blob store at its first call; without one, archived content stays put.
    """

    store: RecordStorePort
    vectors: VectorStorePort | None
    embedder: EmbedderPort
    governance: GovernancePort
    ring: Callable[[], Ring]
    public_key: bytes
    clock: ClockPort
    probe: ProcessProbePort
    settings: VaultSettings
    retrieval: RetrievalSettings
    kv: KvParts | None = None
    blobs: Callable[[], BlobStorePort] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Access to a shard's memories, judged by policy and counted."""

    reader: RecordReader
    guard: PolicyGuard
    usage: UsageLedger
    write: Writing


def activation_memory(parts: ShardParts, executor: Executor, judged: Judged) -> ActivationMemory:
    """Puts together what a shard knows of prompts and their KV caches."""
    settings, kv = parts.settings, parts.kv
    library = KvLibrary(
        KvBudget(settings.kv_bytes, settings.kv_tenant_bytes or settings.kv_bytes),
        _RETENTION[settings.kv_retention](),
        parts.clock,
    )
    builder = kv.builder if kv else None
    rest = None
    if kv is not None and settings.kv_rest_bytes:
        rest = KvRest(
            store=parts.store,
            blobs=kv.blobs,
            objects=kv.objects,
            executor=executor,
            budget_bytes=settings.kv_rest_bytes,
        )
    blocks = SharedBlocks(
        store=parts.store,
        builder=builder,
        library=library,
        rest=rest,
        clock=parts.clock,
        executor=executor,
    )
    conversations = Conversations(
        store=parts.store,
        builder=builder,
        library=library,
        clock=parts.clock,
        executor=executor,
        budget_bytes=settings.conversation_bytes,
    )
    return ActivationMemory(
        blocks,
        conversations,
        library,
        reader=judged.reader,
        guard=judged.guard,
        usage=judged.usage,
        clock=parts.clock,
        write=judged.write,
        rules=kv.promoting if kv else {},
        pause_s=kv.promotion_pause_s if kv else 0.0,
    )


def parameter_memory(parts: ShardParts, executor: Executor, judged: Judged) -> ParameterMemory:
    """Puts together what a shard knows of adapters, and how models learn."""
    kv = parts.kv
    adapters = lessons = externalising = None
    if kv is not None:
        adapters = Adapters(
            store=parts.store,
            blobs=kv.blobs,
            objects=kv.objects,
            executor=executor,
            now=parts.clock.now,
        )
        externalising = Externalising(
            adapters,
            kv.trainer,
            reader=judged.reader,
            now=parts.clock.now,
            write=judged.write,
        )
        if kv.trainer is not None:
            lessons = Lessons(
                adapters,
                kv.trainer,
                objects=kv.objects,
                now=parts.clock.now,
                write=judged.write,
            )
    return ParameterMemory(
        adapters,
        lessons,
        externalising,
        reader=judged.reader,
        guard=judged.guard,
        clock=parts.clock,
        objects=kv.objects if kv else None,
    )
