"""Scheduling: which memories go into a prompt, in which order and form."""

from __future__ import annotations

from memos_ray.core.scheduling.conversations import (
    AnsweredPrompt,
    ConversationState,
    GivenMemory,
    KeptConversation,
    Placed,
    conversation_of,
    goes_on,
    placements,
    still_placed,
)
from memos_ray.core.scheduling.learning import (
    Learnable,
    Learning,
    LessonCost,
    LessonPlan,
    Standing,
    alike,
    lasting,
    lesson_plan,
)
from memos_ray.core.scheduling.plan import (
    PlacedMemories,
    PlanBudget,
    PlannedMemory,
    PromptMemory,
    PromptPlan,
    in_order,
    plan,
    shared_text,
    unlearnt,
)
from memos_ray.core.scheduling.promotion import Candidate, Promoting, Promotion, promotion
from memos_ray.core.scheduling.shared import (
    PromptStart,
    Taught,
    holds,
    prompt_line,
    prompt_memory,
    sources_of,
)

__all__ = [
    "AnsweredPrompt",
    "Candidate",
    "ConversationState",
    "GivenMemory",
    "KeptConversation",
    "Learnable",
    "Learning",
    "LessonCost",
    "LessonPlan",
    "Placed",
    "PlacedMemories",
    "PlanBudget",
    "PlannedMemory",
    "Promoting",
    "Promotion",
    "PromptMemory",
    "PromptPlan",
    "PromptStart",
    "Standing",
    "Taught",
    "alike",
    "conversation_of",
    "goes_on",
    "holds",
    "in_order",
    "lasting",
    "lesson_plan",
    "placements",
    "plan",
    "promotion",
    "prompt_line",
    "prompt_memory",
    "shared_text",
    "sources_of",
    "still_placed",
    "unlearnt",
]
