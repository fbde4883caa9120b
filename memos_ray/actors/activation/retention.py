"""From settings to the policy that says which KV caches are kept."""

from __future__ import annotations

from typing import assert_never

from memos_ray.config import KvRetention, VaultSettings
from memos_ray.core.scheduling.policies import (
    ByLabel,
    BySimilarity,
    CostBased,
    LeastRecentlyUsed,
    RetentionPolicy,
)


def retention_policy(settings: VaultSettings) -> RetentionPolicy:
    """Returns the policy of both tiers, the object store and the files at rest."""
    match settings.kv_retention:
        case KvRetention.COST:
            return CostBased()
        case KvRetention.LRU:
            return LeastRecentlyUsed()
        case KvRetention.LABEL:
            return ByLabel(settings.kv_labels)
        case KvRetention.SIMILARITY:
            return BySimilarity()
        case other:
            assert_never(other)
