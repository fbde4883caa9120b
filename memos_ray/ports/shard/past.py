"""A shard, as those see it who ask for the past of memories, or have them age."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.past import Differences, PastPage, Returned, Snapshot
from memos_ray.core.lifecycle.reports import SweepReport, SweepRequest


class PastPort(Protocol):
    """Age and past of memories; raises as `ShardPort`."""

    async def sweep(self, partition: int, request: SweepRequest) -> SweepReport:
        """Moves memories on that are due by their age and use; looks at a bounded number."""
        ...

    async def past_get(
        self, partition: int, context: CallContext, cube_id: str, at: datetime
    ) -> MemCube:
        """Returns a memory as it was at a moment."""
        ...

    async def past_page(self, partition: int, request: PastPage) -> list[MemCube]:
        """Returns a page of a namespace as it was, newest first."""
        ...

    async def past_differences(self, partition: int, request: PastPage) -> Differences:
        """Compares two moments, for a bounded number of memories."""
        ...

    async def go_back(self, partition: int, request: PastPage) -> Returned:
        """Takes a bounded number of memories back to a moment; doing it twice changes nothing."""
        ...

    async def snapshots(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[Snapshot]:
        """Lists the named moments of a namespace, oldest first."""
        ...

    async def take_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Snapshot:
        """Names this moment of a namespace."""
        ...

    async def forget_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Snapshot:
        """Forgets the name of a moment; its author may, and who administers the namespace."""
        ...
