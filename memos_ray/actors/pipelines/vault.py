"""How a run reaches memories: through the shards, always as its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.routing import Router
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import new_id
from memos_ray.core.cube.predicate import Between, Not, Predicate, all_of
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.pipeline.run import MemoryRef
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.core.vault.operations import Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ConvertRequest, ListRequest, TeachRequest
from memos_ray.core.vault.ring import partition_of
from memos_ray.ports import ClockPort, EmbedderPort

_PARTITION_BYTES = 2
_ID_ENTROPY_BYTES = 8


@dataclass(frozen=True, slots=True)
class PipelineVault:
    """The vault, for runs.

    Every method raises what the shards do: `NotFoundError` and `PermissionDeniedError` by the
    policy of the moment, `UnavailableError` when a shard is away for too long.
    """

    router: Router
    guard: PolicyGuard
    embedder: Callable[[], EmbedderPort]
    clock: ClockPort
    entropy: Callable[[int], bytes]

    async def admit(self, context: CallContext) -> None:
        """Lets a caller pass whose credential still counts and who may read its own home.

        Raises:
            NotFoundError: the credential is revoked or has expired, the principal is disabled.
        """
        policy = await self.guard.ensure_for(context)
        policy.require_namespace(context, Action.READ, context.home, self.clock.now())

    async def partition(self, context: CallContext, namespace: str) -> int:
        """Returns the partition of a namespace."""
        ring = await self.router.ring()
        return partition_of(context.principal.tenant, namespace, 0, len(ring.owners))

    def mint(self, partition: int) -> str:
        """Makes an id for a memory of a partition."""
        entropy = self.entropy(_ID_ENTROPY_BYTES) + partition.to_bytes(_PARTITION_BYTES, "big")
        return new_id(to_micros(self.clock.now()) // 1000, entropy)

    async def search(
        self, context: CallContext, namespace: str, text: str, predicate: Predicate, limit: int
    ) -> list[MemCube]:
        """Returns the memories that fit a text best; without one the newest that a filter accepts.

        What has ceased to hold is left out, as in other searches.
        """
        partition = await self.partition(context, namespace)
        ended = Not(Between("valid_to", None, to_micros(self.clock.now()) + 1))
        wanted = all_of(predicate, ended)
        if not text.strip():
            listing = ListRequest(context.hop(), namespace, wanted, None, limit)
            return await self.router.call(
                partition, lambda shard, _: shard.page(partition, listing)
            )
        embedder = await asyncio.to_thread(self.embedder)
        vectors = await asyncio.to_thread(embedder.embed, [text])
        request = SearchRequest(
            context.aside().hop(),
            namespace,
            text,
            vectors[0],
            embedder.space.digest,
            wanted,
            k=limit,
            explain=False,
            legible=embedder.legible(text),
        )
        reply = await self.router.call(partition, lambda shard, _: shard.search(partition, request))
        return [hit.cube for hit in reply.hits[:limit]]

    async def by_id(
        self, context: CallContext, namespace: str, ids: Sequence[str]
    ) -> list[MemCube]:
        """Returns memories of a namespace, in order.

        Raises:
            NotFoundError: one is not there, deleted, or not for this caller.
        """
        partition = await self.partition(context, namespace)
        found = await self.router.call(
            partition, lambda shard, _: shard.get(partition, context.hop(), ids)
        )
        cubes = [cube for cube in found if cube is not None and cube.namespace == namespace]
        if len(cubes) < len(ids) or any(cube.state in GONE for cube in cubes):
            raise no_memory()
        return cubes

    async def read(self, context: CallContext, refs: Sequence[MemoryRef]) -> list[MemCube]:
        """Returns memories at the versions that a run has met them in, judged anew.

        Raises:
            NotFoundError: one is not there any more, or not for this caller.
        """
        places: dict[str, list[str]] = {}
        for ref in refs:
            places.setdefault(ref.namespace, []).append(ref.cube_id)
        heads: dict[tuple[str, str], MemCube] = {}
        for namespace, ids in places.items():
            for cube in await self.by_id(context, namespace, list(dict.fromkeys(ids))):
                heads[namespace, cube.id] = cube
        return [await self._at(context, ref, heads[ref.namespace, ref.cube_id]) for ref in refs]

    async def _at(self, context: CallContext, ref: MemoryRef, head: MemCube) -> MemCube:
        if head.version.number == ref.version:
            return head
        partition = await self.partition(context, ref.namespace)
        return await self.router.call(
            partition,
            lambda shard, _: shard.version(partition, context.hop(), ref.cube_id, ref.version),
        )

    async def commit(
        self, context: CallContext, partition: int, writes: Sequence[Write]
    ) -> list[Written]:
        """Commits writes in one transaction, all or none."""
        submissions = [Submission(context.aside().hop(), write) for write in writes]
        return await self.router.call(
            partition, lambda shard, _: shard.write_all(partition, submissions)
        )

    async def convert(
        self, context: CallContext, namespace: str, ids: tuple[str, ...], model: str, minted: str
    ) -> None:
        """Makes memories the beginning of prompts, unless this was done under this id."""
        partition = await self.partition(context, namespace)
        hop = context.hop()
        (there,) = await self.router.call(
            partition, lambda shard, _: shard.get(partition, hop, [minted])
        )
        if there is None:
            request = ConvertRequest(hop, namespace, ids, model, minted, reason="pipeline")
            await self.router.call(partition, lambda shard, _: shard.convert(partition, request))

    async def teach(
        self, context: CallContext, namespace: str, ids: tuple[str, ...], model: str, minted: str
    ) -> None:
        """Begins a lesson, unless it was begun under this id."""
        partition = await self.partition(context, namespace)
        hop = context.hop()
        lessons = await self.router.call(
            partition, lambda shard, _: shard.lessons(partition, hop, namespace)
        )
        if all(lesson.id != minted for lesson in lessons):
            request = TeachRequest(hop, namespace, ids, model, minted, "pipeline")
            await self.router.call(partition, lambda shard, _: shard.teach(partition, request))
