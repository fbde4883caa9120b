"""Whether refusing newcomers has proved right, by what was wanted first.

A policy that refuses a newcomer says that those it would push out will save more. Whether or not it
is refused after all, time tells: what is wanted of the two sides is what the other decision would
have computed anew. Where few uses are known yet, or habits go on to what was never there before,
refusals prove wrong, and newcomers come in as they do with an LRU.

To weigh two policies by what each would have lost goes back to adaptive replacement caches (Megiddo
and Modha, FAST 2003) and LeCaR (Vietri et al., HotStorage 2018).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

_MOST = 512
_FADE = 0.99


@dataclass(slots=True)
class _Trial:
    """A newcomer and those that it would push out, with the seconds that a use of each saves."""

    newcomer_s: float
    others: dict[Hashable, float]


class Trials:
    """Refusals under observation.

    Eviction: the oldest refusal, undecided.

    Complexity: a use looks at the refusals that it decides; each is one of `_MOST`.
    """

    def __init__(self) -> None:
        self._right_s = 0.0
        self._wrong_s = 0.0
        self._trials: OrderedDict[Hashable, _Trial] = OrderedDict()
        self._of: dict[Hashable, set[Hashable]] = {}

    @property
    def worth_it(self) -> bool:
        """Whether refusals have saved at least as much lately as they have cost."""
        return self._right_s >= self._wrong_s

    def begin(
        self, newcomer: Hashable, saved_s: float, others: Iterable[tuple[Hashable, float]]
    ) -> None:
        """Watches a refusal, or one that would have been.

        Args:
            saved_s: seconds that a use of the newcomer saves.
            others: those it would push out, and what a use of each saves.
        """
        self._end(newcomer)
        self._trials[newcomer] = _Trial(saved_s, dict(others))
        for other in self._trials[newcomer].others:
            self._of.setdefault(other, set()).add(newcomer)
        if len(self._trials) > _MOST:
            self._end(next(iter(self._trials)))

    def use(self, key: Hashable) -> None:
        """Judges the refusals that something wanted is part of."""
        self._right_s *= _FADE
        self._wrong_s *= _FADE
        trial = self._trials.get(key)
        if trial is not None:
            self._wrong_s += trial.newcomer_s
            self._end(key)
        for newcomer in list(self._of.get(key, ())):
            others = self._trials[newcomer].others
            self._right_s += others.pop(key)
            self._leave(key, newcomer)
            if not others:
                self._end(newcomer)

    def _end(self, newcomer: Hashable) -> None:
        trial = self._trials.pop(newcomer, None)
        for other in trial.others if trial else ():
            self._leave(other, newcomer)

    def _leave(self, other: Hashable, newcomer: Hashable) -> None:
        held = self._of[other]
        held.discard(newcomer)
        if not held:
            del self._of[other]
