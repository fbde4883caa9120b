"""Settings of extraction by a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from memos_ray.config.fields import Positive, Seconds, Section

if TYPE_CHECKING:
    from memos_ray.core.extraction import Budget


class ExtractionSettings(Section):
    """What a model extracts from memories that are stored with `extract`."""

    model: str | None = Field(
        None,
        description="Name of the model, one of `models`, that reads them; it sees the memories. "
        "Without one, `extract` is refused.",
    )
    window: Positive = Field(8, le=32, description="Most memories that are read together.")
    context: int = Field(
        4, ge=0, le=32, description="Memories before them that are shown to understand them."
    )
    items_max: Positive = Field(64, le=64, description="Most memories made of one answer.")
    answer_tokens: Positive = Field(2048, description="Longest answer.")
    prompt_tokens: Positive = Field(
        32_768, description="Longest question; memories that are longer together are not read."
    )
    answer_s: Seconds = Field(120.0, description="Longest time of one answer.")
    structured: bool = Field(
        True,
        description="Whether the model is held to the schema of the answer; off for endpoints that "
        "refuse `response_format`.",
    )
    temperature: float = Field(
        0.0, ge=0, le=2, description="Of the model; 1 for endpoints whose models take no other."
    )
    at_once: Positive = Field(2, le=64, description="Requests of a shard under way at once.")
    attempts: Positive = Field(5, description="Tries of one job before it is parked.")
    retry_min_s: Seconds = Field(2.0, description="Mean pause after a first failure; it doubles.")
    retry_max_s: Seconds = Field(900.0, description="Longest mean pause.")
    tokens_per_hour: Positive | None = Field(
        None, description="Tokens of one tenant in an hour, over all shards; no limit if absent."
    )
    requests_per_hour: Positive | None = Field(
        None,
        description="Requests of one tenant in an hour, over all shards; no limit if absent.",
    )

    @model_validator(mode="after")
    def _growing(self) -> ExtractionSettings:
        if self.retry_max_s < self.retry_min_s:
            raise ValueError("retry_max_s is less than retry_min_s")
        return self

    def budget(self) -> Budget:
        """Returns what a tenant may spend."""
        from memos_ray.core.extraction import Budget

        return Budget(self.tokens_per_hour, self.requests_per_hour)
