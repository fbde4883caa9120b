"""Settings by which the recall model learns facts in a minute or two of one core."""

from __future__ import annotations

from memos_ray.core.teaching import LessonMix, TrainingSettings

RECALL_TRAINING = TrainingSettings(
    rank=16,
    alpha=32.0,
    # Ten times what large models take: this one is tiny, and so are its changes.
    learning_rate=4e-3,
    passes=80,
    steps_min=200,
    # Two hundred facts take more of what the model can hold: more of the batch keeps the rest.
    mix=LessonMix(kept_context=12),
    answer_tokens=3,
)
"""Rank 16 is what engines take by default. The answers of its world are one token and an end."""
