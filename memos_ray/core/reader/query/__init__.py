"""Queries in natural language, parsed by rules into a `MemoryCall` (READ-1)."""

from memos_ray.core.reader.query.call import (
    Entity,
    EntityKind,
    Intent,
    MemoryCall,
    Reach,
    Scope,
    Target,
)
from memos_ray.core.reader.query.parse import parse

__all__ = ["Entity", "EntityKind", "Intent", "MemoryCall", "Reach", "Scope", "Target", "parse"]
