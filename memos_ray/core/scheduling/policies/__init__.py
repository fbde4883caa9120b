"""What stays at hand where there is not room for all: one protocol, four policies, one keeper."""

from __future__ import annotations

from memos_ray.core.scheduling.policies.items import Budget, Holding
from memos_ray.core.scheduling.policies.keeping import Keeper, victims
from memos_ray.core.scheduling.policies.rates import HALF_LIFE_S, UseRates, Uses, decayed
from memos_ray.core.scheduling.policies.worth import (
    ByLabel,
    BySimilarity,
    CostBased,
    LeastRecentlyUsed,
    RetentionPolicy,
)

__all__ = [
    "HALF_LIFE_S",
    "Budget",
    "ByLabel",
    "BySimilarity",
    "CostBased",
    "Holding",
    "Keeper",
    "LeastRecentlyUsed",
    "RetentionPolicy",
    "UseRates",
    "Uses",
    "decayed",
    "victims",
]
