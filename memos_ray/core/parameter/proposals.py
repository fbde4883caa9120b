"""Proposals: memories that a model should learn, as far as their use goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from memos_ray.core.activation import SourceVersion
from memos_ray.core.crossing import crossing


@crossing
@dataclass(frozen=True, slots=True)
class ProposedMemory:
    """A memory in a proposal, and what speaks for it.

    Attributes:
        uses: decayed number of prompts that it was found for.
        conversations: how many different ones these belong to, as far as they are counted.
        tokens: of its text in a prompt.
        settled_s: how long it had not been changed.
        saved_s: seconds of prompts that knowing it saves.
        learnt: whether the model knows it already, and is taught it again with the rest.
    """

    source: SourceVersion
    uses: float
    conversations: int
    tokens: int
    settled_s: float
    saved_s: float
    learnt: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class ProposalReport:
    """What a model is proposed to learn.

    Attributes:
        tokens: that a prompt would be shorter by, on average.
        saved_s: seconds of prompts that it saves.
        lesson_s: seconds that the lesson takes.
        reasons: sentences.
        since: when it was made.
    """

    id: str
    namespace: str
    model: str
    memories: tuple[ProposedMemory, ...]
    tokens: float
    saved_s: float
    lesson_s: float
    reasons: tuple[str, ...]
    since: datetime

    @property
    def sources(self) -> tuple[SourceVersion, ...]:
        """The memories at the versions that are proposed."""
        return tuple(one.source for one in self.memories)
