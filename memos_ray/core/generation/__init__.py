"""Generation: what a model is asked, and what it answers."""

from __future__ import annotations

from memos_ray.core.generation.prompts import check_prompt
from memos_ray.core.generation.requests import (
    ChatMessage,
    ChatRequest,
    FinishReason,
    GenerationPart,
    GenerationRequest,
    KvUse,
    ReplicaStatus,
    Sampling,
    TextPiece,
    estimated_tokens,
    joined,
)

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "FinishReason",
    "GenerationPart",
    "GenerationRequest",
    "KvUse",
    "ReplicaStatus",
    "Sampling",
    "TextPiece",
    "check_prompt",
    "estimated_tokens",
    "joined",
]
