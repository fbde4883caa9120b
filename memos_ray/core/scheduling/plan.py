"""From what was found to an ordered prompt.

A model computes a prompt from its first token on, and a KV cache stands for a beginning. So what
stays the same from request to request comes first: the memories that everybody in a namespace
shares, in an order that depends on nothing but themselves; then those found for the first question,
oldest first, so that the newest word on a matter is the last one. The caller's own instructions
follow, then the conversation. In a conversation that is kept, what is found for a later question
stands before it, and stays there in the prompts to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.generation import ChatMessage

HEADING = "Memories:\n"
_SYSTEM, _USER = "system", "user"
# Of the budget for one question; beyond it the conversation's memories are chosen anew.
_KEPT_SHARE = 4


class Placing(StrEnum):
    """What became of a memory."""

    SHARED = "shared"
    """In the part that is the same in every prompt."""
    KEPT = "kept"
    """Where an earlier prompt of the conversation had it."""
    FRESH = "fresh"
    """Added for this prompt."""
    LEARNT = "learnt"
    """Left out: the model knows it."""
    REPEATED = "repeated"
    """Left out: it is in the shared part, or another says the same."""
    NO_ROOM = "no_room"
    """Left out: the budget is spent on better ones."""


_USED = (Placing.SHARED, Placing.KEPT, Placing.FRESH)


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
class PlacedMemories:
    """Memories before one of the user's messages; those of the first are in the first message.

    Attributes:
        turn: number of the user's message, from 0.
    """

    turn: int
    memories: tuple[PromptMemory, ...]


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
        placed: where those are that are not shared; of a conversation that is kept.
    """

    messages: tuple[ChatMessage, ...]
    shared: str
    memories: tuple[PlannedMemory, ...]
    placed: tuple[PlacedMemories, ...] = ()

    @property
    def used(self) -> tuple[PlannedMemory, ...]:
        """The memories that are in the prompt."""
        return tuple(one for one in self.memories if one.placing in _USED)


def plan(
    messages: Sequence[ChatMessage],
    shared: Sequence[PromptMemory],
    found: Sequence[PromptMemory],
    budget: PlanBudget,
    count_tokens: Callable[[str], int],
    kept: Sequence[PlacedMemories] | None = None,
    learnt: Set[tuple[str, int]] = frozenset(),
) -> PromptPlan:
    """Makes the prompt.

    Args:
        shared: memories of the part that is the same in every prompt.
        found: memories that a search found for this one.
        count_tokens: counts, or estimates from above, the tokens of a text.
        kept: where the earlier prompts of the conversation have memories; nothing when it is not
            kept, so that all stand in the first message.
        learnt: ids and versions of memories that the model knows by itself.
    """
    known = [one for one in (*shared, *found) if (one.id, one.version) in learnt]
    shared, found = unlearnt(shared, learnt), unlearnt(found, learnt)
    common = _chosen(shared, budget.shared_tokens, count_tokens, Placing.SHARED, set())
    said = {_line(one.memory) for one in common if one.placing is Placing.SHARED}
    earlier, stay = _kept(kept or (), budget, count_tokens, said)
    said.update(_line(one.memory) for one in stay if one.placing is Placing.KEPT)
    fresh = _chosen(found, budget.fresh_tokens, count_tokens, Placing.FRESH, said)
    first = [one for one in common if one.placing is Placing.SHARED]
    then = [one for one in fresh if one.placing is Placing.FRESH]
    turn = 0 if kept is None else _last_turn(messages)
    placed = dict(earlier)
    placed[turn] = (*placed.get(turn, ()), *(one.memory for one in then))
    head = shared_text([one.memory for one in first])
    tail = "".join(map(_line, placed.get(0, ())))
    if tail and not head:
        tail = HEADING + tail
    planned = (*common, *stay, *fresh)
    used = [*first, *(one for one in stay if one.placing is Placing.KEPT), *then]
    rest = [one for one in planned if one.placing not in _USED]
    rest += [PlannedMemory(one, Placing.LEARNT, count_tokens(_line(one))) for one in known]
    return PromptPlan(
        _with_system(_with_turns(messages, placed), head + tail),
        head,
        (*used, *rest),
        tuple(PlacedMemories(number, there) for number, there in sorted(placed.items()) if there),
    )


def unlearnt(memories: Sequence[PromptMemory], learnt: Set[tuple[str, int]]) -> list[PromptMemory]:
    """Returns the memories that a prompt must say: those that the model has not learnt as they are.

    Args:
        learnt: ids and versions.
    """
    return [one for one in memories if (one.id, one.version) not in learnt]


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


def _kept(
    kept: Sequence[PlacedMemories],
    budget: PlanBudget,
    count_tokens: Callable[[str], int],
    said: set[str],
) -> tuple[dict[int, tuple[PromptMemory, ...]], list[PlannedMemory]]:
    """Returns what stays where it was, by turn, and what becomes of each."""
    planned: list[PlannedMemory] = []
    known = set(said)
    by_turn: dict[int, tuple[PromptMemory, ...]] = {}
    for one in kept:
        for memory in one.memories:
            line = _line(memory)
            placing = Placing.REPEATED if line in known else Placing.KEPT
            planned.append(PlannedMemory(memory, placing, count_tokens(line)))
            if placing is Placing.KEPT:
                known.add(line)
                by_turn[one.turn] = (*by_turn.get(one.turn, ()), memory)
    total = sum(one.tokens for one in planned if one.placing is Placing.KEPT)
    if total > _KEPT_SHARE * budget.fresh_tokens:
        return {}, []
    return by_turn, planned


def _last_turn(messages: Sequence[ChatMessage]) -> int:
    return max(0, sum(message.role == _USER for message in messages) - 1)


def _with_turns(
    messages: Sequence[ChatMessage], placed: dict[int, tuple[PromptMemory, ...]]
) -> list[ChatMessage]:
    """Puts memories before the turns that they were found for, but for the first."""
    made: list[ChatMessage] = []
    turn = 0
    for message in messages:
        if message.role == _USER:
            memories = placed.get(turn, ()) if turn else ()
            if memories:
                text = f"{HEADING}{''.join(map(_line, memories))}\n{message.text}"
                message = ChatMessage(_USER, text)
            turn += 1
        made.append(message)
    return made


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
