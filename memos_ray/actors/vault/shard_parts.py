"""What a shard works with, and how its memories of models are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memos_ray.actors.activation.activation import ActivationMemory
from memos_ray.actors.activation.conversations import Conversations
from memos_ray.actors.activation.kv_caches import KvCaches
from memos_ray.actors.activation.kv_library import KvLibrary
from memos_ray.actors.activation.kv_rest import KvRest
from memos_ray.actors.activation.preloading import Preloader
from memos_ray.actors.activation.promoting import Writing
from memos_ray.actors.activation.retention import retention_policy
from memos_ray.actors.activation.shared_blocks import SharedBlocks
from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.actors.parameter.adapter_files import AdapterFiles
from memos_ray.actors.parameter.adapters import Adapters
from memos_ray.actors.parameter.externalising import Externalising
from memos_ray.actors.parameter.lesson_book import LessonBook
from memos_ray.actors.parameter.lessons import Lessons
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.parameter.proposals import Proposals
from memos_ray.actors.parameter.proposing import Proposing
from memos_ray.actors.parameter.relearning import Relearning
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.config import VaultSettings
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.scheduling import Learning, Promoting
from memos_ray.core.scheduling.policies import Budget
from memos_ray.core.vault.ring import Ring
from memos_ray.ports import (
    AdapterReplicasPort,
    BlobStorePort,
    ClockPort,
    EmbedderPort,
    GovernancePort,
    KvBuilderPort,
    ObjectsPort,
    ProcessProbePort,
    RecordStorePort,
    RunJournalsPort,
    TrainerPort,
    VectorStorePort,
)


@dataclass(frozen=True, slots=True)
class KvParts:
    """What a shard needs for KV caches and adapters, where models are served.

    Attributes:
        blobs: opens the blob store at its first call.
        trainer: teaches models, where some can be taught.
        promoting: the rules of each model that memories are promoted for by their use.
        promotion_pause_s: shortest time between two decisions about the same.
        replicas: what holds adapters, beside this shard.
        learning: the rules of each model that learns by what is used.
    """

    builder: KvBuilderPort
    objects: ObjectsPort
    blobs: Callable[[], BlobStorePort]
    trainer: TrainerPort | None = None
    promoting: Mapping[str, Promoting] = field(default_factory=dict)
    promotion_pause_s: float = 60.0
    replicas: AdapterReplicasPort | None = None
    learning: Mapping[str, Learning] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardParts:
    """What a shard works with; the boot code injects it.

    Attributes:
        blobs: opens the blob store at its first call; without one, archived content stays put.
        journals: what runs of pipelines hold of memories.
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
    extraction: ExtractionParts = field(default_factory=ExtractionParts)
    journals: RunJournalsPort | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Access to a shard's memories, judged by policy and counted."""

    reader: RecordReader
    guard: PolicyGuard
    usage: UsageLedger
    write: Writing


def activation_memory(
    parts: ShardParts, executor: Executor, judged: Judged, preloader: Preloader
) -> ActivationMemory:
    """Puts together what a shard knows of prompts and their KV caches."""
    settings, kv = parts.settings, parts.kv
    library = KvLibrary(
        Budget(settings.kv_bytes, settings.kv_tenant_bytes or settings.kv_bytes),
        retention_policy(settings),
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
            policy=retention_policy(settings),
            clock=parts.clock,
        )
    caches = KvCaches(
        store=parts.store,
        builder=builder,
        library=library,
        rest=rest,
        clock=parts.clock,
        executor=executor,
    )
    blocks = SharedBlocks(store=parts.store, caches=caches, clock=parts.clock, executor=executor)
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
        caches,
        conversations,
        library,
        preloader,
        reader=judged.reader,
        guard=judged.guard,
        usage=judged.usage,
        clock=parts.clock,
        write=judged.write,
        rules=kv.promoting if kv else {},
        pause_s=kv.promotion_pause_s if kv else 0.0,
    )


def parameter_memory(
    parts: ShardParts, executor: Executor, judged: Judged, prefill_s: Callable[[int], float]
) -> ParameterMemory:
    """Puts together what a shard knows of adapters, and how models learn.

    Args:
        prefill_s: says how long computing so many tokens takes.
    """
    kv = parts.kv
    adapters = lessons = externalising = relearning = proposals = proposing = None
    if kv is not None:
        files = AdapterFiles(
            store=parts.store,
            blobs=kv.blobs,
            objects=kv.objects,
            executor=executor,
            replicas=kv.replicas,
        )
        relearning = Relearning(parts.store, executor)
        adapters = Adapters(
            files,
            relearning,
            store=parts.store,
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
                LessonBook(parts.store, executor),
                reader=judged.reader,
                guard=judged.guard,
                objects=kv.objects,
                now=parts.clock.now,
                write=judged.write,
            )
            proposals = Proposals(store=parts.store, executor=executor, now=parts.clock.now)
            proposing = Proposing(
                kv.learning,
                kv.promotion_pause_s,
                proposals=proposals,
                adapters=adapters,
                lessons=lessons,
                store=parts.store,
                clock=parts.clock,
                executor=executor,
                prefill_s=prefill_s,
            )
    return ParameterMemory(
        adapters,
        lessons,
        externalising,
        relearning,
        proposals,
        proposing,
        reader=judged.reader,
        guard=judged.guard,
        clock=parts.clock,
        objects=kv.objects if kv else None,
    )
