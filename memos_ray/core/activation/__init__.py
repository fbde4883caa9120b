"""Activation memory: what identifies a KV cache, and who may use it."""

from __future__ import annotations

from memos_ray.core.activation.engine import EngineFingerprint, KvGeometry, ModelIdentity
from memos_ray.core.activation.keys import (
    CHAIN_TOKENS,
    KvScope,
    PrefixChain,
    conversation_name,
    tenant_salt,
)
from memos_ray.core.activation.manifest import (
    KvLayout,
    KvManifest,
    Refusal,
    SourceVersion,
    refusal,
)
from memos_ray.core.activation.payload import Bytes, KvPayload
from memos_ray.core.activation.reports import (
    AdaptedCache,
    CacheReport,
    CacheSource,
    CacheState,
)
from memos_ray.core.activation.segments import (
    KvMatch,
    KvPiece,
    KvSegment,
    match,
    refusals,
    run,
    whole_blocks,
)

__all__ = [
    "CHAIN_TOKENS",
    "AdaptedCache",
    "Bytes",
    "CacheReport",
    "CacheSource",
    "CacheState",
    "EngineFingerprint",
    "KvGeometry",
    "KvLayout",
    "KvManifest",
    "KvMatch",
    "KvPayload",
    "KvPiece",
    "KvScope",
    "KvSegment",
    "ModelIdentity",
    "PrefixChain",
    "Refusal",
    "SourceVersion",
    "conversation_name",
    "match",
    "refusal",
    "refusals",
    "run",
    "tenant_salt",
    "whole_blocks",
]
