"""The typed handle of a shard: its port, carried by Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memos_ray.cluster.packing import pack, unpack
from memos_ray.cluster.remote import RemoteActor
from memos_ray.cluster.shard.branches import BranchCalls
from memos_ray.cluster.shard.browsing import BrowsingCalls
from memos_ray.cluster.shard.model_memory import ModelMemoryCalls
from memos_ray.cluster.shard.order import OrderCalls
from memos_ray.cluster.shard.past import PastCalls
from memos_ray.cluster.shard.sources import SourceCalls
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.scheduling import PromptStart
from memos_ray.core.vault.lineage import LineageAnswer, LineageRequest
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.receipts import Receipt
from memos_ray.core.vault.requests import (
    ListRequest,
    ShardStatus,
)
from memos_ray.errors import MemosError
from memos_ray.ports import LogPiece, LogRequest, NamespaceSize

_BOOT_TIMEOUT_S = 120.0
_BUILD_TIMEOUT_S = 300.0


class ShardHandle(ModelMemoryCalls, OrderCalls, PastCalls, BranchCalls, SourceCalls, BrowsingCalls):
    """A remote shard. Implements `ports.ShardPort`."""

    def __init__(self, name: str, namespace: str) -> None:
        self._actor = RemoteActor(name, namespace)

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes."""
        outcomes: list[Written | MemosError] = await self._call("write", partition, submissions)
        return outcomes

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits writes, all or none."""
        written: list[Written] = await self._call("write_all", partition, submissions)
        return written

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read."""
        cubes: list[MemCube | None] = await self._call("get", partition, context, ids)
        return cubes

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns one page of a namespace."""
        cubes: list[MemCube] = await self._call("page", partition, request)
        return cubes

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns version records."""
        found: list[VersionInfo] = await self._call(
            "versions", partition, context, cube_id, before, limit
        )
        return found

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version."""
        cube: MemCube = await self._call("version", partition, context, cube_id, number)
        return cube

    async def size(self, partition: int, context: CallContext, namespace: str) -> NamespaceSize:
        """Returns how much a namespace holds."""
        found: NamespaceSize = await self._call("size", partition, context, namespace)
        return found

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches."""
        reply: SearchReply = await self._call("search", partition, request)
        return reply

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None = None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt begins with."""
        # References travel beside what is packed: only Ray itself may carry them.
        packed, references = await self._actor.call(
            "start_prompt_apart", pack((partition, context, namespace, model, session, adapter))
        )
        found: PromptStart = unpack(packed)
        return found.together(references)

    async def receipt(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns the receipt of an erasure."""
        found: Receipt = await self._call("receipt", partition, context, cube_id)
        return found

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries."""
        piece: LogPiece = await self._call("log", partition, request)
        return piece

    async def lineage(self, partition: int, request: LineageRequest) -> LineageAnswer:
        """Says what memories were made of, and what of them."""
        answer: LineageAnswer = await self._call("lineage", partition, request)
        return answer

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over."""
        await self._call("own", partitions, timeout_s=_BOOT_TIMEOUT_S)

    async def disown(self, partitions: Sequence[int]) -> None:
        """Gives partitions up."""
        await self._call("disown", partitions)

    async def status(self) -> ShardStatus:
        """Reports."""
        status: ShardStatus = await self._call("status")
        return status

    async def close(self) -> None:
        """Gives everything up and closes its stores."""
        await self._call("close")

    async def _call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        return unpack(await self._actor.call("call", method, pack(args), timeout_s=timeout_s))
