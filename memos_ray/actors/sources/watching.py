"""Compares what is stored behind trusted sources with what these say, behind the log."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.sources.book import SourceBook
from memos_ray.actors.sources.comparing import SourceComparing
from memos_ray.actors.vault.embedding import touched_keys
from memos_ray.actors.vault.residency import Place
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.ports import RecordStorePort

_AT_ONCE = 16
_log = logging.getLogger(__name__)


class SourceWatch:
    """Finds what contradicts a source although it was stored, or changed, after it.

    A partition without sources costs one look at its book. What comes while a source is being
    added is met by one of the two: by the source, which is compared with all that is held once its
    sections are known; or here, where they are known by then.

    Bounded: a memory is compared with at most some sixty sections that share its words. A finding
    is made once, whatever is consumed again after a crash.

    Concurrency: runs on the actor's event loop; texts are compared on `executor`.
    """

    def __init__(
        self,
        book: SourceBook,
        comparing: SourceComparing,
        *,
        store: RecordStorePort,
        executor: Executor,
        counters: Counter[str],
    ) -> None:
        self._book = book
        self._comparing = comparing
        self._store = store
        self._executor = executor
        self._counters = counters

    async def look(
        self, partition: int, epoch: int, events: Sequence[Event], courtesy: Courtesy
    ) -> None:
        """Compares what log entries speak of, as it is now; forgets findings about the erased.

        Raises:
            FencedError: another owner has the partition.
            StoreError: when the store cannot be read or written.
        """
        named = {(event.tenant, event.namespace) for event in events}
        places = [Place(partition, *one) for one in sorted(named)]
        if not any([await self._book.newest(place, epoch) for place in places]):
            return
        keys = touched_keys(events)
        for start in range(0, len(keys), _AT_ONCE):
            heads: dict[CubeKey, MemCube] = await self._run(
                self._store.heads, partition, keys[start : start + _AT_ONCE]
            )
            # As behind the commit, should that have been cut off, or a finding have come after it.
            gone = [key for key in keys[start : start + _AT_ONCE] if key not in heads]
            if gone:
                await self._book.forget_about(partition, epoch, gone)
            for cube in heads.values():
                await self._compare(Place(partition, cube.tenant, cube.namespace), epoch, cube)
                await asyncio.sleep(0)
            await courtesy.turn()

    async def _compare(self, place: Place, epoch: int, cube: MemCube) -> None:
        found = await self._comparing.later(place, epoch, cube)
        if found is None:
            return
        self._counters["source_memories_compared"] += 1
        for finding in found:
            if await self._book.add(place, epoch, finding):
                self._counters["source_findings"] += 1
                _log.info(
                    "sources: finding %s: a later memory contradicts %s", finding.id, finding.source
                )

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
