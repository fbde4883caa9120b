"""Every internal protocol: what the core and the actors need from the outside.

Store methods are synchronous and blocking; actors call them from worker threads. They raise the
named errors of `memos_ray.errors` and let nothing of their library through. One contract suite per
port in `tests/contract` runs on every adapter.
"""

from __future__ import annotations

from memos_ray.ports.actors import (
    CrewPort,
    GovernancePort,
    LifecyclePort,
    RingPort,
    ShardPort,
    SupervisorPort,
)
from memos_ray.ports.arrays import Vectors
from memos_ray.ports.control import ControlStorePort
from memos_ray.ports.derivations import Among, Derivation, DerivationsPort
from memos_ray.ports.derived import BlobStorePort, VectorRecord, VectorStorePort
from memos_ray.ports.environment import ClockPort, ProcessProbePort
from memos_ray.ports.extraction import AllowancePort, ExtractorPort
from memos_ray.ports.models import (
    AdapterReplicasPort,
    EmbedderPort,
    EnginePort,
    KvBuilderPort,
    ModelPort,
    TokenizerPort,
)
from memos_ray.ports.objects import ObjectsPort
from memos_ray.ports.pipelines import HookPort, PipelinesPort, RunJournalsPort
from memos_ray.ports.records import (
    ContentsPort,
    Damaged,
    EventQuery,
    LogPiece,
    LogRequest,
    NamespaceSize,
    RecordStorePort,
    Sifted,
    StoredVectors,
)
from memos_ray.ports.training import (
    AdapterRoom,
    CombinedAdapters,
    ForeignAdapter,
    ProbingSpec,
    Trained,
    TrainerPort,
    TrainingProgress,
    TrainingSpec,
    Wordings,
)

__all__ = [
    "AdapterReplicasPort",
    "AdapterRoom",
    "AllowancePort",
    "Among",
    "BlobStorePort",
    "ClockPort",
    "CombinedAdapters",
    "ContentsPort",
    "ControlStorePort",
    "CrewPort",
    "Damaged",
    "Derivation",
    "DerivationsPort",
    "EmbedderPort",
    "EnginePort",
    "EventQuery",
    "ExtractorPort",
    "ForeignAdapter",
    "GovernancePort",
    "HookPort",
    "KvBuilderPort",
    "LifecyclePort",
    "LogPiece",
    "LogRequest",
    "ModelPort",
    "NamespaceSize",
    "ObjectsPort",
    "PipelinesPort",
    "ProbingSpec",
    "ProcessProbePort",
    "RecordStorePort",
    "RingPort",
    "RunJournalsPort",
    "ShardPort",
    "Sifted",
    "StoredVectors",
    "SupervisorPort",
    "TokenizerPort",
    "Trained",
    "TrainerPort",
    "TrainingProgress",
    "TrainingSpec",
    "VectorRecord",
    "VectorStorePort",
    "Vectors",
    "Wordings",
]
