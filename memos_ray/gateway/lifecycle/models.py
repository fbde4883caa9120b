"""How the lifecycle stands, as the doors show it."""

from __future__ import annotations

from datetime import datetime

from memos_ray.core.lifecycle.reports import LifecycleStatus
from memos_ray.gateway.fields import Model


class Lifecycle(Model):
    """How the lifecycle stands.

    `moves` are those of the last or present sweep by `<move>/<cause>`, such as `archive/decay`;
    `held` counts what a legal hold has kept from being collected, `failed` what could not be done.
    `total` counts since the lifecycle's process has started.
    """

    enabled: bool
    sweeping: bool
    partitions_left: int
    finished_at: datetime | None = None
    seen: int
    moves: dict[str, int]
    total: dict[str, int]
    error: str | None = None

    @classmethod
    def of(cls, status: LifecycleStatus) -> Lifecycle:
        """Shows a status."""
        return cls(
            enabled=status.enabled,
            sweeping=status.sweeping,
            partitions_left=status.partitions_left,
            finished_at=status.finished_at,
            seen=status.seen,
            moves=dict(status.moves),
            total=dict(status.total),
            error=status.error,
        )
