"""A shard, as those see it who write, read and find memories, or look into its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.vault.lineage import LineageAnswer, LineageRequest
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.receipts import Receipt
from memos_ray.core.vault.requests import (
    ListRequest,
)
from memos_ray.errors import MemosError
from memos_ray.ports.records import LogPiece, LogRequest, NamespaceSize


class MemoriesPort(Protocol):
    """Memories and what the log tells of them; raises as `ShardPort`."""

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes; one outcome each, in order."""
        ...

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits writes in one transaction, all or none; raises the first error among them."""
        ...

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read; absent for the others."""
        ...

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns one page of a namespace, newest first."""
        ...

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns a memory's version records below a number, newest first."""
        ...

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version of a memory."""
        ...

    async def size(self, partition: int, context: CallContext, namespace: str) -> NamespaceSize:
        """Returns how much a namespace holds, for those who administer it."""
        ...

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches a namespace's share in one partition."""
        ...

    async def receipt(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns the receipt of an erasure."""
        ...

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries of the caller's tenant; looks at a bounded number."""
        ...

    async def lineage(self, partition: int, request: LineageRequest) -> LineageAnswer:
        """Says of memories what they were made of, and what was made of them in this partition."""
        ...
