"""What a shard is asked about what is on record: its logs, and where memories came from."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.upkeep import Upkeep
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.vault.lineage import Lineage, LineageAnswer, LineageRequest, lineage_of
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.ports import LogPiece, LogRequest, NamespaceSize

_CHAIN = 64
"""Longer chains are looked at by their ends alone."""

_MADE_OF_ONE = 256


class RecordDoors(ABC):
    """The part of `ports.ShardPort` that is about records; a shard is the rest."""

    _parts: ShardParts
    _guard: PolicyGuard
    _reader: RecordReader
    _usage: UsageLedger
    _upkeep: Upkeep
    _executor: Executor

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def size(self, partition: int, context: CallContext, namespace: str) -> NamespaceSize:
        """Returns how much a namespace holds; see `ShardPort`."""
        await self._serve(partition)
        return await self._reader.size(partition, context, namespace)

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries of the caller's tenant; see `ShardPort`."""
        owned = await self._serve(partition)
        if request.reads:
            # What was read a moment ago is on record, too.
            await self._upkeep.flush(owned)
        return await self._reader.log(partition, request)

    async def lineage(self, partition: int, request: LineageRequest) -> LineageAnswer:
        """Says what memories were made of, and what of them; see `ShardPort`."""
        await self._serve(partition)
        context = request.context
        tenant, now = context.principal.tenant, self._parts.clock.now()
        policy = await self._guard.ensure_for(context)
        audits = policy.may_administer(context, TENANT_ITSELF, now)

        def may_read(cube: MemCube) -> bool:
            facets = facets_of(cube)
            return policy.decide(context, Action.READ, facets, cube.namespace, now).allowed

        keys = [CubeKey(tenant, cube_id) for cube_id in request.ids]
        heads: dict[CubeKey, MemCube] = await self._store_run(
            self._parts.store.heads, partition, keys
        )
        shown = [head for head in heads.values() if may_read(head)]
        caller = context.principal.id
        nodes = [await self._node(partition, head, audits, caller) for head in shown]
        down: dict[str, tuple[str, ...]] = {}
        withheld = set()
        for cube_id in request.ids if request.down else ():
            made, more = await self._made_of(partition, tenant, cube_id)
            readable = sorted(cube.id for cube in made if may_read(cube))
            if readable:
                down[cube_id] = tuple(readable)
            if more or len(readable) < len(made):
                withheld.add(cube_id)
        if shown:
            namespace = shown[0].namespace
            self._usage.read(
                partition, context, "provenance", namespace, [], now, detail={"shown": len(shown)}
            )
        ids = {head.id for head in shown}
        hidden = frozenset(key.id for key in heads if key.id not in ids)
        return LineageAnswer(tuple(nodes), hidden, down, frozenset(withheld))

    async def _node(self, partition: int, head: MemCube, audits: bool, caller: str) -> Lineage:
        store, key = self._parts.store, CubeKey(head.tenant, head.id)
        if head.version.number <= _CHAIN:
            chains = await self._store_run(store.histories, partition, [key])
            chain: list[MemCube] = chains.get(key) or [head]
        else:
            first = await self._store_run(store.version, partition, key, 1)
            chain = [head if first is None else first, head]
        events = {}
        for cube in (chain[0], head):
            lsn = cube.version.lsn
            found: list[Event] = await self._store_run(store.events, partition, lsn - 1, 1)
            if found and (found[0].tenant, found[0].cube_id) == (head.tenant, head.id):
                events[cube.version.number] = found[0]
        return lineage_of(head, chain, events, audits, caller)

    async def _made_of(
        self, partition: int, tenant: str, cube_id: str
    ) -> tuple[list[MemCube], bool]:
        store = self._parts.store
        ids: list[str] = await self._store_run(
            store.derived, partition, tenant, cube_id, "", _MADE_OF_ONE + 1
        )
        # A branch leaves what it was made from as it is.
        made = (one for one in ids[:_MADE_OF_ONE] if one != cube_id and BRANCH_MARK not in one)
        keys = [CubeKey(tenant, one) for one in made]
        found: dict[CubeKey, MemCube] = await self._store_run(store.heads, partition, keys)
        return list(found.values()), len(ids) > _MADE_OF_ONE

    async def _store_run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
