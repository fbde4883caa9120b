"""Parameter memory: LoRA adapters, and which of them fit a model."""

from __future__ import annotations

from memos_ray.core.parameter.fit import AdapterLimits, AdapterRefusal, check
from memos_ray.core.parameter.manifest import AdapterManifest, TensorSpec, module_of
from memos_ray.core.parameter.payload import AdapterPayload, read_tensors
from memos_ray.core.parameter.teaching import (
    Lesson,
    TeachingReport,
    TeachingState,
    TrainingProgress,
    TrainingSpec,
)

__all__ = [
    "AdapterLimits",
    "AdapterManifest",
    "AdapterPayload",
    "AdapterRefusal",
    "Lesson",
    "TeachingReport",
    "TeachingState",
    "TensorSpec",
    "TrainingProgress",
    "TrainingSpec",
    "check",
    "module_of",
    "read_tensors",
]
