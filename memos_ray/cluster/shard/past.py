"""The part of a shard's handle for the age and the past of memories."""

from __future__ import annotations

from datetime import datetime

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.past import Differences, PastPage, Returned, Snapshot
from memos_ray.core.lifecycle.reports import SweepReport, SweepRequest


class PastCalls(Calls):
    """Implements `ports.shard.past`."""

    async def sweep(self, partition: int, request: SweepRequest) -> SweepReport:
        """Moves memories on that are due."""
        report: SweepReport = await self._call("sweep", partition, request)
        return report

    async def past_get(
        self, partition: int, context: CallContext, cube_id: str, at: datetime
    ) -> MemCube:
        """Returns a memory as it was."""
        cube: MemCube = await self._call("past_get", partition, context, cube_id, at)
        return cube

    async def past_page(self, partition: int, request: PastPage) -> list[MemCube]:
        """Returns a page of a namespace as it was."""
        cubes: list[MemCube] = await self._call("past_page", partition, request)
        return cubes

    async def past_differences(self, partition: int, request: PastPage) -> Differences:
        """Compares two moments."""
        found: Differences = await self._call("past_differences", partition, request)
        return found

    async def go_back(self, partition: int, request: PastPage) -> Returned:
        """Takes memories back to a moment."""
        done: Returned = await self._call("go_back", partition, request)
        return done

    async def snapshots(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[Snapshot]:
        """Lists the named moments of a namespace."""
        found: list[Snapshot] = await self._call("snapshots", partition, context, namespace)
        return found

    async def take_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Snapshot:
        """Names this moment."""
        made: Snapshot = await self._call(
            "take_snapshot", partition, context, namespace, name, reason
        )
        return made

    async def forget_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Snapshot:
        """Forgets a name."""
        gone: Snapshot = await self._call("forget_snapshot", partition, context, namespace, name)
        return gone
