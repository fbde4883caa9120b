"""When plaintext is worth a lesson: what is stable, often used, and not by one conversation alone.

A memory that a model knows leaves its prompts, for as long as it does not change. After that every
prompt that uses the adapter says the new text. So, over a horizon H, for a memory that is found at
a rate, has so many tokens, and changes now and then:

    life  = (1 - exp(-change * H)) / change
    saved = token_s * tokens * (rate * life - prompts * (H - life))

`life` is the time until it changes, as it is expected. `change` is (changes + 1/2) / age: Jeffreys'
estimate of the rate of a Poisson process. Rates follow from counts that fade with a half-life. A
second of a lesson, which nobody waits for, counts for a part of one of a prompt. A lesson has to
pay several times over to be wanted; once it is, it is until it pays no longer. What the model knows
already is taught again with the rest, for prompts use one adapter at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Decay, ExpiresAt
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.parameter import ProposedMemory
from memos_ray.core.scheduling.shared import holds

_SAME_SHARE = 2 / 3
_DAY_S = 86_400.0
_ENDING = (State.ARCHIVED, State.EXPIRED, State.DELETED)


class Standing(StrEnum):
    """What the model knows of a memory."""

    NEW = "new"
    LEARNT = "learnt"
    """The model knows it as it is."""
    OUTDATED = "outdated"
    """The model knows it as it was, and every prompt says it as it is."""


@dataclass(frozen=True, slots=True)
class Learnable:
    """A memory that may be taught.

    Attributes:
        uses: decayed number of prompts that it was found for.
        conversations: how many different ones these belong to.
        callers: how many principals these belong to.
        tokens: of its text in a prompt.
        age_s: since it was made.
        settled_s: since it was changed last.
        changes: how often that was.
        proposed: whether it is in the proposal that there is.
    """

    source: SourceVersion
    uses: float
    conversations: int
    callers: int
    tokens: int
    age_s: float
    settled_s: float
    changes: int
    standing: Standing = Standing.NEW
    proposed: bool = False


@dataclass(frozen=True, slots=True)
class Learning:
    """Where the thresholds are.

    Attributes:
        automatic: whether memories are taught, and not only proposed.
        enter: how many times over a lesson pays that is wanted.
        leave: how many times over one pays that still is.
        conversations: in how many a memory was found, at least.
        settled_s: how long it has not been changed, at least.
        half_life_s: after which a use counts for half.
        horizon_s: over which is reckoned.
        lesson_share: what a second of a lesson counts for, compared to one of a prompt.
        memories_max: most that one adapter learns.
        pause_s: shortest time between two lessons of one namespace and model.
    """

    automatic: bool = False
    enter: float = 3.0
    leave: float = 1.0
    conversations: int = 3
    settled_s: float = _DAY_S
    half_life_s: float = _DAY_S
    horizon_s: float = 30 * _DAY_S
    lesson_share: float = 0.1
    memories_max: int = 200
    pause_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class LessonCost:
    """Seconds that a lesson takes, and that a token of a prompt does."""

    fixed_s: float
    memory_s: float
    token_s: float

    def of(self, memories: int) -> float:
        """Returns how long a lesson about so many takes."""
        return self.fixed_s + self.memory_s * memories


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """What a model is to learn, and what that is good for.

    Attributes:
        memories: those that it knows, then the new ones, the best first; nothing when no lesson is
            worth its while.
        tokens: that a prompt is shorter by, on average.
        saved_s: of prompts over the horizon, what is at risk left out.
        lesson_s: that the lesson takes.
        reasons: sentences.
    """

    memories: tuple[ProposedMemory, ...] = ()
    tokens: float = 0.0
    saved_s: float = 0.0
    lesson_s: float = 0.0
    reasons: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[SourceVersion, ...]:
        """The memories at their versions."""
        return tuple(one.source for one in self.memories)


def lasting(cube: MemCube, now: datetime, horizon_s: float) -> bool:
    """Tells whether a memory may be taught without anybody's asking for it.

    A text and nothing else, that neither ends nor fades within the horizon, is not on legal hold,
    and is not marked as sensitive or regulated.
    """
    rules, until = cube.governance, cube.descriptive.valid_to
    end = now + timedelta(seconds=horizon_s)
    lifespan = rules.lifespan
    if isinstance(lifespan, ExpiresAt) and lifespan.at <= end:
        return False
    if isinstance(lifespan, Decay) and lifespan.half_life_s < horizon_s:
        return False
    return (
        holds(cube, now)
        and isinstance(cube.payload, Plaintext)
        and not cube.payload.attachments
        and cube.state not in _ENDING
        and not (until is not None and until <= end)
        and not (rules.legal_hold or rules.sensitivity or rules.compliance)
    )


def life_s(one: Learnable, horizon_s: float) -> float:
    """Returns how long a memory is expected to stay as it is, up to the horizon."""
    change = (one.changes + 0.5) / max(one.age_s, 1.0)
    return -math.expm1(-change * horizon_s) / change


def saved_s(one: Learnable, prompts: float, rules: Learning, cost: LessonCost) -> float:
    """Returns what knowing a memory saves over the horizon, in seconds of prompts.

    Args:
        prompts: decayed number of all prompts.
    """
    a_second = math.log(2) / rules.half_life_s
    life = life_s(one, rules.horizon_s)
    # What is outdated stands in every prompt now.
    found = prompts if one.standing is Standing.OUTDATED else min(one.uses, prompts)
    turns = found * life - prompts * (rules.horizon_s - life)
    return a_second * turns * one.tokens * cost.token_s


def lesson_plan(
    candidates: Sequence[Learnable], prompts: float, rules: Learning, cost: LessonCost
) -> LessonPlan:
    """Decides what a model should learn.

    Args:
        prompts: decayed number of all prompts.

    Complexity: n log n.
    """
    known = [one for one in candidates if one.standing is Standing.LEARNT]
    known.sort(key=lambda one: one.source.cube_id)
    rest = [one for one in candidates if one.standing is not Standing.LEARNT]
    wanted = [one for one in rest if one.proposed]
    stable = [one for one in rest if _stable(one, rules)]
    others = [one for one in stable if not one.proposed]
    plan = _paying(known, wanted, others, prompts, rules, cost)
    if plan.memories or not wanted:
        return plan
    # What was wanted pays no longer; that is no reason against something else.
    return _paying(known, [], stable, prompts, rules, cost)


def alike(some: Set[SourceVersion], others: Set[SourceVersion]) -> bool:
    """Tells whether two proposals are the same, but for a little."""
    return len(some & others) >= _SAME_SHARE * len(some | others)


def _stable(one: Learnable, rules: Learning) -> bool:
    return one.conversations >= rules.conversations and one.settled_s >= rules.settled_s


def _paying(
    known: Sequence[Learnable],
    wanted: Sequence[Learnable],
    others: Sequence[Learnable],
    prompts: float,
    rules: Learning,
    cost: LessonCost,
) -> LessonPlan:
    worth = {one.source: saved_s(one, prompts, rules, cost) for one in (*known, *wanted, *others)}
    chosen: list[Learnable] = []
    # Those that are wanted go first: one that is a little better does not push another out.
    for group, times in ((wanted, rules.leave), (others, rules.enter)):
        least = times * rules.lesson_share * cost.memory_s
        paying = [one for one in group if worth[one.source] >= least]
        chosen += sorted(paying, key=lambda one: (-worth[one.source], one.source.cube_id))
    chosen = chosen[: max(0, rules.memories_max - len(known))]
    if not chosen:
        return LessonPlan()
    lesson_s = cost.of(len(known) + len(chosen))
    total = sum(worth[one.source] for one in chosen)
    times = rules.leave if wanted else rules.enter
    if total < times * rules.lesson_share * lesson_s:
        return LessonPlan()
    tokens = sum(min(one.uses, prompts) * one.tokens for one in chosen) / max(prompts, 1.0)
    return LessonPlan(
        tuple(
            ProposedMemory(
                one.source,
                round(one.uses, 2),
                one.conversations,
                one.tokens,
                round(one.settled_s, 1),
                round(worth[one.source], 3),
                one.standing is Standing.LEARNT,
            )
            for one in (*known, *chosen)
        ),
        round(tokens, 1),
        round(total, 3),
        round(lesson_s, 1),
        _reasons(known, chosen, prompts, total, lesson_s, rules),
    )


def _reasons(
    known: Sequence[Learnable],
    chosen: Sequence[Learnable],
    prompts: float,
    total: float,
    lesson_s: float,
    rules: Learning,
) -> tuple[str, ...]:
    horizon = rules.horizon_s
    least_used = min(one.uses for one in chosen)
    stays = min(life_s(one, horizon) for one in chosen) / horizon
    settled = min(one.settled_s for one in chosen) / _DAY_S
    talks = min(one.conversations for one in chosen)
    callers = max(one.callers for one in chosen)
    tokens = sum(one.tokens for one in chosen)
    reasons = [
        f"{_counted(len(chosen), 'memory', 'memories')} of {tokens} tokens, each found for "
        f"at least {least_used:.1f} of {prompts:.1f} prompts, which count for half after "
        f"{rules.half_life_s / _DAY_S:g} d",
        f"found in at least {_counted(talks, 'conversation', 'conversations')}, of up to "
        f"{_counted(callers, 'caller', 'callers')}",
        f"unchanged for at least {settled:.1f} d; the least stable one is expected to stay "
        f"as it is for {stays:.0%} of {horizon / _DAY_S:g} d",
        f"saves {total:.1f} s of prompts in that time, and takes a lesson of {lesson_s:.1f} s, of "
        f"which each second counts for {rules.lesson_share:g}",
    ]
    if known:
        reasons.append(f"{len(known)} that the model knows already are taught again with them")
    outdated = sum(one.standing is Standing.OUTDATED for one in chosen)
    if outdated:
        reasons.append(f"{outdated} of them the model knows as they were, and prompts correct it")
    return tuple(reasons)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
