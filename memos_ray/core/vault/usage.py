"""How accesses add up to the behavioural indicators of a memory (CUBE-4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from memos_ray.core.cube.metadata import Usage
from memos_ray.core.vault.log import UsageDelta

HALF_LIFE_S = 7 * 86_400.0
"""`Usage.frequency` loses half of itself in this time."""

_RECENT = 8


def add(usage: Usage, delta: UsageDelta) -> Usage:
    """Adds a batch of accesses; batches may come late and out of order.

    `frequency` counts each batch as if all its accesses happened at `delta.last_at`.
    """
    if delta.count == 0:
        # What was said of a memory is no access to it.
        return replace(usage, usefulness=usage.usefulness + delta.usefulness)
    known = usage.last_access_at
    newest = delta.last_at if known is None else max(known, delta.last_at)
    held = 0.0 if known is None else usage.frequency * _decay((newest - known).total_seconds())
    added = delta.count * _decay((newest - delta.last_at).total_seconds())
    return Usage(
        access_count=usage.access_count + delta.count,
        last_access_at=newest,
        frequency=held + added,
        cache_hits=usage.cache_hits + delta.cache_hits,
        usefulness=usage.usefulness + delta.usefulness,
        tasks=_recent(delta.tasks, usage.tasks),
        agents=_recent(delta.agents, usage.agents),
    )


def _decay(age_s: float) -> float:
    return float(0.5 ** (age_s / HALF_LIFE_S))


def _recent(new: Iterable[str], old: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*new, *old)))[:_RECENT]
