"""MemoryService: every verb of the memory API, once, for all doors.

REST, the SDK and the CLI are thin layers over this. It holds no state but caches; any number of
instances may run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from memos_ray.actors.turns import FairGate
from memos_ray.config import LimitSettings
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.lifecycle.branches import BranchView
from memos_ray.core.vault.operations import (
    Archive,
    Delete,
    Freeze,
    Operation,
    Restore,
    Rollback,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest
from memos_ray.errors import InvalidInputError, MemosError, PayloadTooLargeError
from memos_ray.gateway import paging
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.completing import Completing
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.memories.questions import Questions
from memos_ray.gateway.memories.record_models import Diff, History
from memos_ray.gateway.memories.searching import MemorySearch, filter_of
from memos_ray.gateway.personas.defaults import as_persona_remembers
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router, WriteLanes
from memos_ray.ports import ClockPort, EmbedderPort


class MemoryService(Questions):
    """The memory API.

    Every method takes the `Caller` and raises `UnauthenticatedError`, `PermissionDeniedError`,
    `NotFoundError`, `PolicyUnavailableError` and `UnavailableError` as their documentation says.
    """

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        embedder: Callable[[], EmbedderPort],
        clock: ClockPort,
        limits: LimitSettings,
        extracts: bool = False,
        completing: Completing | None = None,
    ) -> None:
        """Takes its parts.

        Args:
            extracts: whether there is a model that reads what is stored with `extract`.
            completing: the model that completes questions in a dialogue, where there is one.
        """
        self._router = router
        self._extracts = extracts
        self._lanes = WriteLanes(router)
        self._gate = FairGate(limits.searches_at_once)
        self._placement = Placement(router, clock)
        self._search = MemorySearch(
            router=router,
            placement=self._placement,
            embedder=embedder,
            clock=clock,
            limits=limits,
            completing=completing,
        )
        self._authenticator = authenticator
        self._clock = clock
        self._limits = limits

    async def add(
        self, caller: Caller, memories: Sequence[NewMemory], namespace: str | None = None
    ) -> WriteReport:
        """Stores memories; each has its own outcome.

        Args:
            namespace: where they go; the caller's own home when absent.
        """
        context, policy = await self._authenticator.context(caller)
        persona, context = policy.persona(context), context.hop()
        place = namespace or context.home
        if not self._extracts and any(memory.extract for memory in memories):
            raise InvalidInputError("no model is set up for extraction", field="extract")
        if len(memories) > self._limits.batch_items:
            raise PayloadTooLargeError(
                "too many memories in one call", limit=self._limits.batch_items
            )
        partition = await self._placement.home(context, place)
        results: list[WriteResult | None] = [None] * len(memories)
        submissions, places = [], []
        for index, memory in enumerate(memories):
            try:
                memory = as_persona_remembers(memory, persona, place)
                self.check_size(memory)
            except MemosError as error:
                results[index] = WriteResult(error=mapping.problem_of(error, caller.request_id))
                continue
            operation = mapping.create_of(memory, self._placement.mint(partition))
            key, reason = memory.idempotency_key, memory.reason
            read, known = memory.extract, memory.known_by_key
            write = Write(place, operation, key, reason, extract=read, known_by_key=known)
            submissions.append(Submission(context, write))
            places.append(index)
        outcomes = await self._lanes.submit(partition, submissions) if submissions else []
        for index, outcome in zip(places, outcomes, strict=True):
            results[index] = mapping.result_of(outcome, caller.request_id)
        return WriteReport(
            results=[result for result in results if result is not None],
            token=mapping.token_of(outcomes),
        )

    async def update(
        self, caller: Caller, memory_id: str, change: MemoryChange, namespace: str | None = None
    ) -> WriteReport:
        """Makes a new version of a memory."""
        operation = mapping.update_of(memory_id, change)
        if change.text is not None:
            self.check_text(change.text)
        return await self.revise(
            caller, namespace, operation, change.idempotency_key, change.reason
        )

    async def share(
        self, caller: Caller, memory_id: str, sharing: Sharing, namespace: str | None = None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        operation = mapping.share_of(memory_id, sharing)
        return await self.revise(
            caller, namespace, operation, sharing.idempotency_key, sharing.reason
        )

    async def delete(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        hard: bool = False,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Deletes a memory: soft, so that `restore` undoes it, or hard, which erases it."""
        operation = Delete(memory_id, hard, expected_version)
        return await self.revise(caller, namespace, operation, idempotency_key, reason)

    async def restore(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Undoes a soft delete, an expiry or an archiving."""
        return await self.revise(caller, namespace, Restore(memory_id), idempotency_key, reason)

    async def archive(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Puts a memory away: it can be read, but searches leave it out."""
        return await self.revise(caller, namespace, Archive(memory_id), idempotency_key, reason)

    async def rollback(
        self,
        caller: Caller,
        memory_id: str,
        to: int,
        namespace: str | None = None,
        *,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Makes a new version with the content of an older one; access stays as it is."""
        operation = Rollback(memory_id, to, expected_version)
        return await self.revise(caller, namespace, operation, idempotency_key, reason)

    async def freeze(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        frozen: bool = True,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Forbids every change of a memory, or allows changes again."""
        operation = Freeze(memory_id, frozen)
        return await self.revise(caller, namespace, operation, idempotency_key, reason)

    async def get(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        version: int | None = None,
    ) -> Memory:
        """Returns a memory, at its newest version or at an older one."""
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def newest(partition: int) -> MemCube:
            (cube,) = await self._router.call(
                partition, lambda shard, _: shard.get(partition, hop, [memory_id])
            )
            if cube is None or (namespace is not None and cube.namespace != namespace):
                raise no_memory()
            return cube

        act = newest if version is None else self._version(hop, memory_id, version)
        return mapping.memory_of(await self._placement.find(context, memory_id, namespace, act))

    async def list(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        filter: str | dict[str, Any] | None = None,
        tags: Sequence[str] = (),
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of a namespace's memories, newest first."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        if not 1 <= limit <= self._limits.results:
            raise InvalidInputError("limit is out of range", limit=limit)
        predicate = filter_of(filter, tags, self._clock.now())
        # Of the filter as it was written: what `now` means in it moves on between pages.
        query = paging.query_digest("list", place, filter, tags, include_deleted)
        page_start = paging.decode_cursor(cursor, query, paging.AfterMemory) if cursor else None
        after = (page_start.at, page_start.id) if page_start else None
        partition = await self._placement.home(context, place)
        request = ListRequest(context.hop(), place, predicate, after, limit + 1, include_deleted)
        cubes = await self._router.call(partition, lambda shard, _: shard.page(partition, request))
        page, more = cubes[:limit], len(cubes) > limit
        following = None
        if more:
            last = page[-1]
            at = to_micros(last.descriptive.created_at)
            following = paging.encode_cursor(query, paging.AfterMemory(at=at, id=last.id))
        return mapping.page_of(page, following)

    async def search(
        self, caller: Caller, query: SearchQuery, branch: BranchView | None = None
    ) -> SearchResult:
        """Finds memories in one or several namespaces, or in a branch of one."""
        context, policy = await self._authenticator.context(caller)
        if query.wait_indexed:
            # It may wait long, and for nothing that others use.
            return await self._search.search(context, policy, query, branch)
        async with self._gate.turn(context.principal.tenant):
            return await self._search.search(context, policy, query, branch)

    async def history(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 50,
    ) -> History:
        """Returns the versions of a memory, newest first."""
        context, _ = await self._authenticator.context(caller)
        query = paging.query_digest("history", memory_id)
        before = 2**62
        if cursor:
            before = paging.decode_cursor(cursor, query, paging.BeforeVersion).before
        hop = context.hop()

        async def versions(partition: int) -> list[VersionInfo]:
            return await self._router.call(
                partition,
                lambda shard, _: shard.versions(partition, hop, memory_id, before, limit + 1),
            )

        found = await self._placement.find(context, memory_id, namespace, versions)
        page, following = found[:limit], None
        if len(found) > limit:
            following = paging.encode_cursor(query, paging.BeforeVersion(before=page[-1].number))
        return History(
            id=memory_id, versions=[mapping.version_of(info) for info in page], cursor=following
        )

    async def diff(
        self,
        caller: Caller,
        memory_id: str,
        before: int,
        after: int,
        namespace: str | None = None,
    ) -> Diff:
        """Compares two versions of a memory."""
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def both(partition: int) -> tuple[MemCube, MemCube]:
            older, newer = (self._version(hop, memory_id, number) for number in (before, after))
            return await asyncio.gather(older(partition), newer(partition))

        return mapping.diff_of(*await self._placement.find(context, memory_id, namespace, both))

    async def revise(
        self,
        caller: Caller,
        namespace: str | None,
        operation: Operation,
        key: str | None,
        reason: str | None,
    ) -> WriteReport:
        """Carries out an operation on a memory that is there."""
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def act(partition: int) -> Written:
            # A retry after a lost answer must not act twice.
            always = key or f"auto:{self._placement.mint(partition)}"
            write = Write(namespace or "", operation, always, reason)
            (outcome,) = await self._lanes.submit(partition, [Submission(hop, write)])
            if isinstance(outcome, MemosError):
                raise outcome
            return outcome

        written = await self._placement.find(context, operation.cube_id, namespace, act)
        return mapping.report_of([written], caller.request_id)

    def _version(
        self, context: CallContext, memory_id: str, number: int
    ) -> Callable[[int], Awaitable[MemCube]]:
        async def act(partition: int) -> MemCube:
            return await self._router.call(
                partition, lambda shard, _: shard.version(partition, context, memory_id, number)
            )

        return act

    def check_size(self, memory: NewMemory) -> None:
        """Sees that a memory is within the limits; raises `PayloadTooLargeError`."""
        self.check_text(memory.text)
        if len(memory.tags) > self._limits.tags:
            raise PayloadTooLargeError("too many tags", limit=self._limits.tags)
        if len(memory.attributes) > self._limits.attributes:
            raise PayloadTooLargeError("too many attributes", limit=self._limits.attributes)

    def check_text(self, text: str) -> None:
        """Sees that a text is within the limit; raises `PayloadTooLargeError`."""
        size = len(text.encode())
        if size > self._limits.text_bytes:
            raise PayloadTooLargeError(
                "the text is too long; ingest it as a document, which cuts it",
                limit=self._limits.text_bytes,
                found=size,
            )
