"""What-if branches, as a shard keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.branches import Branch, BranchPage, BranchView, Merged
from memos_ray.core.lifecycle.past import Differing
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError


class BranchPort(Protocol):
    """The part of a shard that is about branches."""

    async def branches(self, partition: int, context: CallContext, namespace: str) -> list[Branch]:
        """Returns the branches of a namespace, oldest first."""
        ...

    async def create_branch(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        at: datetime | None,
        reason: str | None,
    ) -> Branch:
        """Makes a branch of a namespace as it was at a moment, or is now.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        ...

    async def branch_view(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> BranchView:
        """Says what a branch shows of its own, and what it has taken over that is erased.

        Raises:
            NotFoundError: there is no such branch.
        """
        ...

    async def branch_get(
        self, partition: int, context: CallContext, namespace: str, name: str, cube_id: str
    ) -> MemCube:
        """Returns a memory as a branch shows it."""
        ...

    async def branch_page(self, partition: int, request: BranchPage) -> list[MemCube]:
        """Returns a page of what a branch shows, newest first."""
        ...

    async def branch_write(
        self, partition: int, namespace: str, name: str, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits one caller's writes in a branch; the namespace stays as it is."""
        ...

    async def branch_differences(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> list[Differing]:
        """Returns how a branch differs from the moment that it was made of, by id."""
        ...

    async def merge_branch(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Merged:
        """Brings all changes of a branch into the namespace and ends it, or says what forbids it.

        A memory that has changed in the namespace since the branch's moment forbids it.
        """
        ...

    async def discard_branch(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Branch:
        """Ends a branch, and erases what it holds."""
        ...
