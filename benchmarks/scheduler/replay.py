"""A tier of a shard under a trace, and what somebody who knew the future would have done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scheduler.traces import Item, Step
from memos_ray.core.scheduling.policies import (
    Budget,
    BySimilarity,
    Holding,
    Keeper,
    RetentionPolicy,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trace cost.

    Attributes:
        seconds: of prefill for what was not held.
        hits: requests for something that was held, as a share.
    """

    seconds: float
    hits: float


def replay(trace: Sequence[Step], budget_bytes: int, policy: RetentionPolicy) -> Outcome:
    """Lets `Keeper`, the class that a shard's caches are kept by, go through a trace."""
    keeper: Keeper[str] = Keeper(Budget(budget_bytes, budget_bytes), policy)
    topics: dict[str, int] = {}
    seconds, hits, requests = 0.0, 0, 0
    for step in trace:
        item, now = step.item, step.at_s
        if step.changed:
            keeper.outdated(item.id, now)
            continue
        requests += 1
        topics[item.id] = item.topic
        if isinstance(policy, BySimilarity):
            for name, holding in keeper.held.items():
                holding.asked(float(topics[name] == item.topic))
        if keeper.use(item.id, item.label, now) is not None:
            hits += 1
            continue
        seconds += item.build_s
        offered = Holding("tenant", item.size_bytes, item.build_s, label=item.label)
        if keeper.admits(item.id, offered, now):
            keeper.hold(item.id, offered, now)
    return Outcome(seconds, hits / requests)


def oracle(trace: Sequence[Step], budget_bytes: int) -> Outcome:
    """Knows when each item is wanted next, and whether it changes before.

    Where there is not room for all, those stay that save most seconds for each byte and second
    until they are wanted next (Belady's rule, weighed by cost), and a newcomer competes with the
    others. With sizes and costs that differ the best possible schedule is NP-hard; this rule is a
    strong one, not a bound.
    """
    following = _following(trace)
    held: dict[str, tuple[Item, float]] = {}
    used = 0
    seconds, hits, requests = 0.0, 0, 0
    for step, next_s in zip(trace, following, strict=True):
        item, now = step.item, step.at_s
        gone = held.pop(item.id, None)
        used -= item.size_bytes if gone else 0
        if step.changed:
            continue
        requests += 1
        if gone:
            hits += 1
        else:
            seconds += item.build_s
        held[item.id] = (item, next_s)
        used += item.size_bytes
        if used > budget_bytes:
            used -= _drop(held, used - budget_bytes, now)
    return Outcome(seconds, hits / requests)


def _drop(held: dict[str, tuple[Item, float]], surplus: int, now: float) -> int:
    def worth(name: str) -> float:
        item, next_s = held[name]
        return item.build_s / item.size_bytes / max(next_s - now, 1e-9)

    freed = 0
    going: list[str] = []
    for name in sorted(held, key=worth):
        if freed >= surplus:
            break
        going.append(name)
        freed += held[name][0].size_bytes
    # What is worth most goes back where the last ones made more room than was needed.
    for name in reversed(going):
        size = held[name][0].size_bytes
        if freed - size >= surplus:
            freed -= size
            going.remove(name)
    for name in going:
        del held[name]
    return freed


def _following(trace: Sequence[Step]) -> list[float]:
    """Returns when the item of each step is wanted next; never, where it changes before."""
    coming: dict[str, float] = {}
    found = []
    for step in reversed(trace):
        found.append(coming.get(step.item.id, math.inf))
        coming[step.item.id] = math.inf if step.changed else step.at_s
    return found[::-1]
