"""Questions in a dialogue: what they leave to it is filled in (READ-2)."""

from memos_ray.core.reader.turns.asked import Objection, completed, messages_of
from memos_ray.core.reader.turns.dialogue import (
    MAX_GROWTH_CHARS,
    MAX_TURN_CHARS,
    MAX_TURNS,
    Decision,
    Rewriting,
    Slot,
    Turn,
)
from memos_ray.core.reader.turns.rewrite import MAX_QUESTION_CHARS, rewrite

__all__ = [
    "MAX_GROWTH_CHARS",
    "MAX_QUESTION_CHARS",
    "MAX_TURNS",
    "MAX_TURN_CHARS",
    "Decision",
    "Objection",
    "Rewriting",
    "Slot",
    "Turn",
    "completed",
    "messages_of",
    "rewrite",
]
