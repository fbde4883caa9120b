"""Parameter memory: LoRA adapters, and which of them fit a model."""

from __future__ import annotations

from memos_ray.core.parameter.fit import AdapterLimits, AdapterRefusal, check
from memos_ray.core.parameter.manifest import AdapterManifest, TensorSpec, module_of
from memos_ray.core.parameter.payload import AdapterPayload, read_tensors

__all__ = [
    "AdapterLimits",
    "AdapterManifest",
    "AdapterPayload",
    "AdapterRefusal",
    "TensorSpec",
    "check",
    "module_of",
    "read_tensors",
]
