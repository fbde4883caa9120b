"""Generation: what a model is asked, and what it answers."""

from __future__ import annotations

from memos_ray.core.generation.requests import (
    ChatMessage,
    FinishReason,
    GenerationPart,
    GenerationRequest,
    KvUse,
    Sampling,
)

__all__ = [
    "ChatMessage",
    "FinishReason",
    "GenerationPart",
    "GenerationRequest",
    "KvUse",
    "Sampling",
]
