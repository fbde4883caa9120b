"""What a session has used lately, and what its next turn is likely to use.

A conversation stays near what it was about: memories that stand beside those of the last turns, in
time or in the graph; memories that were used behind them before; and those themselves. Each of the
three gives a memory a score that fades with the turns that have passed, and the best are loaded
before they are asked for.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Near = Callable[[str], Iterable[tuple[str, float]]]
"""Returns the neighbours of a memory, and how near each is: from 0, far, to 1."""

_FOLLOWERS = 32
_KNOWN = 8192


@dataclass(frozen=True, slots=True)
class Foresight:
    """How much each sign counts.

    Attributes:
        turns: past turns that count.
        fade: what a turn counts, compared to the one behind it.
        again: weight of what was used itself.
        near: weight of what stands beside it.
        followed: weight of what was used behind it before.
    """

    turns: int = 8
    fade: float = 0.8
    again: float = 0.6
    near: float = 1.0
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
        near: neighbours in the session, in time or in the graph.
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
        scores: defaultdict[str, float] = defaultdict(float)
        weight = 1.0
        for turn in reversed(self._turns):
            for one in turn:
                scores[one] += weight * rules.again
                for other, nearness in self._near(one):
                    scores[other] += weight * rules.near * nearness
                for other, share in self._co_use.after(one):
                    scores[other] += weight * rules.followed * share
            weight *= rules.fade
        return sorted(scores, key=lambda one: (-scores[one], one))[:limit]


def beside(order: Sequence[str], reach: int) -> Near:
    """Returns nearness in a sequence, such as the turns of a dialogue in the order of time.

    Args:
        reach: places before and behind that count as near.
    """
    places = {one: place for place, one in enumerate(order)}

    def near(one: str) -> Iterable[tuple[str, float]]:
        place = places.get(one)
        if place is None:
            return
        for other in range(max(0, place - reach), min(len(order), place + reach + 1)):
            if other != place:
                yield order[other], 1.0 - (abs(other - place) - 1) / reach

    return near
