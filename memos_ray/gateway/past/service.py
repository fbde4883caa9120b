"""PastService: snapshots, looks at earlier moments, and the way back, for all doors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.lifecycle.past import PastPage, Returned
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.gateway import paging
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.models import Memory, MemoryPage
from memos_ray.gateway.memories.record_models import History
from memos_ray.gateway.memories.searching import filter_of
from memos_ray.gateway.past.models import (
    GoBack,
    MemoryDifference,
    NamespaceDiff,
    NewSnapshot,
    SnapshotList,
    SnapshotRecord,
    WentBack,
)
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort

_PIECE = 256
_VERSIONS = 1000


class PastService:
    """The verbs of the past; errors are those of `MemoryService`.

    A moment is given as a time with its offset from UTC, or as the name of a snapshot.
    """

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)
        self._clock = clock

    async def take(self, caller: Caller, new: NewSnapshot) -> SnapshotRecord:
        """Names this moment of a namespace.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        hop, place, partition = await self._place(caller, new.namespace)
        made = await self._router.call(
            partition,
            lambda shard, _: shard.take_snapshot(partition, hop, place, new.name, new.reason),
        )
        return SnapshotRecord.of(made)

    async def snapshots(self, caller: Caller, namespace: str | None = None) -> SnapshotList:
        """Lists the snapshots of a namespace."""
        hop, place, partition = await self._place(caller, namespace)
        found = await self._router.call(
            partition, lambda shard, _: shard.snapshots(partition, hop, place)
        )
        return SnapshotList(snapshots=[SnapshotRecord.of(one) for one in found])

    async def forget(
        self, caller: Caller, name: str, namespace: str | None = None
    ) -> SnapshotRecord:
        """Forgets a snapshot; nothing else changes.

        Raises:
            NotFoundError: there is none of this name.
        """
        hop, place, partition = await self._place(caller, namespace)
        gone = await self._router.call(
            partition, lambda shard, _: shard.forget_snapshot(partition, hop, place, name)
        )
        return SnapshotRecord.of(gone)

    async def get(
        self, caller: Caller, memory_id: str, at: str, namespace: str | None = None
    ) -> Memory:
        """Returns a memory as it was."""
        moment = await self.moment(caller, namespace, at)
        return mapping.memory_of(await self._then(caller, memory_id, moment, namespace))

    async def history(
        self, caller: Caller, memory_id: str, at: str, namespace: str | None = None
    ) -> History:
        """Returns the newest thousand versions that a memory had at a moment."""
        moment = await self.moment(caller, namespace, at)
        then = await self._then(caller, memory_id, moment, namespace)
        context, _ = await self._authenticator.context(caller)
        hop, before = context.hop(), then.version.number + 1

        async def act(partition: int) -> Any:
            return await self._router.call(
                partition,
                lambda shard, _: shard.versions(partition, hop, memory_id, before, _VERSIONS),
            )

        found = await self._placement.find(context, memory_id, namespace, act)
        return History(id=memory_id, versions=[mapping.version_of(info) for info in found])

    async def list(
        self,
        caller: Caller,
        at: str,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Returns one page of a namespace as it was, newest first."""
        hop, place, partition = await self._place(caller, namespace)
        moment = await self.moment(caller, namespace, at)
        query = paging.query_digest("past", place, moment, filter)
        request = PastPage(
            hop,
            place,
            moment,
            predicate=filter_of(filter, (), moment),
            after=_after(cursor, query),
            limit=limit + 1,
        )
        cubes = await self._router.call(
            partition, lambda shard, _: shard.past_page(partition, request)
        )
        following = None
        if len(cubes) > limit:
            last = cubes[limit - 1]
            following = _cursor((to_micros(last.descriptive.created_at), last.id), query)
        return mapping.page_of(cubes[:limit], following)

    async def diff(
        self,
        caller: Caller,
        since: str,
        until: str | None = None,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> NamespaceDiff:
        """Compares two moments of a namespace; the later one is now when absent.

        A page may hold fewer memories than `limit` and be followed by others.
        """
        hop, place, partition = await self._place(caller, namespace)
        first = await self.moment(caller, namespace, since)
        query = paging.query_digest("past-diff", place, first, until)
        last = self._clock.now() if until is None else await self.moment(caller, namespace, until)
        if last < first:
            raise InvalidInputError("the earlier moment comes first", field="since")
        request = PastPage(hop, place, last, first, after=_after(cursor, query), limit=limit)
        found = await self._router.call(
            partition, lambda shard, _: shard.past_differences(partition, request)
        )
        memories = [
            MemoryDifference(id=one.id, kind=one.kind, before=one.before, after=one.after)
            for one in found.found
        ]
        following = None if found.after is None else _cursor(found.after, query)
        return NamespaceDiff(since=first, until=last, memories=memories, cursor=following)

    async def go_back(self, caller: Caller, wanted: GoBack) -> WentBack:
        """Takes a namespace back to a moment, memory by memory, each by a version of its own.

        What fails half-way is done by asking again: what is back already stays as it is. Rules stay
        those of today.
        """
        hop, place, partition = await self._place(caller, wanted.namespace)
        moment = await self.moment(caller, wanted.namespace, wanted.to)
        reason = wanted.reason or f"back to {wanted.to}"
        counts, refused = Counter[str](), dict[str, str]()
        after: tuple[int, str] | None = None
        while True:
            request = PastPage(hop, place, moment, after=after, limit=_PIECE, reason=reason)
            done = await self._piece(partition, request)
            counts.update(changed=done.changed, restored=done.restored, deleted=done.deleted)
            refused.update(done.refused)
            after = done.after
            if after is None:
                return WentBack(at=moment, refused=refused, **counts)

    async def _piece(self, partition: int, request: PastPage) -> Returned:
        return await self._router.call(
            partition, lambda shard, _: shard.go_back(partition, request)
        )

    async def _place(self, caller: Caller, namespace: str | None) -> tuple[CallContext, str, int]:
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        return context.hop(), place, await self._placement.home(context, place)

    async def _then(
        self, caller: Caller, memory_id: str, at: datetime, namespace: str | None
    ) -> MemCube:
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def act(partition: int) -> MemCube:
            return await self._router.call(
                partition, lambda shard, _: shard.past_get(partition, hop, memory_id, at)
            )

        return await self._placement.find(context, memory_id, namespace, act)

    async def moment(self, caller: Caller, namespace: str | None, at: str) -> datetime:
        """Returns what a time or the name of a snapshot stands for.

        Raises:
            InvalidInputError: it is neither.
            NotFoundError: there is no such snapshot.
        """
        if not at[:1].isalpha():
            try:
                found = datetime.fromisoformat(at)
            except ValueError:
                raise InvalidInputError("this is no moment and no snapshot", field="at") from None
            if found.tzinfo is None:
                raise InvalidInputError("a time needs its offset from UTC", field="at")
            return found.astimezone(UTC)
        for one in (await self.snapshots(caller, namespace)).snapshots:
            if one.name == at:
                return one.at
        raise NotFoundError("there is no such snapshot", name=at)


def _after(cursor: str | None, query: str) -> tuple[int, str] | None:
    if cursor is None:
        return None
    place = paging.decode_cursor(cursor, query, paging.AfterMemory)
    return place.at, place.id


def _cursor(place: tuple[int, str], query: str) -> str:
    return paging.encode_cursor(query, paging.AfterMemory(at=place[0], id=place[1]))
