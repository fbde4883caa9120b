"""From what was found to an ordered prompt.

A model computes a prompt from its first token on, and a KV cache stands for a beginning. So what
stays the same from request to request comes first: the memories that everybody in a namespace
shares, in an order that depends on nothing but themselves; then those found for this question,
oldest first, so that the newest word on a matter is the last one. The caller's own instructions
follow, then the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.generation import ChatMessage

HEADING = "Memories:\n"
_SYSTEM = "system"


class Placing(StrEnum):
    """What became of a memory."""

    SHARED = "shared"
    """In the part that is the same in every prompt."""
    FRESH = "fresh"
    """Added for this prompt."""
    REPEATED = "repeated"
    """Left out: it is in the shared part, or another says the same."""
    NO_ROOM = "no_room"
    """Left out: the budget is spent on better ones."""


@crossing
@dataclass(frozen=True, slots=True)
class PromptMemory:
    """A memory that may go into a prompt.

    Attributes:
        order: of memories in the prompt, such as the time they speak of, in microseconds.
        score: of the search; the better goes in where there is no room for all.
    """

    id: str
    version: int
    text: str
    order: int
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """A memory and what became of it."""

    memory: PromptMemory
    placing: Placing
    tokens: int


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """How many tokens the memories of a prompt may have."""

    shared_tokens: int
    fresh_tokens: int


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """A conversation with its memories.

    Attributes:
        messages: the conversation; the memories are in its first message.
        shared: the text that this message begins with and that other prompts have, too; empty
            when there is none.
        memories: every memory that was considered, in the order of the prompt, then the rest.
    """

    messages: tuple[ChatMessage, ...]
    shared: str
    memories: tuple[PlannedMemory, ...]

    @property
    def used(self) -> tuple[PlannedMemory, ...]:
        """The memories that are in the prompt."""
        return tuple(one for one in self.memories if one.placing in (Placing.SHARED, Placing.FRESH))


def plan(
    messages: Sequence[ChatMessage],
    shared: Sequence[PromptMemory],
    found: Sequence[PromptMemory],
    budget: PlanBudget,
    count_tokens: Callable[[str], int],
) -> PromptPlan:
    """Makes the prompt.

    Args:
        shared: memories of the part that is the same in every prompt.
        found: memories that a search found for this one.
        count_tokens: counts, or estimates from above, the tokens of a text.
    """
    common = _chosen(shared, budget.shared_tokens, count_tokens, Placing.SHARED, set())
    said = {_line(one.memory) for one in common if one.placing is Placing.SHARED}
    fresh = _chosen(found, budget.fresh_tokens, count_tokens, Placing.FRESH, said)
    first = [one for one in common if one.placing is Placing.SHARED]
    then = [one for one in fresh if one.placing is Placing.FRESH]
    head = shared_text([one.memory for one in first])
    tail = "".join(_line(one.memory) for one in then)
    if tail and not head:
        tail = HEADING + tail
    rest = [one for one in (*common, *fresh) if one.placing in (Placing.REPEATED, Placing.NO_ROOM)]
    return PromptPlan(_with_system(messages, head + tail), head, (*first, *then, *rest))


def shared_text(memories: Sequence[PromptMemory]) -> str:
    """Returns what prompts begin with that have these memories in common; empty for none."""
    return HEADING + "".join(map(_line, memories)) if memories else ""


def in_order(memories: Sequence[PromptMemory]) -> list[PromptMemory]:
    """Returns memories in the order of a prompt, which depends on nothing but themselves.

    Of those that say the same, the first is enough.
    """
    ordered: dict[str, PromptMemory] = {}
    for memory in sorted(memories, key=lambda one: (one.order, one.id)):
        ordered.setdefault(_line(memory), memory)
    return list(ordered.values())


def _chosen(
    memories: Sequence[PromptMemory],
    room: int,
    count_tokens: Callable[[str], int],
    placing: Placing,
    said: set[str],
) -> list[PlannedMemory]:
    """Takes the best that there is room for; returns all, those taken in the prompt's order."""
    planned: list[PlannedMemory] = []
    known = set(said)
    for memory in sorted(memories, key=lambda one: (-one.score, one.order, one.id)):
        line = _line(memory)
        tokens = count_tokens(line)
        if line in known:
            planned.append(PlannedMemory(memory, Placing.REPEATED, tokens))
        elif tokens > room:
            planned.append(PlannedMemory(memory, Placing.NO_ROOM, tokens))
        else:
            known.add(line)
            room -= tokens
            planned.append(PlannedMemory(memory, placing, tokens))
    return sorted(planned, key=lambda one: (one.memory.order, one.memory.id))


def _line(memory: PromptMemory) -> str:
    # One line each, so that no memory can pass for a heading or for another memory.
    return f"- {' '.join(memory.text.split())}\n"


def _with_system(messages: Sequence[ChatMessage], memories: str) -> tuple[ChatMessage, ...]:
    if not memories:
        return tuple(messages)
    if messages and messages[0].role == _SYSTEM:
        system = ChatMessage(_SYSTEM, f"{memories}\n{messages[0].text}")
        return (system, *messages[1:])
    return (ChatMessage(_SYSTEM, memories), *messages)
