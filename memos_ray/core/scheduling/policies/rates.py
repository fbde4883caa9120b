"""How soon something will be wanted again, learnt from when things were wanted before.

A first estimate is the number of uses, each of which fades with a half-life, over that half-life:
the mean of two, so that neither a busy hour nor a quiet one decides alone. Then it is corrected by
how such estimates have proved: for each label, and for each time since the last use, the uses that
came over those that were expected. So what is used in bursts, such as a conversation, is kept
through the pauses that bursts have and let go of behind the last one, and what is used now and then
all day is not; without a constant for either.

The correction is that of a proportional hazard (Cox, "Regression Models and Life-Tables", 1972).
Ranking by the learnt density of hits goes back to LHD (Beckmann et al., NSDI 2018).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

HALF_LIFE_S = 3600.0
"""After this long a use counts for half."""

_SCALES_S = (HALF_LIFE_S, 6 * HALF_LIFE_S)
_PRIOR = 2.0
_MEMORY = 2048.0
_SWEEP = 2
_AHEAD_S = 60.0


def decayed(count: float, elapsed_s: float, half_life_s: float = HALF_LIFE_S) -> float:
    """Returns what is left of a count after a time."""
    return count * float(0.5 ** (max(elapsed_s, 0.0) / half_life_s))


@dataclass(slots=True)
class Uses:
    """How often something was used.

    Attributes:
        counts: decayed numbers as of `at`, one for each half-life.
        at: when it was used last, in seconds on the clock of whoever counts.
        settled_at: until then `UseRates` has compared expectation and truth.
    """

    counts: tuple[float, ...] = (0.0,) * len(_SCALES_S)
    at: float = 0.0
    settled_at: float = 0.0

    def add(self, now: float) -> None:
        """Counts a use."""
        at = max(now, self.at)
        self.counts = tuple(one + 1.0 for one in self._counts(at))
        self.at = self.settled_at = at

    def heat(self, now: float) -> float:
        """Returns the number of uses, each of which counts for half after an hour."""
        return self._counts(now)[0]

    def rate(self, now: float) -> float:
        """Returns a first estimate of uses a second."""
        rates = (
            one * math.log(2) / scale
            for one, scale in zip(self._counts(now), _SCALES_S, strict=True)
        )
        return sum(rates) / len(_SCALES_S)

    def expected(self, start: float, end: float) -> float:
        """Returns how many uses that estimate amounts to over a time without any."""
        before, after = self._counts(start), self._counts(end)
        return (sum(before) - sum(after)) / len(_SCALES_S)

    def _counts(self, now: float) -> tuple[float, ...]:
        return tuple(
            decayed(one, now - self.at, scale)
            for one, scale in zip(self.counts, _SCALES_S, strict=True)
        )


@dataclass(slots=True)
class _Proof:
    """Uses that came, and those that were expected."""

    came: float = 0.0
    expected: float = 0.0

    def add(self, came: float, expected: float) -> None:
        self.came += came
        self.expected += expected
        if self.came + self.expected > _MEMORY:
            # So that a change of habits is not lost in what was long ago.
            self.came, self.expected = self.came / 2, self.expected / 2

    @property
    def factor(self) -> float:
        return (self.came + _PRIOR) / (self.expected + _PRIOR)


class UseRates:
    """Estimates of uses a second, and how they have proved.

    Complexity: `use` compares two more things than the one used, in turn, so that what is never
    used again is learnt from as well; all else is constant.
    """

    def __init__(self) -> None:
        self._proofs: dict[tuple[str, int], _Proof] = {}
        self._turns: deque[Hashable] = deque()
        self._known: dict[Hashable, tuple[str, Uses]] = {}

    def use(self, key: Hashable, label: str, uses: Uses, now: float) -> None:
        """Counts a use, and learns from when it came."""
        if key in self._known:
            self._settle(label, uses, now)
            self._proof(label, now - uses.at).add(1.0, 0.0)
        else:
            self._turns.append(key)
        self._known[key] = (label, uses)
        uses.add(now)
        for _ in range(min(_SWEEP, len(self._turns))):
            self._sweep(now)

    def forget(self, key: Hashable) -> None:
        """Takes something out of what is learnt from."""
        self._known.pop(key, None)

    def rate(self, label: str, uses: Uses, now: float) -> float:
        """Returns how many uses a second are to be expected next.

        That is over the next minute, or for as long again as there was none.
        """
        ahead_s = max(now - uses.at, _AHEAD_S)
        expected = sum(
            uses.expected(start, end) * self._factor(label, start - uses.at)
            for start, end in _pauses(uses.at, now, now + ahead_s)
        )
        return expected / ahead_s

    def _sweep(self, now: float) -> None:
        key = self._turns.popleft()
        known = self._known.get(key)
        if known is not None:
            self._settle(*known, now)
            self._turns.append(key)

    def _settle(self, label: str, uses: Uses, now: float) -> None:
        for start, end in _pauses(uses.at, uses.settled_at, now):
            self._proof(label, start - uses.at).add(0.0, uses.expected(start, end))
        uses.settled_at = max(uses.settled_at, now)

    def _factor(self, label: str, since_s: float) -> float:
        proof = self._proofs.get((label, _pause(since_s)))
        return 1.0 if proof is None else proof.factor

    def _proof(self, label: str, since_s: float) -> _Proof:
        return self._proofs.setdefault((label, _pause(since_s)), _Proof())


def _pauses(used_at: float, start: float, end: float) -> Iterator[tuple[float, float]]:
    """Cuts a time without uses where its class changes."""
    while start < end:
        cut = min(end, used_at + 2.0 ** (_pause(start - used_at) + 1))
        if cut <= start:
            # Rounded: the rest of it counts as one.
            cut = end
        yield start, cut
        start = cut


def _pause(since_s: float) -> int:
    """Returns the class of a time since the last use: each is twice as long as the one before."""
    return int(math.log2(max(since_s, 1.0)))
