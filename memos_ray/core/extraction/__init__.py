"""Extraction by a model: what it is asked, what is taken of its answer, and what follows. Pure."""

from __future__ import annotations

from memos_ray.core.extraction.answers import Item, Kind, Objection
from memos_ray.core.extraction.aside import Aside, set_aside
from memos_ray.core.extraction.budget import Allowance, Budget, Spent, allow, give_back
from memos_ray.core.extraction.checking import Checked, Taken, check, rests_on
from memos_ray.core.extraction.drafts import TAG, write_of
from memos_ray.core.extraction.jobs import Job, Marked, jobs_of, pause_s, retried
from memos_ray.core.extraction.lineage import (
    STALE,
    Sources,
    away_again,
    closing,
    due,
    ids_of,
)
from memos_ray.core.extraction.prompts import (
    EXTRACTOR,
    ExtractionAnswer,
    ExtractionPrompt,
    prompt_of,
    task_tokens,
)
from memos_ray.core.extraction.reports import (
    Done,
    ExtractionReport,
    JobReport,
    SourceProgress,
    Totals,
)
from memos_ray.core.extraction.turns import SourceTurn, turns_of

__all__ = [
    "EXTRACTOR",
    "STALE",
    "TAG",
    "Allowance",
    "Aside",
    "Budget",
    "Checked",
    "Done",
    "ExtractionAnswer",
    "ExtractionPrompt",
    "ExtractionReport",
    "Item",
    "Job",
    "JobReport",
    "Kind",
    "Marked",
    "Objection",
    "SourceProgress",
    "SourceTurn",
    "Sources",
    "Spent",
    "Taken",
    "Totals",
    "allow",
    "away_again",
    "check",
    "closing",
    "due",
    "give_back",
    "ids_of",
    "jobs_of",
    "pause_s",
    "prompt_of",
    "rests_on",
    "retried",
    "set_aside",
    "task_tokens",
    "turns_of",
    "write_of",
]
