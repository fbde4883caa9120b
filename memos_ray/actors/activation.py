"""What a shard answers about activation memory, judged by policy and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from memos_ray.actors.guard import PolicyGuard
from memos_ray.actors.reading import RecordReader
from memos_ray.actors.residency import Place
from memos_ray.actors.shared_blocks import SharedBlocks, activation_of
from memos_ray.actors.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.activation import CacheReport
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.scheduling import SharedMemories
from memos_ray.core.vault.operations import Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import InvalidInputError, MemosError
from memos_ray.ports import ClockPort

Writing = Callable[[int, Sequence[Submission]], Awaitable[list[Written | MemosError]]]


class ActivationMemory:
    """Blocks and caches of a shard, for who may read their memories.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        blocks: SharedBlocks,
        *,
        reader: RecordReader,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        write: Writing,
    ) -> None:
        self._blocks = blocks
        self._reader = reader
        self._guard = guard
        self._usage = usage
        self._clock = clock
        self._write = write

    async def shared(
        self, partition: int, context: CallContext, namespace: str, model: str
    ) -> SharedMemories:
        """Returns what a namespace's prompts begin with; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.permit(context, Action.READ, namespace, now)
        if isinstance(visible, Nothing):
            return SharedMemories()
        place = Place(partition, context.principal.tenant, namespace)
        found, read = await self._blocks.find(place, model, visible)
        cached = frozenset(cube.id for cube in read) if found.kv else frozenset[str]()
        self._usage.read(
            partition,
            context,
            "chat",
            namespace,
            read,
            now,
            cached=cached,
            detail={"model": model, "kv": bool(cached)},
        )
        return found

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes a block of memories and its KV cache; see `ShardPort`."""
        context, namespace = request.context, request.namespace
        found = await self._reader.get(partition, context, request.ids)
        heads = [head for head in found if head is not None and head.namespace == namespace]
        if len(heads) < len(request.ids) or not heads:
            raise no_memory()
        place = Place(partition, context.principal.tenant, namespace)
        manifest = await self._blocks.build(place, request.model, heads)
        write = Write(namespace, activation_of(request, heads, manifest))
        (outcome,) = await self._write(partition, [Submission(context, write)])
        if isinstance(outcome, MemosError):
            raise outcome
        return outcome

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Says what is known of a namespace's KV caches; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._blocks.reports(place, visible, ids)

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of a KV cache; see `ShardPort`."""
        (block,) = await self._reader.get(partition, context, [cube_id])
        if block is None:
            raise no_memory()
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        policy.require(context, Action.UPDATE, facets_of(block), block.namespace, now)
        if block.payload.form is not Form.ACTIVATION:
            raise InvalidInputError("this is not an activation memory", id=cube_id)
        place = Place(partition, context.principal.tenant, block.namespace)
        await self._blocks.evict(place, block)
        self._usage.read(partition, context, "evict", block.namespace, [block], now)
        visible = policy.permit(context, Action.READ, block.namespace, now)
        reports = await self._blocks.reports(place, visible, [cube_id])
        if not reports:
            raise no_memory()
        return reports[0]
