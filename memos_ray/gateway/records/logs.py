"""LogService: what is on record in the logs of namespaces, or of the whole tenant."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from memos_ray.core.vault.log import Event
from memos_ray.gateway import paging
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.record_models import LogFilter, LogPage
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, LogPiece, LogRequest


class LogService:
    """Reads logs: own entries for everybody, all of the tenant's for its administrators."""

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)

    async def log(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        wanted: LogFilter | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> LogPage:
        """Returns a page of the log of changes and decisions, or of that of reads and answers.

        A page may hold less than `limit`, even nothing, and still have a cursor: a call looks at a
        bounded number of entries.

        Args:
            namespace: the caller's own home when absent, unless all of the tenant is wanted.
        """
        wanted = wanted or LogFilter()
        context, _ = await self._authenticator.context(caller)
        place = None if wanted.everywhere else namespace or context.home
        digest = paging.query_digest("log", place, wanted.model_dump(mode="json"))
        positions: dict[int, int] = {}
        if cursor:
            positions = paging.decode_cursor(cursor, digest, paging.AfterEntries).positions
        query = wanted.query(place)
        if place is None:
            ring = await self._router.ring()
            partitions = list(range(len(ring.owners)))
        else:
            partitions = [await self._placement.home(context, place)]
        if wanted.response is not None:
            # The id says which partition has the answer, and its entries say the rest.
            named = await self._placement.named(wanted.response)
            partitions = partitions if named is None else [named]
            query = replace(query, namespace=None)
        hop = context.hop()

        async def ask(partition: int) -> LogPiece:
            after = positions.get(partition, 0)
            request = LogRequest(hop, query, wanted.of_reads, after, limit + 1)
            return await self._router.call(
                partition, lambda shard, _: shard.log(partition, request)
            )

        pieces = await asyncio.gather(*(ask(partition) for partition in partitions))
        return _page(dict(zip(partitions, pieces, strict=True)), positions, digest, limit)


def _page(
    pieces: dict[int, LogPiece], positions: dict[int, int], digest: str, limit: int
) -> LogPage:
    """Makes one page of what partitions have found: the oldest first."""
    found: list[tuple[Event, int]] = [
        (event, partition) for partition, piece in pieces.items() for event in piece.entries
    ]
    found.sort(key=lambda one: (one[0].at, one[1], one[0].lsn))
    # In each partition a page ends where its own order does, though clocks may differ.
    taken: dict[int, list[Event]] = {}
    for event, partition in found[:limit]:
        taken.setdefault(partition, []).append(event)
    following = dict(positions)
    more = False
    for partition, piece in pieces.items():
        number = len(taken.get(partition, []))
        if number < len(piece.entries):
            more = True
            if number:
                following[partition] = piece.entries[number - 1].lsn
        elif piece.after is not None:
            more = True
            following[partition] = piece.after
        elif number:
            following[partition] = piece.entries[-1].lsn
    entries = [
        (event, partition)
        for partition in pieces
        for event in pieces[partition].entries[: len(taken.get(partition, []))]
    ]
    entries.sort(key=lambda one: (one[0].at, one[1], one[0].lsn))
    cursor = None
    if more:
        cursor = paging.encode_cursor(digest, paging.AfterEntries.of(following))
    return LogPage(
        entries=[mapping.log_entry_of(event, partition) for event, partition in entries],
        cursor=cursor,
    )
