"""BranchService: what-if branches of a namespace, for all doors."""

from __future__ import annotations

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.lifecycle.branches import BranchPage
from memos_ray.core.vault.operations import Delete, Operation, Restore, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import InvalidInputError, MemosError
from memos_ray.gateway import paging
from memos_ray.gateway.branches.models import (
    BranchDiff,
    BranchList,
    BranchRecord,
    MergeReport,
    MergeWish,
    NewBranch,
)
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
)
from memos_ray.gateway.memories.searching import filter_of
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.past.models import MemoryDifference
from memos_ray.gateway.past.service import PastService
from memos_ray.gateway.personas.defaults import as_persona_remembers
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort


class BranchService:
    """The verbs of branches; errors are those of `MemoryService`.

    A branch is read and written like its namespace, and leaves that as it is until it is merged.
    """

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        memories: MemoryService,
        past: PastService,
        clock: ClockPort,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._memories = memories
        self._past = past
        self._placement = Placement(router, clock)
        self._clock = clock

    async def create(self, caller: Caller, new: NewBranch) -> BranchRecord:
        """Makes a branch; it costs nothing, for only changes are stored.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        context, place, partition = await self._place(caller, new.namespace)
        at = None if new.at is None else await self._past.moment(caller, new.namespace, new.at)
        made = await self._router.call(
            partition,
            lambda shard, _: shard.create_branch(
                partition, context, place, new.name, at, new.reason
            ),
        )
        return BranchRecord.of(made)

    async def list(self, caller: Caller, namespace: str | None = None) -> BranchList:
        """Lists the branches of a namespace."""
        context, place, partition = await self._place(caller, namespace)
        found = await self._router.call(
            partition, lambda shard, _: shard.branches(partition, context, place)
        )
        return BranchList(branches=[BranchRecord.of(one) for one in found])

    async def diff(self, caller: Caller, name: str, namespace: str | None = None) -> BranchDiff:
        """Compares a branch with the moment that it was made of."""
        context, place, partition = await self._place(caller, namespace)
        view = await self._router.call(
            partition, lambda shard, _: shard.branch_view(partition, context, place, name)
        )
        found = await self._router.call(
            partition, lambda shard, _: shard.branch_differences(partition, context, place, name)
        )
        return BranchDiff(
            branch=BranchRecord.of(view.branch),
            memories=[
                MemoryDifference(id=one.id, kind=one.kind, before=one.before, after=one.after)
                for one in found
            ],
        )

    async def merge(
        self, caller: Caller, name: str, wish: MergeWish, namespace: str | None = None
    ) -> MergeReport:
        """Brings all changes of a branch into its namespace and ends it, or nothing of them."""
        context, place, partition = await self._place(caller, namespace)
        done = await self._router.call(
            partition,
            lambda shard, _: shard.merge_branch(partition, context, place, name, wish.reason),
        )
        return MergeReport.of(done)

    async def discard(
        self, caller: Caller, name: str, namespace: str | None = None
    ) -> BranchRecord:
        """Ends a branch and erases what it holds; for its author, and who administers."""
        context, place, partition = await self._place(caller, namespace)
        gone = await self._router.call(
            partition, lambda shard, _: shard.discard_branch(partition, context, place, name)
        )
        return BranchRecord.of(gone)

    async def add(
        self, caller: Caller, name: str, memory: NewMemory, namespace: str | None = None
    ) -> WriteReport:
        """Stores a memory in a branch.

        Raises:
            InvalidInputError: a model is to read it, or it is under legal hold.
        """
        if memory.extract:
            raise InvalidInputError("what a branch holds is not read by a model", field="extract")
        context, policy = await self._authenticator.context(caller)
        _, place, partition = await self._place(caller, namespace)
        memory = as_persona_remembers(memory, policy.persona(context), place)
        self._memories.check_size(memory)
        operation = mapping.create_of(memory, self._placement.mint(partition))
        key, reason = memory.idempotency_key, memory.reason
        return await self._write(caller, namespace, name, operation, key, reason)

    async def update(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        change: MemoryChange,
        namespace: str | None = None,
    ) -> WriteReport:
        """Changes a memory in a branch."""
        if change.text is not None:
            self._memories.check_text(change.text)
        operation = mapping.update_of(memory_id, change)
        key, reason = change.idempotency_key, change.reason
        return await self._write(caller, namespace, name, operation, key, reason)

    async def delete(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Deletes a memory in a branch, so that `restore` undoes it."""
        operation, key = Delete(memory_id), idempotency_key
        return await self._write(caller, namespace, name, operation, key, reason)

    async def restore(
        self,
        caller: Caller,
        name: str,
        memory_id: str,
        namespace: str | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteReport:
        """Undoes the deletion of a memory in a branch."""
        operation, key = Restore(memory_id), idempotency_key
        return await self._write(caller, namespace, name, operation, key, reason)

    async def get(
        self, caller: Caller, name: str, memory_id: str, namespace: str | None = None
    ) -> Memory:
        """Returns a memory as a branch shows it."""
        context, place, partition = await self._place(caller, namespace)
        cube = await self._router.call(
            partition,
            lambda shard, _: shard.branch_get(partition, context, place, name, memory_id),
        )
        return mapping.memory_of(cube)

    async def memories(
        self,
        caller: Caller,
        name: str,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of what a branch shows, newest first."""
        context, place, partition = await self._place(caller, namespace)
        query = paging.query_digest("branch", place, name, filter)
        after = paging.decode_cursor(cursor, query, paging.AfterMemory) if cursor else None
        request = BranchPage(
            context,
            place,
            name,
            filter_of(filter, (), self._clock.now()),
            (after.at, after.id) if after else None,
            limit + 1,
        )
        cubes = await self._router.call(
            partition, lambda shard, _: shard.branch_page(partition, request)
        )
        following = None
        if len(cubes) > limit:
            last = cubes[limit - 1]
            at = to_micros(last.descriptive.created_at)
            following = paging.encode_cursor(query, paging.AfterMemory(at=at, id=last.id))
        return mapping.page_of(cubes[:limit], following)

    async def search(
        self, caller: Caller, name: str, query: SearchQuery, namespace: str | None = None
    ) -> SearchResult:
        """Finds memories in a branch.

        Raises:
            InvalidInputError: the query names namespaces, a moment, or wants a way planned.
        """
        stated = (("as_of", query.as_of), ("namespaces", query.namespaces), ("route", query.route))
        for field, value in stated:
            if value:
                raise InvalidInputError("a branch is searched as it is", field=field)
        context, place, partition = await self._place(caller, namespace)
        view = await self._router.call(
            partition, lambda shard, _: shard.branch_view(partition, context, place, name)
        )
        return await self._memories.search(caller, query, view)

    async def _place(self, caller: Caller, namespace: str | None) -> tuple[CallContext, str, int]:
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        return context.hop(), place, await self._placement.home(context, place)

    async def _write(
        self,
        caller: Caller,
        namespace: str | None,
        name: str,
        operation: Operation,
        key: str | None,
        reason: str | None,
    ) -> WriteReport:
        context, place, partition = await self._place(caller, namespace)
        # A retry after a lost answer must not act twice.
        always = key or f"auto:{self._placement.mint(partition)}"
        submission = Submission(context, Write(place, operation, always, reason))
        (outcome,) = await self._router.call(
            partition, lambda shard, _: shard.branch_write(partition, place, name, [submission])
        )
        if isinstance(outcome, MemosError):
            raise outcome
        return mapping.report_of([outcome], caller.request_id)
