"""Retrieval: the resident index of a namespace, its signals, and their fusion."""

from memos_ray.core.retrieval.index import ResidentIndex, rank_candidates
from memos_ray.core.retrieval.names import strip_names, without_each
from memos_ray.core.retrieval.query import (
    IndexedMemory,
    Nameless,
    QueryHints,
    RetrievalQuery,
    Scored,
    SignalPart,
)
from memos_ray.core.retrieval.scope import CorpusStatistics
from memos_ray.core.retrieval.settings import (
    Granularity,
    RetrievalSettings,
    SignalWeights,
    ViewSettings,
)
from memos_ray.core.retrieval.views import VectorSet, View, ViewKind, ViewPlan, plan_views

__all__ = [
    "CorpusStatistics",
    "Granularity",
    "IndexedMemory",
    "Nameless",
    "QueryHints",
    "ResidentIndex",
    "RetrievalQuery",
    "RetrievalSettings",
    "Scored",
    "SignalPart",
    "SignalWeights",
    "VectorSet",
    "View",
    "ViewKind",
    "ViewPlan",
    "ViewSettings",
    "plan_views",
    "rank_candidates",
    "strip_names",
    "without_each",
]
