"""On how many replicas a hot KV cache or adapter lies.

Left to itself a cache lies on one replica, until that is so busy that requests overflow to others,
which then wait behind it first. So, counting the requests for a name, which fade with a half-life:

    another copy   when it is asked for often enough for one more, and its holders have more to do
                   than the least busy other replica, by a few requests
    one copy less  when it is asked for too seldom for those there are; in between all stays

A copy is made by a request: the next one goes to the least busy replica without one, which fetches
the object, rather than computing it. One that is given up gets no more requests, and the replica's
shelf lets go of it when it needs the room. Copies of all names together stay within a budget.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from memos_ray.core.scheduling.policies.rates import decayed
from memos_ray.core.scheduling.routing import Candidate

_MOST_NAMES = 1024

COPY_CHANGES: Counter[tuple[str, str]] = Counter()
"""Copies that the routers of this process have added and dropped, by model and change."""


def count_copy(model: str, change: str) -> None:
    """Counts a change in `COPY_CHANGES`.

    Ray Serve copies the router's class into each process with the values that its module holds:
    only what is reached through a function of another module is the one of the process.
    """
    COPY_CHANGES[model, change] += 1


@dataclass(frozen=True, slots=True)
class Replicating:
    """Where the thresholds are.

    Attributes:
        copies_max: replicas that one name is brought to; 1 brings it to no second one.
        enter_uses: requests, as they fade, that each copy must have for one more.
        leave_uses: requests for each copy below which one is given up.
        enter_requests: how many more its holders have under way than another replica.
        half_life_s: after which a request counts for half.
        tokens_max: of all second and further copies together.
    """

    copies_max: int = 2
    enter_uses: float = 8.0
    leave_uses: float = 2.0
    enter_requests: float = 3.0
    half_life_s: float = 60.0
    tokens_max: int = 1 << 17


@dataclass(slots=True)
class _Name:
    uses: float = 0.0
    at: float = 0.0
    copies: int = 1
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class CopyDecision:
    """How many replicas a name shall lie on, and why that has changed."""

    copies: int
    before: int
    reason: str

    @property
    def changed(self) -> bool:
        """Whether it is another number than before."""
        return self.copies != self.before


class Copies:
    """What a router knows of how hot names are.

    Routers of several processes each see their own requests, and the same replicas. Which of too
    many holders are left out follows from the names alone, so that all of them leave out the same.

    Attributes:
        counters: `copies_added` and `copies_dropped`.

    Eviction: the name that was asked for longest ago.
    """

    def __init__(self, rules: Replicating) -> None:
        self.counters: Counter[str] = Counter()
        self._rules = rules
        self._names: OrderedDict[str, _Name] = OrderedDict()

    def weigh(
        self, names: Sequence[str], candidates: Sequence[Candidate], now: float
    ) -> tuple[list[Candidate], CopyDecision | None]:
        """Counts a request, and returns the replicas as they are to be ranked for it.

        Args:
            names: what may be held of the request.
            now: in seconds, of any clock that only goes on.
        """
        for name in names:
            self._count(name, now)
        holders = [one for one in candidates if one.held_tokens]
        if not holders or not names:
            return list(candidates), None
        name = max(names, key=lambda one: self._names[one].uses)
        others = [one for one in candidates if not one.held_tokens]
        decision = self._decide(name, holders, others)
        if decision.copies > len(holders) and others:
            return self._with_one_more(candidates, holders, others), decision
        if decision.copies < decision.before or self._cold(name, len(holders)):
            return _without(name, candidates, holders, decision.copies), decision
        return list(candidates), decision

    def _count(self, name: str, now: float) -> None:
        known = self._names.setdefault(name, _Name())
        self._names.move_to_end(name)
        known.uses = decayed(known.uses, now - known.at, self._rules.half_life_s) + 1.0
        known.at = now
        if len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)

    def _cold(self, name: str, copies: int) -> bool:
        return copies > 1 and self._names[name].uses < self._rules.leave_uses * copies

    def _decide(
        self, name: str, holders: Sequence[Candidate], others: Sequence[Candidate]
    ) -> CopyDecision:
        known, rules = self._names[name], self._rules
        before = known.copies
        known.tokens = max(one.held_tokens for one in holders)
        asked = f"{known.uses:.1f} requests lately"
        if self._cold(name, before):
            known.copies = before - 1
            self.counters["copies_dropped"] += 1
            return CopyDecision(known.copies, before, f"too few for {before} copies: {asked}")
        there = max(before, len(holders))
        if there >= rules.copies_max or not others or len(holders) < before:
            return CopyDecision(before, before, asked)
        busy = sum(one.ongoing or 0 for one in holders) / len(holders)
        more = busy - min(one.ongoing or 0 for one in others)
        if known.uses < rules.enter_uses * before or more < rules.enter_requests:
            return CopyDecision(before, before, asked)
        if known.tokens + self._copied() > rules.tokens_max:
            return CopyDecision(before, before, f"no room for another copy: {asked}")
        known.copies = there + 1
        self.counters["copies_added"] += 1
        return CopyDecision(
            known.copies, before, f"{asked}, its holders have {more:.1f} more to do than others"
        )

    def _copied(self) -> int:
        return sum((one.copies - 1) * one.tokens for one in self._names.values())

    def _with_one_more(
        self,
        candidates: Sequence[Candidate],
        holders: Sequence[Candidate],
        others: Sequence[Candidate],
    ) -> list[Candidate]:
        """Has the least busy other replica count as a holder: it will be one behind this."""
        tokens = max(one.held_tokens for one in holders)
        chosen = min(others, key=lambda one: one.ongoing or 0)
        return [
            replace(one, held_tokens=tokens) if one.id == chosen.id else one for one in candidates
        ]


def _without(
    name: str, candidates: Sequence[Candidate], holders: Sequence[Candidate], copies: int
) -> list[Candidate]:
    """Has all but so many holders count as if they held nothing (highest random weight).

    The one that had the last such request stays: it may hold a conversation that goes on with this.
    """
    order = sorted(holders, key=lambda one: (one.recent, _weight(name, one.id)), reverse=True)
    kept = order[:copies]
    ids = {one.id for one in kept}
    return [
        one if one.id in ids or not one.held_tokens else replace(one, held_tokens=0)
        for one in candidates
    ]


def _weight(name: str, replica: str) -> bytes:
    # Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998.
    return blake2b(f"{name}@{replica}".encode(), digest_size=8).digest()
