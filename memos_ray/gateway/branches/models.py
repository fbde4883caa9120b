"""What-if branches, as the doors show them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from memos_ray.core.lifecycle.branches import Branch, Merged
from memos_ray.gateway.fields import MemoryId, Model, NamespaceName, Reason
from memos_ray.gateway.past.models import MemoryDifference, When

BranchName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")]


class NewBranch(Model):
    """A branch of a namespace, which is the caller's own home when absent.

    It shows the namespace as it was `at` a moment, or at a snapshot; as it is now when absent.
    """

    name: BranchName
    namespace: NamespaceName | None = None
    at: When | None = None
    reason: Reason | None = None


class BranchRecord(Model):
    """A branch; `at` is the moment that it shows where nothing has been changed in it."""

    name: str
    namespace: str
    at: datetime
    author: str
    reason: str | None = None

    @classmethod
    def of(cls, one: Branch) -> BranchRecord:
        """Shows a branch."""
        return cls(
            name=one.name,
            namespace=one.namespace,
            at=one.at,
            author=one.author,
            reason=one.reason,
        )


class BranchList(Model):
    """The branches of a namespace, oldest first."""

    branches: list[BranchRecord]


class BranchDiff(Model):
    """How a branch differs from the moment that it was made of, by memories."""

    branch: BranchRecord
    memories: list[MemoryDifference]


class MergeWish(Model):
    """How a branch is to be merged; the reason is kept with each version."""

    reason: Reason | None = None


class MergeReport(Model):
    """What a merge has done: it has brought in all `changed`, or nothing because of `conflicts`.

    Those say by the code of an error what stands against each memory: `version_conflict` where it
    has changed in the namespace since.
    """

    merged: bool
    changed: list[MemoryId] = []
    conflicts: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, done: Merged) -> MergeReport:
        """Shows what came of a merge."""
        return cls(
            merged=not done.conflicts, changed=list(done.changed), conflicts=dict(done.conflicts)
        )
