"""What a shard is asked to sweep, what it answers, and how the lifecycle stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.core.crossing import crossing
from memos_ray.core.lifecycle.sweeping import SweepRules

HELD = "held"
"""Counts what would have been collected, were it not under legal hold."""

FAILED = "failed"
"""Counts moves that were not made: a caller was faster, the store refused, or cannot read it."""


PRUNED = "receipts_pruned"
"""Counts receipts of collected memories that have been forgotten."""


@crossing
@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A bounded piece of a sweep.

    Attributes:
        after: (tenant, id) of the last memory of the piece before; nothing begins anew.
        limit: most memories to look at.
    """

    rules: SweepRules
    after: tuple[str, str] | None = None
    limit: int = 16384


@crossing
@dataclass(frozen=True, slots=True)
class SweepReport:
    """What came of a piece.

    Attributes:
        seen: memories looked at.
        moves: how many by `<move>/<cause>`, and `HELD`, `FAILED` and `PRUNED`.
        after: where to go on; nothing when the partition is done.
    """

    seen: int
    moves: Mapping[str, int] = field(default_factory=dict)
    after: tuple[str, str] | None = None


@crossing
@dataclass(frozen=True, slots=True)
class LifecycleStatus:
    """How the lifecycle stands.

    Attributes:
        enabled: whether it sweeps by itself.
        sweeping: whether a sweep over all partitions is under way.
        partitions_left: of that sweep.
        finished_at: end of the last whole sweep.
        seen: memories looked at in the last or present sweep.
        moves: made in the last or present sweep, as in `SweepReport`.
        total: moves since the process started.
        error: code of the last failure, if the last piece failed.
    """

    enabled: bool
    sweeping: bool = False
    partitions_left: int = 0
    finished_at: datetime | None = None
    seen: int = 0
    moves: Mapping[str, int] = field(default_factory=dict)
    total: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Returns the sum of two counts, sorted by name."""
    return dict(sorted((Counter(counts) + Counter(more)).items()))
