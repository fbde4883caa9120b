"""Supervisor: starts the actors, keeps the ring, and mends what falls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import orjson

from memos_ray.actors.pipelines.journal import runs_left
from memos_ray.config import VaultSettings
from memos_ray.core.defects import describe_defect
from memos_ray.core.vault.log import ControlChange
from memos_ray.core.vault.requests import ShardStatus
from memos_ray.core.vault.ring import Ring, build, rebalance
from memos_ray.errors import ConfigurationError, MemosError, UnavailableError
from memos_ray.ports import ControlStorePort, CrewPort

_log = logging.getLogger(__name__)

CLUSTER = ""
_KIND = "ring"
_RECONCILE_S = 1.0
_STATUS_TIMEOUT_S = 10.0


def shard_names(count: int) -> tuple[str, ...]:
    """Returns the names of the first `count` shards."""
    return tuple(f"shard-{number}" for number in range(count))


def load_ring(control: ControlStorePort) -> Ring:
    """Reads the ring as last stored.

    Raises:
        UnavailableError: the cluster has not been booted yet.
    """
    record = control.get(CLUSTER, _KIND, _KIND)
    if record is None:
        raise UnavailableError("the cluster has no ring yet")
    body = orjson.loads(record.body)
    return Ring(body["version"], tuple(body["owners"]))


class Supervisor:
    """Keeps every partition owned by a living shard.

    The ring is stored before any shard hears of it, so that a supervisor killed on any line leaves
    either the old ring or the new one, and its successor finishes the move: reconciling compares
    what each shard says it owns with what the ring gives it, and asks for the difference.
    """

    def __init__(self, control: ControlStorePort, crew: CrewPort, settings: VaultSettings) -> None:
        self._control = control
        self._crew = crew
        self._settings = settings
        self._ring: Ring | None = None
        self._seen: dict[str, ShardStatus | None] = {}
        self._loop: asyncio.Task[None] | None = None
        self._moving = asyncio.Lock()
        self._booting = asyncio.Lock()
        self._booted = False
        self._pipelines: bool | None = None
        # Whether shards may run that own nothing: unknown at first.
        self._strays = True

    async def boot(self) -> Ring:
        """Starts everything and returns the ring once every partition is served.

        Raises:
            ConfigurationError: the data was created with another number of partitions.
            DatabaseInUseError: another cluster runs on the data.
            UnavailableError: an actor does not come up.
        """
        async with self._booting:
            if self._ring is None or not self._booted:
                return await self._boot()
            owners = sorted(set(self._ring.owners))
            await asyncio.gather(*(self._serve(name) for name in owners))
            return self._ring

    async def _boot(self) -> Ring:
        await asyncio.to_thread(self._control.claim)
        names = shard_names(self._settings.shards)
        ring = await asyncio.to_thread(self._load_or_build, names)
        self._ring = ring
        async with self._moving:
            if set(ring.owners) != set(names):
                ring = await self._move(ring, names)
        await asyncio.gather(*(self._serve(name) for name in names))
        self._booted = True
        self._keep_mending()
        return ring

    async def ring(self) -> Ring:
        """Returns the newest ring; boots where there is none.

        A supervisor that was killed and has just been restarted finds the stored one, and mends
        behind the answer: one shard that does not come up keeps nobody from the others.
        """
        if self._ring is None:
            async with self._booting:
                self._ring = self._ring or await self._found()
        return self._ring or await self.boot()

    async def _found(self) -> Ring | None:
        await asyncio.to_thread(self._control.claim)
        if await asyncio.to_thread(self._control.get, CLUSTER, _KIND, _KIND) is None:
            return None
        ring = await asyncio.to_thread(self._load_or_build, ())
        self._keep_mending()
        return ring

    def _keep_mending(self) -> None:
        if self._loop is None:
            self._loop = asyncio.create_task(self._reconcile_forever())

    async def scale(self, shards: int) -> Ring:
        """Changes the number of shards, moving as few partitions as balance allows.

        Raises:
            InvalidInputError: none, or more than there are partitions.
        """
        ring = await self.ring()
        self._strays = True
        async with self._moving:
            ring = await self._move(ring, shard_names(shards))
        await self._end_strays()
        return ring

    async def start_pipelines(self) -> None:
        """Starts the runner of pipelines: an idle cluster does without one.

        Raises:
            UnavailableError: it does not come up.
        """
        self._pipelines = True
        await self._crew.start_pipelines()

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what each shard last said of itself; nothing for one that does not answer."""
        ring = await self.ring()
        await asyncio.gather(*(self._look(name) for name in sorted(set(ring.owners))))
        return dict(self._seen)

    async def close(self) -> None:
        """Stops reconciling; the actors go on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    def _load_or_build(self, names: Sequence[str]) -> Ring:
        partitions = self._settings.partitions
        if self._control.get(CLUSTER, _KIND, _KIND) is None:
            self._store(build(names, partitions), 0)
        ring = load_ring(self._control)
        if len(ring.owners) != partitions:
            raise ConfigurationError(
                "the data was created with another number of partitions",
                configured=partitions,
                found=len(ring.owners),
            )
        return ring

    def _store(self, ring: Ring, revision: int) -> None:
        body = orjson.dumps({"version": ring.version, "owners": ring.owners})
        change = ControlChange(CLUSTER, _KIND, _KIND, body, revision)
        self._control.commit([change], [])

    async def _move(self, ring: Ring, names: Sequence[str]) -> Ring:
        """Stores a new ring, then has the old owners give up and the new ones take over."""
        target = rebalance(ring, names)

        def store() -> None:
            record = self._control.get(CLUSTER, _KIND, _KIND)
            self._store(target, record.revision if record else 0)

        await asyncio.to_thread(store)
        self._ring = target
        for name in sorted(set(ring.owners) - {""}):
            leaving = set(ring.owned_by(name)) - set(target.owned_by(name))
            if leaving:
                try:
                    await self._crew.shard(name).disown(sorted(leaving))
                except MemosError as error:
                    # The new owner's epoch fences it off, whether it has heard or not.
                    _log.warning("%s did not give up its partitions: %s", name, error.code)
        await asyncio.gather(*(self._serve(name) for name in sorted(set(target.owners))))
        return target

    async def _serve(self, name: str) -> None:
        await self._crew.start_shard(name)
        ring = self._ring
        if ring is not None:
            owned = ring.owned_by(name)
            # It was taken out of the ring while it was looked at, and perhaps ended already.
            self._strays |= not owned
            await self._crew.shard(name).own(owned)
            await self._look(name)

    async def _look(self, name: str) -> ShardStatus | None:
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT_S):
                self._seen[name] = await self._crew.shard(name).status()
        except (MemosError, TimeoutError):
            self._seen[name] = None
        return self._seen[name]

    async def _reconcile_forever(self) -> None:
        while True:
            await asyncio.sleep(_RECONCILE_S)
            try:
                await self._reconcile()
            except MemosError as error:
                _log.warning("reconciling failed, will try again: %s", error.code)
            except Exception as error:
                _log.error("reconciling failed, will try again: %s", describe_defect(error))

    async def _reconcile(self) -> None:
        if self._moving.locked() or self._ring is None:
            return
        # Of two clusters that lost sight of the store, only one goes on.
        await asyncio.to_thread(self._control.claim)
        for name in sorted(set(self._ring.owners)):
            status = await self._look(name)
            wanted = set(self._ring.owned_by(name))
            if status is None or wanted - set(status.partitions):
                await self._mend(name)
        if self._strays:
            await self._end_strays()
        await self._keep_pipelines()

    async def _mend(self, name: str) -> None:
        """Has a shard serve; one that does not come up keeps the others from nothing."""
        try:
            await self._serve(name)
        except MemosError as error:
            _log.warning("%s does not serve, will try again: %s", name, error.code)

    async def _end_strays(self) -> None:
        """Ends shards that the ring gives nothing; one that cannot be ended is tried again."""
        async with self._moving:
            owners = set(self._ring.owners) if self._ring is not None else set[str]()
            for name in shard_names(self._settings.partitions):
                if name not in owners and (name in self._seen or await self._crew.has_shard(name)):
                    await self._crew.stop_shard(name)
                    self._seen.pop(name, None)
            self._strays = False

    async def _keep_pipelines(self) -> None:
        """Has the runner run once somebody needed it, or left a run behind."""
        if self._pipelines is None:
            self._pipelines = await self._crew.has_pipelines() or await asyncio.to_thread(
                runs_left, self._control
            )
        if self._pipelines:
            await self._crew.start_pipelines()
