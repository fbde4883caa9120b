"""Which of those that want room in a tier have it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from memos_ray.core.scheduling.policies.items import Budget, Holding
from memos_ray.core.scheduling.policies.rates import UseRates, Uses
from memos_ray.core.scheduling.policies.trials import Trials
from memos_ray.core.scheduling.policies.worth import RetentionPolicy

K = TypeVar("K", bound=Hashable)

_HISTORY = 8192
_HOUR_S = 3600.0


@dataclass(slots=True)
class _Past:
    """What is remembered of something, held or not."""

    uses: Uses = field(default_factory=Uses)
    changes: Uses = field(default_factory=Uses)


class Keeper(Generic[K]):
    """Holds items of a tier within its budgets, and remembers how those that went were used.

    Invariants: what is held is within the budget, pinned ones excepted.

    Eviction: by the policy; of what is remembered only, what was used longest ago.

    Args:
        kin: what versions of one thing have in common: their uses and changes are counted together.
        history: things that are remembered.
    """

    def __init__(
        self,
        budget: Budget,
        policy: RetentionPolicy,
        kin: Callable[[K], Hashable] | None = None,
        history: int = _HISTORY,
    ) -> None:
        self.policy = policy
        self.size_bytes = 0
        self._budget = budget
        self._kin: Callable[[K], Hashable] = kin or (lambda key: key)
        self._limit = history
        self._rates = UseRates()
        self._refusals = Trials()
        self._past: OrderedDict[Hashable, _Past] = OrderedDict()
        self._held: dict[K, Holding] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._held

    @property
    def held(self) -> Mapping[K, Holding]:
        """What is held."""
        return self._held

    def use(self, key: K, label: str, now: float) -> Holding | None:
        """Counts that something is wanted; returns it if it is held."""
        kin = self._kin(key)
        past = self._remembered(kin)
        self._rates.use(kin, label, past.uses, now)
        self._refusals.use(kin)
        holding = self._held.get(key)
        if holding is not None:
            # Anew, where so much else was used since that the past was forgotten.
            holding.uses, holding.changes = past.uses, past.changes
        return holding

    def admits(self, key: K, offered: Holding, now: float) -> bool:
        """Tells whether something would be held, before it is made.

        One that the policy would refuse comes in all the same where refusals have proved wrong.
        """
        asked = self._with_past(key, offered)
        if asked.pinned:
            return True
        beside: dict[K, Holding] = {**self._held, key: asked}
        going = self._victims(beside, now, key)
        if key in going:
            return False
        if self.policy.hysteresis is None or not going:
            return True
        lost = sum(self._worth(beside[one], now) * beside[one].size_bytes for one in going)
        won = self._worth(asked, now) * asked.size_bytes
        if won > self.policy.hysteresis * lost:
            return True
        self._refusals.begin(
            {self._kin(key): asked.saved_s},
            {self._kin(one): beside[one].saved_s for one in going},
        )
        return not self._refusals.proved

    def hold(self, key: K, offered: Holding, now: float) -> list[K]:
        """Takes something in, or another size of it; returns those that had to go for it.

        It is among them when only pinned ones are beside it, or it is too large.
        """
        self._drop(key)
        holding = self._with_past(key, offered)
        if not any(holding.uses.counts):
            # Whoever has it made wants it.
            self._rates.use(self._kin(key), holding.label, holding.uses, now)
        self._held[key] = holding
        self.size_bytes += holding.size_bytes
        going = self._victims(self._held, now, key)
        for one in going:
            self._drop(one)
        return going

    def let_go(self, key: K) -> None:
        """Drops something; what is absent is fine."""
        self._drop(key)

    def outdated(self, key: K, now: float) -> None:
        """Drops what has changed, and learns how often it does."""
        self._drop(key)
        self._remembered(self._kin(key)).changes.add(now)

    def worth(self, key: K, now: float) -> float:
        """Returns by what the policy orders something that is held."""
        return self._worth(self._held[key], now)

    def why(self, key: K, label: str, now: float) -> str | None:
        """Says what decides over something that was wanted, held or not."""
        past = self._past.get(self._kin(key))
        if past is None:
            return None
        rate, changes = self._rates.rate(label, past.uses, now), past.changes.rate(now)
        before = f", {rate / (rate + changes):.0%} of them before a change" if changes else ""
        said = f"{rate * _HOUR_S:.2g} uses an hour are expected{before}"
        holding = self._held.get(key)
        if holding is not None:
            said += f"; each saves {holding.saved_s:.2g} s"
        if self.policy.hysteresis is not None and not self._refusals.proved:
            said += "; newcomers come in, for refusals have cost more than they saved lately"
        return said

    def _worth(self, holding: Holding, now: float) -> float:
        rate = self._rates.rate(holding.label, holding.uses, now)
        return self.policy.worth(holding, rate, now)

    def _victims(self, held: Mapping[K, Holding], now: float, newcomer: K) -> list[K]:
        total = sum(one.size_bytes for one in held.values())
        if total <= self._budget.total_bytes <= self._budget.tenant_bytes:
            return []
        return victims(held, self._budget, lambda one: self._worth(one, now), newcomer)

    def _with_past(self, key: K, offered: Holding) -> Holding:
        past = self._remembered(self._kin(key))
        return replace(offered, uses=past.uses, changes=past.changes)

    def _remembered(self, kin: Hashable) -> _Past:
        past = self._past.get(kin)
        if past is None:
            past = self._past[kin] = _Past()
            if len(self._past) > self._limit:
                self._rates.forget(self._past.popitem(last=False)[0])
        else:
            self._past.move_to_end(kin)
        return past

    def _drop(self, key: K) -> None:
        holding = self._held.pop(key, None)
        if holding is not None:
            self.size_bytes -= holding.size_bytes


def victims(
    held: Mapping[K, Holding],
    budget: Budget,
    worth: Callable[[Holding], float],
    newcomer: K | None = None,
) -> list[K]:
    """Names those to let go of, so that the rest is within the budget.

    A tenant over its share gives up its own; then the least worthy of all go. Pinned ones stay. The
    newcomer stays unless only pinned ones are left beside it: it was wanted a moment ago. Nothing
    goes that there is room for in the end.

    Complexity: n log n.
    """
    bytes_of: defaultdict[str, int] = defaultdict(int)
    for one in held.values():
        bytes_of[one.tenant] += one.size_bytes
    total = sum(bytes_of.values())
    going: dict[K, None] = {}
    free = [key for key, one in held.items() if not one.pinned and key != newcomer]
    free.sort(key=lambda key: worth(held[key]))
    if newcomer is not None and newcomer in held and not held[newcomer].pinned:
        free.append(newcomer)
    for only_own in (True, False):
        for key in free:
            one = held[key]
            over = bytes_of[one.tenant] > budget.tenant_bytes
            if key in going or not (over if only_own else total > budget.total_bytes):
                continue
            going[key] = None
            bytes_of[one.tenant] -= one.size_bytes
            total -= one.size_bytes
    # The last one may have made more room than was needed: the worthiest that fits stays.
    for key in reversed(list(going)):
        one = held[key]
        fits = bytes_of[one.tenant] + one.size_bytes <= budget.tenant_bytes
        if key != newcomer and fits and total + one.size_bytes <= budget.total_bytes:
            del going[key]
            bytes_of[one.tenant] += one.size_bytes
            total += one.size_bytes
    return list(going)
