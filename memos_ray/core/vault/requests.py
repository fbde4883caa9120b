"""What a gateway asks of a shard besides searching."""

from __future__ import annotations

from dataclasses import dataclass, field

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.parameter import FusionMethod


@crossing
@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of a namespace's memories in one partition, newest first.

    Attributes:
        after: (`created_at` in microseconds, id) of the last memory of the page before.
    """

    context: CallContext
    namespace: str
    predicate: Predicate = field(default_factory=Everything)
    after: tuple[int, str] | None = None
    limit: int = 20
    include_deleted: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class Follower:
    """How far something that follows the logs of a shard's partitions has come.

    Attributes:
        behind_s: since when it has not been level with what it may take, where that is longest.
        aside: entries that it could not take, and has gone on without.
        stalled_by: code of an error that keeps it from going on, if there is one.
    """

    behind_s: float = 0.0
    aside: int = 0
    stalled_by: str | None = None

    def and_of(self, other: Follower) -> Follower:
        """Sums up two partitions."""
        return Follower(
            max(self.behind_s, other.behind_s),
            self.aside + other.aside,
            self.stalled_by or other.stalled_by,
        )


@crossing
@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What an operator wants to know of a shard.

    Attributes:
        partitions: epoch by partition.
        lag: by partition, log entries that are not yet embedded.
        index_lag: by partition, log entries that Milvus has not yet seen.
        kv_bytes: of KV caches in the object store.
        kv_rest_bytes: of KV caches at rest, as files.
        conversations: how many are kept.
        extraction_queued: jobs of extraction that are not done and not parked.
        followers: what follows the logs, by name.
    """

    name: str
    pid: int
    partitions: dict[int, int]
    queued: int
    lag: dict[int, int]
    index_lag: dict[int, int]
    resident_namespaces: int
    resident_memories: int
    resident_bytes: int
    kv_bytes: int
    kv_rest_bytes: int
    conversations: int
    rss_bytes: int
    vector_store: str
    counters: dict[str, int]
    extraction_queued: int = 0
    followers: dict[str, Follower] = field(default_factory=dict)


@crossing
@dataclass(frozen=True, slots=True)
class TeachRequest:
    """Memories of one namespace that a model is to learn.

    Attributes:
        ids: of plaintext memories, or of activation memories, which stand for their sources.
        minted_id: for the lesson, and the parameter memory that it leads to.
        reason: for the log.
        automatic: whether the scheduler wants it, and no caller.
    """

    context: CallContext
    namespace: str
    ids: tuple[str, ...]
    model: str
    minted_id: str
    reason: str | None = None
    automatic: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class MergeRequest:
    """Live adapters of one namespace and model that become one.

    Attributes:
        ids: of their parameter memories.
        weights: of each; 1 when there are none.
        density: see `FusionPlan`.
        minted_id: for the lesson, and the parameter memory that it leads to.
        reason: for the log.
    """

    context: CallContext
    namespace: str
    ids: tuple[str, ...]
    method: FusionMethod
    weights: tuple[float, ...]
    density: float | None
    minted_id: str
    reason: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An adapter that was made elsewhere, in PEFT's files.

    Attributes:
        ids: of the memories that it is about, all of one namespace.
        config: its configuration.
        tensors: its safetensors file.
        minted_id: for the lesson, and the parameter memory that it leads to.
        reason: for the log.
    """

    context: CallContext
    namespace: str
    ids: tuple[str, ...]
    model: str
    config: bytes
    tensors: bytes
    minted_id: str
    reason: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """Memories of one namespace that prompts are to begin with, under one model.

    Attributes:
        minted_id: for the activation memory.
        automatic: whether the scheduler wants it, and no caller.
        reason: for the log.
    """

    context: CallContext
    namespace: str
    ids: tuple[str, ...]
    model: str
    minted_id: str
    automatic: bool = False
    reason: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class ExternaliseRequest:
    """An adapter of a namespace whose knowledge is to become plaintext memories.

    Attributes:
        probe: whether the model is asked what it knows, beside what it was taught.
    """

    context: CallContext
    namespace: str
    adapter_id: str
    probe: bool = True
