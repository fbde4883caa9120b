"""What was said before a question, and what is decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

# What a question refers to was said lately, and mostly at the beginning of an answer.
MAX_TURNS = 20
MAX_TURN_CHARS = 2_000
# A rewritten question is longer than the question by no more than this.
MAX_GROWTH_CHARS = 600


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said before the question.

    Attributes:
        asked: whether it came from who asks now; what was answered has another weight.
        speaker: who said it, where that is known.
    """

    text: str
    asked: bool = True
    speaker: str | None = None


class Slot(StrEnum):
    """What was missing in a question."""

    PERSON = "person"
    GROUP = "group"
    THING = "thing"
    PLACE = "place"
    TIME = "time"
    SCOPE = "scope"
    TOPIC = "topic"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was filled in, or deliberately left open.

    Attributes:
        words: of the question.
        meant: what they stand for, in words of the dialogue; None: left as they are.
        reason: which rule says so, or why nothing does.
    """

    slot: Slot
    words: str
    meant: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A question that can be understood without the dialogue, as far as the dialogue allows.

    `text` is the question itself, byte for byte, when nothing was filled in.
    """

    text: str
    decisions: tuple[Decision, ...] = ()

    @property
    def filled(self) -> tuple[Decision, ...]:
        """The decisions that changed the question."""
        return tuple(one for one in self.decisions if one.meant is not None)


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where the question is asked, which "last week" is relative to."""

    now: datetime
    tz: tzinfo


def latest(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Returns the turns that are looked at, oldest first, each cut to its beginning."""
    kept = [turn for turn in turns if turn.text.strip()][-MAX_TURNS:]
    return tuple(Turn(one.text[:MAX_TURN_CHARS], one.asked, one.speaker) for one in kept)
