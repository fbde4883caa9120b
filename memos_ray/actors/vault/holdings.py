"""The partitions that a shard holds: taken over, looked up, given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor

from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.core.vault.requests import Follower
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import NotOwnerError
from memos_ray.ports import RecordStorePort

_log = logging.getLogger(__name__)


class Holdings:
    """Which partitions are served here, and under which epochs.

        unheld ──own──▶ held ──disown──▶ unheld        a newer owner's fence ends `held` as well

    Nothing that matters lives here only: a new incarnation takes, at its first look-up, what the
    stored ring gives it, under epochs above the last ones, and the old one, if it still runs
    somewhere, can no longer commit.

    Args:
        open: starts serving a partition under an epoch.
        settle: writes out what has gathered for a partition that is about to be given up.
    """

    def __init__(
        self,
        name: str,
        *,
        store: RecordStorePort,
        ring: Callable[[], Ring],
        open: Callable[[int, int], OwnedPartition],
        settle: Callable[[OwnedPartition], Awaitable[None]],
        executor: Executor,
    ) -> None:
        self._name = name
        self._store = store
        self._ring = ring
        self._open = open
        self._settle = settle
        self._executor = executor
        self._held: dict[int, OwnedPartition] = {}
        self._releasing: dict[int, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()
        self._recovered = False

    def __iter__(self) -> Iterator[OwnedPartition]:
        return iter(list(self._held.values()))

    def followers(self) -> dict[str, Follower]:
        """Sums up what follows the logs of all partitions, by name."""
        found: dict[str, Follower] = {}
        for held in self:
            for feed in held.feeds:
                one = Follower(feed.behind_s, feed.aside, feed.stalled_by)
                found[feed.name] = found[feed.name].and_of(one) if feed.name in found else one
        return found

    async def of(self, partition: int) -> OwnedPartition:
        """Returns a partition that is held.

        Raises:
            NotOwnerError: it is not; the caller's ring is old.
        """
        if not self._recovered:
            await self.own(self._ring().owned_by(self._name))
        held = self._held.get(partition)
        if held is None:
            raise NotOwnerError("this shard does not own the partition", partition=partition)
        return held

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over, each under an epoch above its last one; those held stay."""
        async with self._changing:
            self._recovered = True
            for partition in partitions:
                if partition in self._releasing:
                    # What it leaves behind is shared: it would forget what is opened now.
                    await asyncio.wait([self._releasing[partition]])
                if partition not in self._held:
                    self._held[partition] = self._open(partition, await self._take(partition))

    async def disown(self, partitions: Sequence[int]) -> None:
        """Finishes the writes that wait and gives partitions up."""
        async with self._changing:
            for partition in partitions:
                if partition in self._held:
                    await self._settle(self._held[partition])
                    await self._release(partition)

    async def give_up(self) -> None:
        """Gives everything up."""
        await self.disown(list(self._held))
        if self._releasing:
            await asyncio.wait(list(self._releasing.values()))

    def fenced(self, partition: int) -> None:
        """Lets go of a partition that a newer owner holds."""
        held = self._held.pop(partition, None)
        if held is None:
            return
        _log.warning("a newer owner holds partition %d; it is given up here", partition)
        task = self._releasing[partition] = asyncio.create_task(self._leave(held))
        task.add_done_callback(lambda _: self._releasing.pop(partition))

    async def _leave(self, held: OwnedPartition) -> None:
        try:
            # The newer owner does not know what was read here.
            await self._settle(held)
        finally:
            await held.close()

    async def _take(self, partition: int) -> int:
        def take() -> int:
            epoch = self._store.fence(partition).epoch + 1
            self._store.take(partition, self._name, epoch)
            return epoch

        return await asyncio.get_running_loop().run_in_executor(self._executor, take)

    async def _release(self, partition: int) -> None:
        held = self._held.pop(partition, None)
        if held is not None:
            await held.close()
