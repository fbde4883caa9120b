"""Which partition a memory lies in: a minted id names it, else it follows from the namespace."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import new_id
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import NotFoundError
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort

T = TypeVar("T")

_ENTROPY_BYTES = 10
_PARTITION_BYTES = 2
_UUID_CHARS = 36


class Placement:
    """Finds partitions, and mints ids that name theirs in the last four digits."""

    def __init__(self, router: Router, clock: ClockPort) -> None:
        self._router = router
        self._clock = clock

    def mint(self, partition: int) -> str:
        """Makes an id for a memory of a partition."""
        at_ms = to_micros(self._clock.now()) // 1000
        entropy = os.urandom(_ENTROPY_BYTES - _PARTITION_BYTES)
        return new_id(at_ms, entropy + partition.to_bytes(_PARTITION_BYTES, "big"))

    async def home(self, context: CallContext, namespace: str) -> int:
        """Returns the partition of a namespace."""
        ring = await self._router.ring()
        return partition_of(context.principal.tenant, namespace, 0, len(ring.owners))

    async def find(
        self,
        context: CallContext,
        memory_id: str,
        namespace: str | None,
        act: Callable[[int], Awaitable[T]],
    ) -> T:
        """Acts on a memory in the partition where it lies.

        A caller may have chosen an id of the form of a minted one, so that one that is not where it
        says is looked for at home.

        Args:
            namespace: where it lies, when the caller says so.
            act: carries the call out in a partition.

        Raises:
            NotFoundError: it is in none of the places.
        """
        home = await self.home(context, namespace or context.home)
        named = await self.named(memory_id) if namespace is None else None
        if named is not None and named != home:
            try:
                return await act(named)
            except NotFoundError:
                pass
        return await act(home)

    async def named(self, memory_id: str) -> int | None:
        """Returns the partition that a minted id names; nothing for another id."""
        if len(memory_id) != _UUID_CHARS or memory_id[14] != "7":
            return None
        try:
            partition = int(memory_id[-2 * _PARTITION_BYTES :], 16)
        except ValueError:
            return None
        ring = await self._router.ring()
        return partition if partition < len(ring.owners) else None
