"""Questions that are read and not searched for; a part of the memory API."""

from __future__ import annotations

from collections.abc import Callable

from memos_ray.actors.turns import FairGate
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories.searching import MemorySearch
from memos_ray.gateway.memories.understanding import understanding_of
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.ports import ClockPort


class Questions:
    """The verb `understand`; `MemoryService` has the others."""

    _authenticator: Authenticator
    _search: MemorySearch
    _gate: FairGate
    _clock: ClockPort

    async def understand(self, caller: Caller, question: Question) -> Understanding:
        """Says what a search would make of a question, and why, without searching for it."""
        context, policy = await self._authenticator.context(caller)
        scope = policy.scope(context, self._clock.now())
        async with self._gate.turn(context.principal.tenant):
            return understanding_of(
                await self._search.understand(context, question.search(), scope)
            )

    def watch(self, watcher: Callable[[str, str], None]) -> None:
        """Has somebody told how each step of reading a question came out, as `step, outcome`."""
        self._search.watch(watcher)
