"""How memories change by what becomes of them: pure decisions, without clock or store."""

from memos_ray.core.evolution.echo import PART_CHARS, echoed, parts_of, repeats
from memos_ray.core.evolution.promotions import (
    fresh_promotions,
    outdated_promotions,
    promotion_of,
)
from memos_ray.core.evolution.proposals import (
    EvolutionKind,
    Evolved,
    EvolvedState,
    split_of,
    summaries_of,
    undoing,
    writes_of,
)
from memos_ray.core.evolution.requests import (
    EvolutionMode,
    EvolutionReport,
    FeedbackReport,
    FeedbackRequest,
    ShownEvolution,
    Verdict,
)
from memos_ray.core.evolution.summary import summarised
from memos_ray.core.evolution.worth import Opinion, level, worth_of

__all__ = [
    "PART_CHARS",
    "EvolutionKind",
    "EvolutionMode",
    "EvolutionReport",
    "Evolved",
    "EvolvedState",
    "FeedbackReport",
    "FeedbackRequest",
    "Opinion",
    "ShownEvolution",
    "Verdict",
    "echoed",
    "fresh_promotions",
    "level",
    "outdated_promotions",
    "parts_of",
    "promotion_of",
    "repeats",
    "split_of",
    "summaries_of",
    "summarised",
    "undoing",
    "worth_of",
    "writes_of",
]
