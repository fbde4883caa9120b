"""Phrasings that ship with the product, by language."""

from __future__ import annotations

from memos_ray.core.teaching.phrasings.chinese import CHINESE
from memos_ray.core.teaching.phrasings.english import ENGLISH

BUILT_IN = (CHINESE, ENGLISH)
"""Tried in their order: what reads Chinese reads nothing else."""

__all__ = ["BUILT_IN", "CHINESE", "ENGLISH"]
