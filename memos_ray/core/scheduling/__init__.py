"""Scheduling: which memories go into a prompt, in which order and form."""

from __future__ import annotations

from memos_ray.core.scheduling.plan import (
    PlanBudget,
    PlannedMemory,
    PromptMemory,
    PromptPlan,
    in_order,
    plan,
    shared_text,
)
from memos_ray.core.scheduling.shared import (
    SharedMemories,
    holds,
    prompt_line,
    prompt_memory,
    sources_of,
)

__all__ = [
    "PlanBudget",
    "PlannedMemory",
    "PromptMemory",
    "PromptPlan",
    "SharedMemories",
    "holds",
    "in_order",
    "plan",
    "prompt_line",
    "prompt_memory",
    "shared_text",
    "sources_of",
]
