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

__all__ = [
    "CHAIN_TOKENS",
    "Bytes",
    "EngineFingerprint",
    "KvGeometry",
    "KvLayout",
    "KvManifest",
    "KvPayload",
    "KvScope",
    "ModelIdentity",
    "PrefixChain",
    "Refusal",
    "SourceVersion",
    "conversation_name",
    "refusal",
    "tenant_salt",
]
