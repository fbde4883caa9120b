"""Reads memories, versions and log entries for callers who may see them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Everything, Not, OneOf, all_of
from memos_ray.core.vault.log import CubeKey, Event, Outcome
from memos_ray.core.vault.requests import ListRequest
from memos_ray.errors import NotFoundError, PermissionDeniedError
from memos_ray.ports import ClockPort, LogPiece, LogRequest, NamespaceSize, RecordStorePort

_WINDOW, _WINDOWS = 10_000, 4
_ALL = 2**62
_log = logging.getLogger(__name__)
_SLACK = timedelta(minutes=10)
_NOT_DELETED = Not(OneOf("state", (State.DELETED.value,)))


class RecordReader:
    """Everything that a shard reads straight from the record store, judged by policy and counted.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._store = store
        self._guard = guard
        self._usage = usage
        self._clock = clock
        self._executor = executor

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories; see `ShardPort`."""
        seen = await self.peek(partition, context, ids)
        found = [cube for cube in seen if cube is not None]
        namespace = found[0].namespace if found else ""
        self._usage.read(partition, context, "get", namespace, found, self._clock.now())
        return seen

    async def peek(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read, for decisions about them: nobody gets them,
        so that nothing is counted.
        """
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        heads = await self._heads(partition, context, ids)
        seen: list[MemCube | None] = []
        for cube_id in ids:
            head = heads.get(CubeKey(context.principal.tenant, cube_id))
            allowed = (
                head is not None
                and policy.decide(
                    context, Action.READ, facets_of(head), head.namespace, now
                ).allowed
            )
            seen.append(head if allowed else None)
        return seen

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns a page of a namespace; see `ShardPort`."""
        context = request.context
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, request.namespace, now)
        alive = Everything() if request.include_deleted else _NOT_DELETED
        cubes: list[MemCube] = await self._ask(
            self._store.scan,
            partition,
            context.principal.tenant,
            request.namespace,
            all_of(visible, request.predicate, alive),
            request.after,
            request.limit,
            _left_out,
        )
        self._usage.read(partition, context, "list", request.namespace, cubes, now)
        return cubes

    async def size(self, partition: int, context: CallContext, namespace: str) -> NamespaceSize:
        """Returns how much a namespace holds; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        policy.require_namespace(context, Action.ADMINISTER, namespace, now)
        if not policy.may_administer(context, namespace, now):
            # What may be read of it tells nothing of the rest.
            raise PermissionDeniedError(
                "only administrators of a namespace see how much it holds", namespace=namespace
            )
        tenant = context.principal.tenant
        found: NamespaceSize = await self._ask(self._store.size, partition, tenant, namespace)
        self._usage.read(partition, context, "size", namespace, [], now)
        return found

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns version records; see `ShardPort`."""
        head = await self._readable(partition, context, cube_id)
        key = CubeKey(head.tenant, head.id)
        # What came after the decision may be hidden again.
        newest = min(before, head.version.number + 1)
        found: list[VersionInfo] = await self._ask(
            self._store.versions, partition, key, newest, limit
        )
        return found

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version; see `ShardPort`."""
        head = await self._readable(partition, context, cube_id)
        key = CubeKey(head.tenant, head.id)
        found: MemCube | None = None
        if number <= head.version.number:
            found = await self._ask(self._store.version, partition, key, number)
        if found is None:
            raise NotFoundError("no such version", cube_id=cube_id, version=number)
        now = self._clock.now()
        self._usage.read(partition, context, "version", head.namespace, [found], now)
        return found

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries of the caller's tenant; see `ShardPort`.

        Who does not administer it gets the own ones, without those that would give away what the
        refusals that they record have hidden. Nobody gets those of a role that is not in use.
        """
        context, query = request.context, request.query
        policy = await self._guard.ensure_for(context)
        query = replace(query, tenant=context.principal.tenant)

        def in_role(event: Event) -> bool:
            # An answer may have been given memories of other namespaces than its own.
            named = (event.namespace, str(event.detail.get("namespace", "")))
            return not any(policy.out_of_role(context, one) for one in named)

        if policy.may_administer(context, "", self._clock.now()):
            return await self._walk(partition, replace(request, query=query), in_role)
        if query.principal not in (None, context.principal.id):
            raise PermissionDeniedError("only administrators read others' log entries")
        query = replace(query, principal=context.principal.id)
        return await self._walk(
            partition,
            replace(request, query=query),
            lambda event: in_role(event) and not _tells_of_the_hidden(event),
        )

    async def _walk(
        self, partition: int, request: LogRequest, may_see: Callable[[Event], bool]
    ) -> LogPiece:
        """Walks along a log, window by window: no query looks at all of it in one call."""
        query, position = request.query, request.after
        read = self._store.accesses if request.reads else self._store.events
        if query.since is not None:
            # Clocks may have gone back a little, and reads are written out late.
            begin = query.since - _SLACK
            start = partial(self._store.log_position, partition, begin, reads=request.reads)
            position = max(position, await self._ask(start))
        shown: list[Event] = []
        for _ in range(_WINDOWS):
            end = _ALL if _is_selective(request) else position + _WINDOW
            wanted = request.limit - len(shown)
            page: list[Event] = await self._ask(
                read, partition, position, wanted, replace(query, through=end)
            )
            shown += filter(may_see, page)
            if len(page) == wanted:
                position = page[-1].lsn
            elif end == _ALL or not await self._ask(read, partition, end, 1):
                return LogPiece(tuple(shown), None)
            else:
                position = end
            if len(shown) >= request.limit:
                break
        return LogPiece(tuple(shown), position)

    async def _readable(self, partition: int, context: CallContext, cube_id: str) -> MemCube:
        policy = await self._guard.ensure_for(context)
        heads = await self._heads(partition, context, [cube_id])
        head = heads.get(CubeKey(context.principal.tenant, cube_id))
        if head is None:
            raise no_memory()
        policy.require(context, Action.READ, facets_of(head), head.namespace, self._clock.now())
        return head

    async def _heads(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> dict[CubeKey, MemCube]:
        keys = [CubeKey(context.principal.tenant, cube_id) for cube_id in ids]
        heads: dict[CubeKey, MemCube] = await self._ask(self._store.heads, partition, keys)
        return heads

    async def _ask(self, method: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)


def _left_out(key: CubeKey) -> None:
    _log.error("a memory of a list cannot be read, and is left out")


def _is_selective(request: LogRequest) -> bool:
    """Whether an index finds the few entries that there can be."""
    query = request.query
    of_one = query.cube_id is not None and not request.reads
    return of_one or (query.request_id is not None and request.reads)


def _tells_of_the_hidden(event: Event) -> bool:
    """Whether an entry shows its caller that there is a memory where "not found" was the answer.

    The entry names the namespace of a memory that is hidden from the caller; for one that does not
    exist it could not.
    """
    return event.outcome is Outcome.DENIED and event.detail.get("code") == NotFoundError.code
