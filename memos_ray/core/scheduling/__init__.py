"""Scheduling: which memories go into a prompt, in which order and form."""

from __future__ import annotations

from memos_ray.core.scheduling.plan import (
    PlanBudget,
    PlannedMemory,
    PromptMemory,
    PromptPlan,
    plan,
)

__all__ = ["PlanBudget", "PlannedMemory", "PromptMemory", "PromptPlan", "plan"]
