"""What a session has used lately, and what its next turn is likely to use.

A conversation stays near what it was about: memories that stand beside those of the last turns,
where they were said; memories that were used behind them before; and those themselves. Each of the
three gives a memory a score that fades with the turns that have passed, and the best are loaded
before they are asked for.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Near = Callable[[Iterable[str], int], Mapping[str, Sequence[tuple[str, int]]]]
"""Returns who stands up to so many places from memories: before them, negative, or behind them."""

_FOLLOWERS = 32
_KNOWN = 8192


@dataclass(frozen=True, slots=True)
class Foresight:
    """How much each sign counts.

    Attributes:
        turns: past turns that count.
        fade: what a turn counts, compared to the one behind it.
        again: weight of what was used itself.
        before, behind: weight of what stands before it, or behind it; less, the farther away.
        reach: places that count as beside it.
        followed: weight of what was used behind it before.
    """

    turns: int = 4
    fade: float = 0.5
    again: float = 1.0
    before: float = 1.0
    behind: float = 1.0
    reach: int = 48
    followed: float = 1.0


class CoUse:
    """Which memories are used in the turn behind one another: a Markov chain of the first order.

    Eviction: of memories, those used longest ago; of what follows one, the rarest.
    """

    def __init__(self) -> None:
        self._after: OrderedDict[str, Counter[str]] = OrderedDict()

    def note(self, before: Iterable[str], now: Iterable[str]) -> None:
        """Counts that some were used a turn behind others."""
        followers = list(now)
        for one in before:
            counts = self._after.setdefault(one, Counter())
            self._after.move_to_end(one)
            counts.update(other for other in followers if other != one)
            if len(counts) > _FOLLOWERS:
                self._after[one] = Counter(dict(counts.most_common(_FOLLOWERS // 2)))
        while len(self._after) > _KNOWN:
            self._after.popitem(last=False)

    def after(self, one: str) -> list[tuple[str, float]]:
        """Returns what has followed, with its share."""
        counts = self._after.get(one, Counter())
        total = sum(counts.values())
        return [(other, count / total) for other, count in counts.items()]


class WorkingSet:
    """The memories of one session's last turns, and a forecast of the next one's.

    Args:
        near: who stands beside a memory where it was said, in the order of that.
        co_use: shared by the sessions of a namespace.
    """

    def __init__(self, near: Near, co_use: CoUse, foresight: Foresight | None = None) -> None:
        self._near = near
        self._co_use = co_use
        self._foresight = foresight or Foresight()
        self._turns: deque[tuple[str, ...]] = deque(maxlen=self._foresight.turns)

    @property
    def recent(self) -> list[str]:
        """What the last turns used, the newest first; this is the order of injection."""
        used = (one for turn in reversed(self._turns) for one in turn)
        return list(dict.fromkeys(used))

    def note(self, used: Sequence[str]) -> None:
        """Counts a turn; one that used nothing changes nothing."""
        if not used:
            return
        if self._turns:
            self._co_use.note(self._turns[-1], used)
        self._turns.append(tuple(dict.fromkeys(used)))

    def next_turn(self, limit: int) -> list[str]:
        """Returns what to load for the next turn, the likeliest first."""
        rules = self._foresight
        beside = self._near(self.recent, rules.reach)
        scores: defaultdict[str, float] = defaultdict(float)
        weight = 1.0
        for turn in reversed(self._turns):
            for one in turn:
                scores[one] += weight * rules.again
                for other, away in beside.get(one, ()):
                    side = rules.before if away < 0 else rules.behind
                    scores[other] += weight * side * (1.0 - (abs(away) - 1) / rules.reach)
                for other, share in self._co_use.after(one):
                    scores[other] += weight * rules.followed * share
            weight *= rules.fade
        return sorted(scores, key=lambda one: (-scores[one], one))[:limit]


def beside(order: Sequence[str]) -> Near:
    """Returns the places of a sequence, such as the turns of a dialogue in the order of time."""
    places = {one: place for place, one in enumerate(order)}

    def near(ids: Iterable[str], reach: int) -> dict[str, list[tuple[str, int]]]:
        return {
            one: [
                (order[other], other - places[one])
                for other in range(
                    max(0, places[one] - reach), min(len(order), places[one] + reach + 1)
                )
                if other != places[one]
            ]
            for one in ids
            if one in places
        }

    return near
