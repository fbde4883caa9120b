"""Whether a policy's choices have proved right, by what was wanted first.

A policy that gives something up for something else says that the other will save more. Whether or
not its choice is followed, time tells: a use of what it gave up speaks against it, one of what it
kept instead speaks for it, each by the seconds that it saves. Where few uses are known yet, or
habits go on to what was never there before, refusals prove wrong; then newcomers come in, as they
do with an LRU.

To weigh two policies by what each would have lost goes back to adaptive replacement caches (Megiddo
and Modha, FAST 2003) and LeCaR (Vietri et al., HotStorage 2018).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import count

_MOST = 512
_FADE = 0.99


@dataclass(slots=True)
class _Trial:
    """What was given up, and what was kept instead: the seconds that a use of each saves."""

    lost: dict[Hashable, float]
    kept: dict[Hashable, float]


class Trials:
    """Choices under observation.

    Eviction: the oldest choice, undecided.

    Complexity: a use looks at the choices that it is part of; each is one of `_MOST`.
    """

    def __init__(self) -> None:
        self._right_s = 0.0
        self._wrong_s = 0.0
        self._numbers = count()
        self._trials: OrderedDict[int, _Trial] = OrderedDict()
        self._of: dict[Hashable, set[int]] = {}

    @property
    def proved(self) -> bool:
        """Whether the choices have saved at least as much lately as they have cost."""
        return self._right_s >= self._wrong_s

    def begin(self, lost: Mapping[Hashable, float], kept: Mapping[Hashable, float]) -> None:
        """Watches a choice.

        Args:
            lost: what it gives up, and the seconds that a use of each saves.
            kept: what it keeps that the other choice would give up.
        """
        number = next(self._numbers)
        self._trials[number] = _Trial(dict(lost), dict(kept))
        for key in (*lost, *kept):
            self._of.setdefault(key, set()).add(number)
        if len(self._trials) > _MOST:
            self._end(next(iter(self._trials)))

    def use(self, key: Hashable) -> None:
        """Judges the choices that something wanted is part of."""
        self._right_s *= _FADE
        self._wrong_s *= _FADE
        for number in list(self._of.get(key, ())):
            trial = self._trials[number]
            self._wrong_s += trial.lost.pop(key, 0.0)
            self._right_s += trial.kept.pop(key, 0.0)
            self._leave(key, number)
            if not trial.lost or not trial.kept:
                self._end(number)

    def _end(self, number: int) -> None:
        trial = self._trials.pop(number)
        for key in (*trial.lost, *trial.kept):
            self._leave(key, number)

    def _leave(self, key: Hashable, number: int) -> None:
        held = self._of.get(key)
        if held is not None:
            held.discard(number)
            if not held:
                del self._of[key]
