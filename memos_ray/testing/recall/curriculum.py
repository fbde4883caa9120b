"""What to train on next: from bare pairs to long prompts, a step when the last is mastered."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field

from memos_ray.testing.recall.dataset import Mix, Part, compact, draw_group, pairs, prose
from memos_ray.testing.recall.world import Split, names

_FIRST_PEOPLE = 24
_MOST_ASKED = 12
_MASTERED = 0.9
_PAIRS_MASTERED = 0.8
_LONG = 0.05
_LONG_FROM_STAGE = 3


@dataclass(frozen=True, slots=True)
class Phase:
    """How often each kind of sample is drawn."""

    shares: dict[str, float]
    absent: float
    updated: float = 0.0
    mastered: float = 0.85


_PHASES = (
    Phase({"pairs": 0.85, "compact": 0.15}, absent=0.1),
    Phase({"pairs": 0.1, "compact": 0.6, "prose": 0.3}, absent=0.1),
    Phase({"pairs": 0.05, "compact": 0.1, "prose": 0.85}, absent=0.25, updated=0.4),
)
_LEAD = ("pairs", "compact", "prose")
_MOST_FACTS = (4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True, slots=True)
class Sample:
    """Text in pieces, and what it trains."""

    kind: str
    parts: list[Part]
    hard: bool


@dataclass(slots=True)
class Curriculum:
    """Draws samples; `record` tells it how well they were answered.

    The order of the levels: a growing number of names in `pairs`, then `compact` conversations,
    then `prose` with a growing number of facts.
    """

    rng: random.Random
    people: int = _FIRST_PEOPLE
    phase: int = 0
    stage: int = 0
    accuracy: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def level(self) -> str:
        """Where it stands, for people to read."""
        return f"phase {self.phase}, {self.people} names, {_MOST_FACTS[self.stage]} facts"

    def draw(self, count: int) -> list[Sample]:
        """Draws samples of the present level."""
        return [self._sample() for _ in range(count)]

    def record(self, kind: str, accuracy: float, hard: bool) -> None:
        """Takes note of the share of right answers in a batch, and may go one level up."""
        lead = _LEAD[self.phase]
        if kind != lead or (kind == "prose" and not hard):
            return
        self.accuracy[kind] += 0.07 * (accuracy - self.accuracy[kind])
        everybody = len(names())
        if self.phase == 0 and self.people < everybody:
            if self.accuracy[kind] > _PAIRS_MASTERED:
                self.people = min(everybody, 3 * self.people)
                self.accuracy[kind] = 0.5
        elif self.phase < len(_PHASES) - 1:
            if self.accuracy[kind] > _PHASES[self.phase].mastered:
                self.phase += 1
        elif self.accuracy[kind] > _MASTERED and self.stage < len(_MOST_FACTS) - 1:
            self.stage += 1
            self.accuracy[kind] = 0.0

    def _sample(self) -> Sample:
        phase = _PHASES[self.phase]
        (kind,) = self.rng.choices(tuple(phase.shares), tuple(phase.shares.values()))
        people = names()[: self.people]
        if kind == "pairs":
            return Sample(
                kind, pairs(self.rng, self.rng.randint(2, 10), people, phase.updated), hard=True
            )
        most = _MOST_FACTS[self.stage]
        count = most
        if self.rng.random() < 0.4:
            count = self.rng.randint(0 if self.rng.random() < 0.1 else 1, most)
        facts = draw_group(self.rng, count, people)
        asked = min(len(facts) + 1, _MOST_ASKED)
        long = _LONG if self.stage >= _LONG_FROM_STAGE else 0.0
        mix = Mix(absent=phase.absent, updated=phase.updated, long=long)
        if kind == "compact":
            drawn = compact(self.rng, facts, asked, people, mix)
        else:
            drawn = prose(self.rng, facts, asked, Split.TRAINING, mix)
        return Sample(kind, drawn.parts(), hard=count > 0.6 * most)
