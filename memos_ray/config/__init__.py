"""Settings: one tree, from arguments, the environment and defaults."""

from __future__ import annotations

from memos_ray.config.dialogue import DialogueSettings
from memos_ray.config.extraction import ExtractionSettings
from memos_ray.config.lifecycle import LifecycleSettings
from memos_ray.config.models import (
    AdapterPromotion,
    DType,
    EngineKind,
    LimitField,
    ModelSettings,
    PromotionSettings,
    TeachingSettings,
)
from memos_ray.config.pipelines import PipelineSettings
from memos_ray.config.settings import (
    ENV_NESTING,
    ENV_PREFIX,
    BlobSettings,
    ClientSettings,
    EmbedderKind,
    EmbedderSettings,
    GatewaySettings,
    GovernanceSettings,
    KvRetention,
    LimitSettings,
    RecordSettings,
    RetrievalTuning,
    Settings,
    VaultSettings,
    VectorSettings,
    env_name,
)

__all__ = [
    "ENV_NESTING",
    "ENV_PREFIX",
    "AdapterPromotion",
    "BlobSettings",
    "ClientSettings",
    "DType",
    "DialogueSettings",
    "EmbedderKind",
    "EmbedderSettings",
    "EngineKind",
    "ExtractionSettings",
    "GatewaySettings",
    "GovernanceSettings",
    "KvRetention",
    "LifecycleSettings",
    "LimitField",
    "LimitSettings",
    "ModelSettings",
    "PipelineSettings",
    "PromotionSettings",
    "RecordSettings",
    "RetrievalTuning",
    "Settings",
    "TeachingSettings",
    "VaultSettings",
    "VectorSettings",
    "env_name",
]
