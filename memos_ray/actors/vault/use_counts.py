"""How often prompts have found memories, and in how many conversations."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.scheduling.policies import decayed

_MOST_MEMORIES = 4096
_MOST_CONVERSATIONS = 64
_COLD = 0.05
_NAME_BYTES = 8


@dataclass(slots=True)
class MemoryUse:
    """The use of one memory.

    Attributes:
        uses: decayed number of prompts that it was found for, as of `at`.
        tokens: of its text in a prompt.
        talks: the conversations that it was found in last, each with its caller.
    """

    uses: float = 0.0
    at: float = 0.0
    tokens: int = 0
    talks: OrderedDict[bytes, str] = field(default_factory=OrderedDict)

    @property
    def callers(self) -> int:
        """How many principals the conversations belong to."""
        return len(set(self.talks.values()))


class UseCounts:
    """The use of the memories of one namespace by prompts to one model.

    Bounded: the coldest of many memories are forgotten, and the oldest of many conversations.
    """

    def __init__(self, half_life_s: float) -> None:
        """Takes the time after which a use counts for half."""
        self._half_life_s = half_life_s
        self._prompts = MemoryUse()
        self._memories: dict[str, MemoryUse] = {}

    def note(self, answered: AnsweredPrompt, now: float) -> None:
        """Counts a prompt and what was found for it."""
        principal = answered.context.principal.id
        said = f"{len(principal)}:{principal}:{answered.conversation}"
        talk = blake2b(said.encode(), digest_size=_NAME_BYTES).digest()
        self._add(self._prompts, now)
        for cube_id, tokens in answered.hits:
            one = self._memories.setdefault(cube_id, MemoryUse())
            self._add(one, now)
            one.tokens = tokens
            one.talks[talk] = principal
            one.talks.move_to_end(talk)
            if len(one.talks) > _MOST_CONVERSATIONS:
                one.talks.popitem(last=False)
        if len(self._memories) > _MOST_MEMORIES:
            kept = self.hottest(now, _MOST_MEMORIES // 2)
            self._memories = {id: self._memories[id] for id in kept if self.uses(id, now) > _COLD}

    def seed(self, cube_id: str, uses: float, tokens: int, now: float) -> None:
        """Takes over what an earlier process has counted."""
        one = self._memories.setdefault(cube_id, MemoryUse())
        if self._left(one, now) < uses:
            one.uses, one.at, one.tokens = uses, now, one.tokens or tokens
        if self._left(self._prompts, now) < uses:
            self._prompts.uses, self._prompts.at = uses, now

    def prompts(self, now: float) -> float:
        """Returns the decayed number of all prompts."""
        return self._left(self._prompts, now)

    def uses(self, cube_id: str, now: float) -> float:
        """Returns the decayed number of prompts that a memory was found for."""
        return self._left(self.of(cube_id), now)

    def of(self, cube_id: str) -> MemoryUse:
        """Returns the use of a memory."""
        return self._memories.get(cube_id) or MemoryUse()

    def hottest(self, now: float, most: int) -> list[str]:
        """Returns the ids of the most used memories, the most used first."""
        return sorted(self._memories, key=lambda id: (-self.uses(id, now), id))[:most]

    def _left(self, one: MemoryUse, now: float) -> float:
        return decayed(one.uses, now - one.at, self._half_life_s)

    def _add(self, one: MemoryUse, now: float) -> None:
        one.uses, one.at = self._left(one, now) + 1.0, now
