"""Settings of how questions in a dialogue are read."""

from __future__ import annotations

from pydantic import Field

from memos_ray.config.fields import Positive, Seconds, Section


class DialogueSettings(Section):
    """What completes questions that lean on the turns before them: rules, or a model besides."""

    model: str | None = Field(
        None,
        description="Name of the model, one of `models`, that completes such questions; it sees "
        "the turns. Without one, and whenever it does not answer well, the rules do.",
    )
    answer_s: Seconds = Field(2.0, description="Longest time of one answer.")
    answer_tokens: Positive = Field(256, description="Longest answer.")
    at_once: Positive = Field(
        4, description="Questions with the model at once in each gateway; the rules do the others."
    )
    pause_s: Seconds = Field(
        10.0, description="How long a model that was late or away is left alone."
    )
    structured: bool = Field(
        True,
        description="Whether the model is held to the schema of the answer; off for endpoints that "
        "refuse `response_format`.",
    )
    temperature: float = Field(
        0.0, ge=0, le=2, description="Of the model; 1 for endpoints whose models take no other."
    )
