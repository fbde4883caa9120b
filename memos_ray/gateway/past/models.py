"""The past of a namespace, as the doors show it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from memos_ray.core.lifecycle.past import Difference, Snapshot
from memos_ray.gateway.fields import Model, NamespaceName, Reason

SnapshotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")]
When = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A moment with its offset from UTC, as `2026-05-01T12:00:00Z`, or the name of a snapshot."""


class NewSnapshot(Model):
    """The name for this moment of a namespace, which is the caller's own home when absent."""

    name: SnapshotName
    namespace: NamespaceName | None = None
    reason: Reason | None = None


class SnapshotRecord(Model):
    """A named moment of a namespace; `lsn` says how far its log had come."""

    name: str
    namespace: str
    at: datetime
    lsn: int
    author: str
    reason: str | None = None

    @classmethod
    def of(cls, one: Snapshot) -> SnapshotRecord:
        """Shows a snapshot."""
        return cls(
            name=one.name,
            namespace=one.namespace,
            at=one.at,
            lsn=one.lsn,
            author=one.author,
            reason=one.reason,
        )


class SnapshotList(Model):
    """The snapshots of a namespace, oldest first."""

    snapshots: list[SnapshotRecord]


class GoBack(Model):
    """Where a namespace is to go back to: a moment, or the name of a snapshot."""

    to: When
    namespace: NamespaceName | None = None
    reason: Reason | None = None


class WentBack(Model):
    """What a return has done; `refused` says why some memories could not, by their ids.

    `changed` have their content of then, `restored` were deleted since, `deleted` came later.
    """

    at: datetime
    changed: int = 0
    restored: int = 0
    deleted: int = 0
    refused: dict[str, str] = Field(default_factory=dict)


class MemoryDifference(Model):
    """A memory that differs between two moments: its versions then, where it was there."""

    id: str
    kind: Difference
    before: int | None = None
    after: int | None = None


class NamespaceDiff(Model):
    """How a namespace differs between two moments, by memories, newest first."""

    since: datetime
    until: datetime
    memories: list[MemoryDifference]
    cursor: str | None = None
