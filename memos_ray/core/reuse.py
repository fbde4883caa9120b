"""Cross-task reuse: what earlier tasks like this one have used usefully (APP-2). Pure.

A task is known by its name, which is the purpose that calls state, and by the memories that it has
used: their fingerprints and words say what it was about. What a task like the one at hand has used
is offered even where its own words have nothing to do with the new task's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.fingerprint import Fingerprint, similarity
from memos_ray.core.retrieval.text import shared_analyzer

_LEAST_ALIKE = 0.25
_TELLING = 3
_MOST_TASKS = 5
# Of texts about one thing, and about two: shares of equal bits, as they are met (see `similarity`).
_RELATED, _UNRELATED = 0.75, 0.55


@crossing
@dataclass(frozen=True, slots=True)
class ReuseTask:
    """The task at hand.

    Attributes:
        text: what is to be done.
        purpose: its name, if it has one; what it has used itself is no news.
        fingerprint: of the text.
    """

    text: str
    purpose: str | None
    fingerprint: Fingerprint


@crossing
@dataclass(frozen=True, slots=True)
class AlikeTask:
    """An earlier task.

    Attributes:
        alike: 0 to 1, to the task at hand.
        reasons: for people.
    """

    name: str
    alike: float
    memories: int
    reasons: tuple[str, ...]


@crossing
@dataclass(frozen=True, slots=True)
class Offer:
    """A memory that earlier tasks have used, the best first by `score`."""

    cube: MemCube
    score: float
    reasons: tuple[str, ...]


@crossing
@dataclass(frozen=True, slots=True)
class Reuse:
    """What is offered for a task.

    Attributes:
        partial: whether the namespace holds more than was looked at.
    """

    tasks: tuple[AlikeTask, ...]
    offers: tuple[Offer, ...]
    partial: bool = False


def offers(task: ReuseTask, used: Sequence[MemCube], limit: int) -> Reuse:
    """Ranks what alike tasks have used; what was marked as useless is left out.

    Args:
        used: memories that the caller may read and that some task has used.
    """
    by_task: defaultdict[str, list[MemCube]] = defaultdict(list)
    for cube in used:
        for name in cube.usage.tasks:
            by_task[name].append(cube)
    wanted = _terms(task.text)
    known = [_alike(task, wanted, name, cubes) for name, cubes in by_task.items()]
    alike = sorted(
        (one for one in known if one.alike >= _LEAST_ALIKE and one.name != task.purpose),
        key=lambda one: (-one.alike, one.name),
    )[:_MOST_TASKS]
    scores = {one.name: one for one in alike}
    found = [
        offer
        for cube in used
        if cube.usage.usefulness >= 0 and (offer := _offer(cube, scores)) is not None
    ]
    found.sort(key=lambda one: (-one.score, one.cube.id))
    return Reuse(tuple(alike), tuple(found[:limit]))


def _alike(
    task: ReuseTask, wanted: frozenset[str], name: str, cubes: Sequence[MemCube]
) -> AlikeTask:
    named = _terms(name.replace("-", " ").replace("_", " ").replace(".", " "))
    shared_name = len(named & wanted) / max(1, len(named))
    marks = sorted((_print_alike(task.fingerprint, one.fingerprint) for one in cubes), reverse=True)
    printed = sum(marks[:_TELLING]) / max(1, len(marks[:_TELLING]))
    said = frozenset().union(*(_terms(cube.text) for cube in cubes))
    covered = len(wanted & said) / max(1, len(wanted))
    alike = round(max(shared_name, (printed + covered) / 2), 3)
    reasons = []
    if named & wanted:
        reasons.append(f"its name: {', '.join(sorted(named & wanted))}")
    if covered:
        reasons.append(f"it used memories with {covered:.0%} of the words")
    if printed > 0:
        reasons.append(f"their fingerprints are {printed:.0%} alike")
    return AlikeTask(name, alike, len(cubes), tuple(reasons))


def _print_alike(one: Fingerprint, other: Fingerprint) -> float:
    share = (similarity(one, other) - _UNRELATED) / (_RELATED - _UNRELATED)
    return min(1.0, max(0.0, share))


def _offer(cube: MemCube, alike: dict[str, AlikeTask]) -> Offer | None:
    tasks = [alike[name] for name in cube.usage.tasks if name in alike]
    if not tasks:
        return None
    usage = cube.usage
    likeness = 1.0 - math.prod(1.0 - one.alike for one in tasks)
    # The hundredth use says less than the second, and one word of praise more than ten uses.
    worth = math.log1p(usage.access_count) * (1.0 + min(usage.usefulness, 3.0))
    names = ", ".join(f"{one.name} ({one.alike:.2f})" for one in tasks)
    reasons = [f"used by {names}", f"{usage.access_count} times"]
    if usage.agents:
        reasons.append(f"by {', '.join(usage.agents)}")
    if usage.usefulness > 0:
        reasons.append(f"found useful: {usage.usefulness:+g}")
    return Offer(cube, round(likeness * worth, 4), tuple(reasons))


def _terms(text: str) -> frozenset[str]:
    return frozenset(shared_analyzer().analyse(text).terms)
