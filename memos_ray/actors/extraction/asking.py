"""The model that reads, for what else a shard has to ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from memos_ray.core.extraction import ExtractionAnswer, ExtractionPrompt


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks the model of extraction, within the same budgets of tenants.

    Attributes:
        model: its name.
        prompt_tokens: longest question.
        attempts: how often something is asked.
        ask: asks for a tenant; nothing when the budget is spent, or the model is
            away: then it is asked another time. Raises `MemosError` when the answer is none.
    """

    model: str
    prompt_tokens: int
    attempts: int
    ask: Callable[[str, ExtractionPrompt], Awaitable[ExtractionAnswer | None]]
