"""Parameter memory: LoRA adapters, and which of them fit a model."""

from __future__ import annotations

from memos_ray.core.parameter.files import at_rest, weights_of
from memos_ray.core.parameter.fit import AdapterLimits, AdapterRefusal, check
from memos_ray.core.parameter.fusion import (
    DENSITIES,
    PARENTS_MAX,
    FusionMethod,
    FusionPlan,
    fusion_advice,
    joined_origin,
    plan_fusion,
)
from memos_ray.core.parameter.manifest import AdapterManifest, AdapterOrigin, TensorSpec, module_of
from memos_ray.core.parameter.payload import (
    AdapterPayload,
    Bytes,
    pack_tensors,
    read_tensors,
)
from memos_ray.core.parameter.proposals import ProposalReport, ProposedMemory
from memos_ray.core.parameter.reports import (
    AdapterPart,
    Externalised,
    ExternaliseReport,
    ProbingState,
    TeachingReport,
    TeachingState,
    Way,
)

__all__ = [
    "DENSITIES",
    "PARENTS_MAX",
    "AdapterLimits",
    "AdapterManifest",
    "AdapterOrigin",
    "AdapterPart",
    "AdapterPayload",
    "AdapterRefusal",
    "Bytes",
    "ExternaliseReport",
    "Externalised",
    "FusionMethod",
    "FusionPlan",
    "ProbingState",
    "ProposalReport",
    "ProposedMemory",
    "TeachingReport",
    "TeachingState",
    "TensorSpec",
    "Way",
    "at_rest",
    "check",
    "fusion_advice",
    "joined_origin",
    "module_of",
    "pack_tensors",
    "plan_fusion",
    "read_tensors",
    "weights_of",
]
