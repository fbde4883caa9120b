"""Trusted sources: what authoritative documents say, against what is held (APP-3)."""

from memos_ray.core.sources.alignment import Section, align
from memos_ray.core.sources.comparing import (
    Kind,
    Verdict,
    compare,
    compare_editions,
    withdrawn,
)
from memos_ray.core.sources.finding import Finding, ShownFinding, closed_by, find, write_of
from memos_ray.core.sources.source import (
    SECTIONS_MAX,
    Source,
    Stage,
    neighbours,
    source_id,
    uri_of,
)

__all__ = [
    "SECTIONS_MAX",
    "Finding",
    "Kind",
    "Section",
    "ShownFinding",
    "Source",
    "Stage",
    "Verdict",
    "align",
    "closed_by",
    "compare",
    "compare_editions",
    "find",
    "neighbours",
    "source_id",
    "uri_of",
    "withdrawn",
    "write_of",
]
