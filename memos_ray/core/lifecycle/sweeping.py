"""When a memory moves on by itself (LIFE-2, GOV-3): a memory and a moment in, a verdict out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.metadata import Decay, ExpiresAt
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import GONE, LIVE, lifespan_over

SLACK_US = 1_000
"""By so much more passes a sieve than must: `decide` counts otherwise, and has the last word."""

_EARLIEST = -(2**63)

LIFECYCLE = "service:lifecycle"
"""Who the log says has moved memories by their age."""


@crossing
@dataclass(frozen=True, slots=True)
class SweepRules:
    """What the operator has chosen; nothing means that it never happens.

    Attributes:
        cold_heat: a memory whose lifespan is a decay is archived below this heat.
        unused_s: a memory is archived when nobody has read or changed it for that long.
        deleted_s: a deleted memory is collected after that long.
        expired_s: an expired memory is collected after that long.
        receipts_s: the receipt of what was collected is forgotten after that long.
    """

    cold_heat: float = 0.05
    unused_s: float | None = None
    deleted_s: float | None = None
    expired_s: float | None = None
    receipts_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sieve:
    """Leaves out most of what is not due, by what a store knows without reading a memory.

    Moments are microseconds since 1970; nothing where the rules have no such limit.

    Attributes:
        unused: who was neither read nor changed since then may be due.
        deleted: so may what was deleted up to then.
        expired: so may what was recorded as expired up to then.
        cools_us: so may what decays and has not been used for so many microseconds, for each
            second of its half-life; more uses keep it warm for longer.
    """

    now: int
    unused: int | None
    deleted: int | None
    expired: int | None
    cools_us: float | None

    @classmethod
    def of(cls, rules: SweepRules, now: datetime) -> Sieve:
        """Makes the sieve for a moment; whatever `decide` has move then, passes."""
        at = to_micros(now)

        def before(limit_s: float | None) -> int | None:
            return None if limit_s is None else max(at - int(limit_s * 1e6) + SLACK_US, _EARLIEST)

        unused, deleted = before(rules.unused_s), before(rules.deleted_s)
        return cls(at, unused, deleted, before(rules.expired_s), _cools_us(rules.cold_heat))

    def passes(self, cube: MemCube) -> bool:
        """Tells whether a memory may be due."""
        if cube.frozen:
            return False
        made = to_micros(cube.version.created_at)
        if cube.state in GONE:
            limit = self.deleted if cube.state is State.DELETED else self.expired
            return limit is not None and made <= limit
        lifespan = cube.governance.lifespan
        if isinstance(lifespan, ExpiresAt) and to_micros(lifespan.at) <= self.now:
            return True
        if cube.state not in LIVE or not isinstance(cube.payload, Plaintext):
            return False
        touched = to_micros(_touched(cube))
        if self.unused is not None and touched <= self.unused:
            return True
        if self.cools_us is None or not isinstance(lifespan, Decay):
            return False
        return touched - SLACK_US + lifespan.half_life_s * self.cools_us <= self.now


def _cools_us(cold_heat: float) -> float | None:
    """Returns how long an unused memory stays warm: microseconds for each second of half-life."""
    if cold_heat <= 0:
        return None
    if cold_heat > 1:
        # Colder than any new one is: also what was made or read in the future.
        return -math.inf
    # By a billionth of a half-life too early, which is more than arithmetic loses.
    return (-math.log2(cold_heat) - 1e-9) * 1e6


@dataclass(frozen=True, slots=True)
class Verdict:
    """One move, and why; `held`: legal hold forbids it, so that it is not made."""

    move: Move
    cause: Cause
    held: bool = False


def heat(cube: MemCube, now: datetime) -> float | None:
    """Returns what is left of a decaying memory's heat; nothing for other lifespans.

    A new memory has a heat of 1, each use adds to it, and half of it is lost in every half-life
    since the memory was last read or changed.
    """
    lifespan = cube.governance.lifespan
    if not isinstance(lifespan, Decay):
        return None
    age_s = (now - _touched(cube)).total_seconds()
    return float((1.0 + cube.usage.frequency) * 0.5 ** (max(age_s, 0.0) / lifespan.half_life_s))


def decide(cube: MemCube, now: datetime, rules: SweepRules) -> Verdict | None:
    """Returns the move that a memory is due for; nothing when it stays as it is.

    Frozen memories stay, whatever their age. Reads that have not been counted yet are not seen.
    """
    if cube.frozen:
        return None
    if cube.state in GONE:
        return _collected(cube, now, rules)
    if lifespan_over(cube, now):
        return Verdict(Move.EXPIRE, Cause.LIFESPAN)
    if cube.state not in LIVE or not isinstance(cube.payload, Plaintext):
        # Caches and adapters are used without being read; they go with what they are made of.
        return None
    left = heat(cube, now)
    if left is not None and left < rules.cold_heat:
        return Verdict(Move.ARCHIVE, Cause.DECAY)
    if _longer_ago(rules.unused_s, _touched(cube), now):
        return Verdict(Move.ARCHIVE, Cause.UNUSED)
    return None


def _collected(cube: MemCube, now: datetime, rules: SweepRules) -> Verdict | None:
    kept_s = rules.deleted_s if cube.state is State.DELETED else rules.expired_s
    if not _longer_ago(kept_s, cube.version.created_at, now):
        return None
    return Verdict(Move.COLLECT, Cause.RETENTION, held=cube.governance.legal_hold)


def _touched(cube: MemCube) -> datetime:
    read = cube.usage.last_access_at
    changed = cube.version.created_at
    return changed if read is None else max(read, changed)


def _longer_ago(limit_s: float | None, moment: datetime, now: datetime) -> bool:
    return limit_s is not None and (now - moment).total_seconds() >= limit_s
