"""Supervisor: starts the actors, keeps the ring, and mends what falls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from memos_ray.actors.ring_store import RingStore, StoredRing
from memos_ray.config import VaultSettings
from memos_ray.core.vault.requests import ShardStatus
from memos_ray.core.vault.ring import Ring, rebalance
from memos_ray.errors import MemosError
from memos_ray.ports import ControlStorePort, CrewPort

_log = logging.getLogger(__name__)

SHARD_PREFIX = "shard-"
_RECONCILE_S = 1.0
_STATUS_TIMEOUT_S = 10.0


def shard_names(count: int) -> tuple[str, ...]:
    """Returns the names of the first `count` shards."""
    return tuple(f"{SHARD_PREFIX}{number}" for number in range(count))


class Supervisor:
    """Keeps every partition owned by a living shard.

        stored ring ──▶ old owners give up ──▶ new owners take over ──▶ idle shards are ended

    The ring is stored before any shard hears of it, so that a supervisor killed on any line leaves
    either the old ring or the new one, and its successor finishes the move: reconciling compares
    what each shard says it owns with what the ring gives it, and asks for the difference.

    Concurrency: one move or repair at a time; each part is mended on its own, so that one that
    cannot be mended keeps no other from it.

    Args:
        pause: waits between two looks.
    """

    def __init__(
        self,
        control: ControlStorePort,
        crew: CrewPort,
        settings: VaultSettings,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = RingStore(control)
        self._crew = crew
        self._settings = settings
        self._pause = pause
        self._ring: Ring | None = None
        self._seen: dict[str, ShardStatus | None] = {}
        self._loop: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._moving = asyncio.Lock()
        # Shards of an earlier ring may still run: of this supervisor's, or of one that was killed.
        self._tidy = False

    async def boot(self) -> Ring:
        """Starts everything and returns the ring once every partition is served.

        The ring follows the settings' number of shards when that is new; until then, a number that
        was chosen by `scale` holds.

        Raises:
            ConfigurationError: the data was created with another number of partitions.
            UnavailableError: an actor does not come up.
        """
        async with self._moving:
            stored, names = await self._open(), shard_names(self._settings.shards)
            await self._crew.start_governance()
            if stored.configured != len(names):
                return await self._move(names, len(names))
            await self._serve_all(stored.ring)
            return stored.ring

    async def ring(self) -> Ring:
        """Returns the newest ring.

        A supervisor that was killed and has been started again reads it from the store and mends
        what has to be mended beside this: who asks may know where everything belongs meanwhile.
        """
        ring = self._ring
        if ring is None:
            stored = await self._open()
            ring = stored.ring
            if stored.configured != self._settings.shards:
                ring = await self.boot()
        return ring

    async def scale(self, shards: int) -> Ring:
        """Changes the number of shards, moving as few partitions as balance allows.

        Raises:
            InvalidInputError: none, or more than there are partitions.
        """
        await self.ring()
        async with self._moving:
            ring = await self._move(shard_names(shards), None)
            await self._end_idle(ring)
        return ring

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what each shard last said of itself; nothing for one that does not answer."""
        ring = await self.ring()
        names = sorted(set(ring.owners))
        await asyncio.gather(*(self._look(name) for name in names))
        return {name: self._seen.get(name) for name in names}

    async def close(self) -> None:
        """Stops reconciling; the actors go on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def _open(self) -> StoredRing:
        """Reads the ring, and begins to look after it."""
        names, partitions = shard_names(self._settings.shards), self._settings.partitions
        async with self._opening:
            stored = await asyncio.to_thread(self._store.load_or_build, names, partitions)
            self._know(stored.ring)
            if self._loop is None:
                self._loop = asyncio.create_task(self._reconcile_forever())
        return stored

    def _know(self, ring: Ring) -> None:
        if self._ring is None or ring.version > self._ring.version:
            self._ring = ring

    async def _move(self, names: Sequence[str], configured: int | None) -> Ring:
        """Stores a new ring, then has the old owners give up and the new ones take over.

        Args:
            configured: what the settings ask for, if that is why; else what they asked for stays.
        """
        self._tidy = False

        def replace() -> tuple[Ring, Ring]:
            stored = self._store.load()
            target = stored.ring
            if set(target.owners) != set(names):
                target = rebalance(target, names)
            follows = stored.configured if configured is None else configured
            self._store.store(target, follows, stored.revision)
            return stored.ring, target

        before, target = await asyncio.to_thread(replace)
        self._know(target)
        leavers = sorted(set(before.owners) - {""})
        await asyncio.gather(*(self._disown(name, before, target) for name in leavers))
        await self._serve_all(target)
        return target

    async def _disown(self, name: str, before: Ring, target: Ring) -> None:
        leaving = set(before.owned_by(name)) - set(target.owned_by(name))
        if leaving:
            try:
                await self._crew.shard(name).disown(sorted(leaving))
            except MemosError as error:
                # The new owner's epoch fences it off, whether it has heard or not.
                _log.warning("%s did not give up its partitions: %s", name, error.code)

    async def _serve_all(self, ring: Ring) -> None:
        await asyncio.gather(*(self._serve(name, ring) for name in sorted(set(ring.owners))))

    async def _serve(self, name: str, ring: Ring) -> None:
        await self._crew.start_shard(name)
        await self._crew.shard(name).own(ring.owned_by(name))
        await self._look(name)

    async def _end_idle(self, ring: Ring) -> None:
        """Ends the shards that own nothing any more."""
        if not self._tidy:
            for name in sorted(set(await self._crew.running_shards()) - set(ring.owners)):
                await self._crew.stop_shard(name)
                self._seen.pop(name, None)
            self._tidy = True

    async def _look(self, name: str) -> ShardStatus | None:
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT_S):
                self._seen[name] = await self._crew.shard(name).status()
        except (MemosError, TimeoutError):
            self._seen[name] = None
        return self._seen[name]

    async def _reconcile_forever(self) -> None:
        while True:
            if not self._moving.locked():
                async with self._moving:
                    await self._reconcile()
            await self._pause(_RECONCILE_S)

    async def _reconcile(self) -> None:
        # Another incarnation may have moved something: the store knows.
        await _tried("the ring", self._reload())
        ring = self._ring
        if ring is None:
            return
        mending = [_tried("governance", self._crew.start_governance())]
        mending += [_tried(name, self._mend(name, ring)) for name in sorted(set(ring.owners))]
        await asyncio.gather(*mending)
        await _tried("idle shards", self._end_idle(ring))

    async def _reload(self) -> None:
        self._know((await asyncio.to_thread(self._store.load)).ring)

    async def _mend(self, name: str, ring: Ring) -> None:
        status, wanted = await self._look(name), set(ring.owned_by(name))
        held = set() if status is None else set(status.partitions)
        if surplus := held - wanted:
            await self._crew.shard(name).disown(sorted(surplus))
        if status is None or wanted - held:
            await self._serve(name, ring)


async def _tried(part: str, mending: Coroutine[object, object, None]) -> None:
    """Mends one part; what goes wrong is said, and tried again with the next look."""
    try:
        await mending
    except MemosError as error:
        _log.warning("%s could not be mended: %s", part, error.code)
    except Exception:
        _log.exception("%s could not be mended", part)
