"""The part of a shard's handle for what-if branches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.branches import Branch, BranchPage, BranchView, Merged
from memos_ray.core.lifecycle.past import Differing
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError


class BranchCalls(Calls):
    """Implements `ports.shard.branches`."""

    async def branches(self, partition: int, context: CallContext, namespace: str) -> list[Branch]:
        """Lists branches."""
        found: list[Branch] = await self._call("branches", partition, context, namespace)
        return found

    async def create_branch(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        at: datetime | None,
        reason: str | None,
    ) -> Branch:
        """Makes a branch."""
        made: Branch = await self._call(
            "create_branch", partition, context, namespace, name, at, reason
        )
        return made

    async def branch_view(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> BranchView:
        """Says how a branch covers its namespace."""
        view: BranchView = await self._call("branch_view", partition, context, namespace, name)
        return view

    async def branch_get(
        self, partition: int, context: CallContext, namespace: str, name: str, cube_id: str
    ) -> MemCube:
        """Returns a memory as a branch shows it."""
        cube: MemCube = await self._call("branch_get", partition, context, namespace, name, cube_id)
        return cube

    async def branch_page(self, partition: int, request: BranchPage) -> list[MemCube]:
        """Returns a page of what a branch shows."""
        cubes: list[MemCube] = await self._call("branch_page", partition, request)
        return cubes

    async def branch_write(
        self, partition: int, namespace: str, name: str, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes in a branch."""
        outcomes: list[Written | MemosError] = await self._call(
            "branch_write", partition, namespace, name, submissions
        )
        return outcomes

    async def branch_differences(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> list[Differing]:
        """Compares a branch with its moment."""
        found: list[Differing] = await self._call(
            "branch_differences", partition, context, namespace, name
        )
        return found

    async def merge_branch(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Merged:
        """Merges a branch."""
        done: Merged = await self._call("merge_branch", partition, context, namespace, name, reason)
        return done

    async def discard_branch(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Branch:
        """Ends a branch."""
        gone: Branch = await self._call("discard_branch", partition, context, namespace, name)
        return gone
