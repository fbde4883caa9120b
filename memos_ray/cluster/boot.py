"""Starts a cluster on this machine, or joins one."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from types import TracebackType

import ray

from memos_ray.cluster import assembly
from memos_ray.cluster.announcement import withdraw
from memos_ray.cluster.authorities import SupervisorHandle
from memos_ray.cluster.control import start_control
from memos_ray.cluster.folder import DataFolder, FolderLock
from memos_ray.cluster.keyring import Keyring
from memos_ray.cluster.scratch import scratch_folder
from memos_ray.cluster.shard.handle import ShardHandle
from memos_ray.cluster.sweeper import Sweeper
from memos_ray.config import Settings
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import ConfigurationError, MemosError, UnavailableError


class EmbeddedCluster:
    """A whole cluster in one process tree: Ray's node and every MemOS actor.

    Ray's processes and the actors end with this process, also when it is killed. One cluster runs
    on a data folder at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._folder = DataFolder(settings.data)
        self._lock = FolderLock(self._folder)
        self._claimed = False
        self._started = False
        self._sweeper: Sweeper | None = None

    def __enter__(self) -> EmbeddedCluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def claim(self) -> None:
        """Takes the data folder for this process; the first step of `start`.

        Raises:
            ConfigurationError: the path is no folder, or may not be written.
            DataFolderInUseError: another cluster runs on it.
        """
        if not self._claimed:
            self._folder.create()
            self._lock.acquire()
            self._claimed = True
            # What a killed cluster has left; nobody else announces anything while we hold the lock.
            withdraw(self._folder)

    def start(self) -> Ring:
        """Starts everything and returns once every partition is served.

        Raises:
            ConfigurationError: Ray runs in this process already, or settings do not fit the data.
            DataFolderInUseError: another cluster runs on the data folder.
            UnavailableError: Ray does not start, or an actor does not come up.
        """
        if ray.is_initialized():
            raise ConfigurationError("Ray runs in this process already; join it by its address")
        settings = self.settings
        self.claim()
        try:
            Keyring(settings).ensure()
            # Once, here, where it can be seen, rather than in each actor.
            assembly.prepare_embedder(settings.embedder)
            self._sweeper = Sweeper()
            self._started = True
            _start_ray(settings, scratch_folder(self._folder))
            return asyncio.run(_boot(settings))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Flushes the shards, ends Ray and frees the data folder."""
        if self._started:
            if ray.is_initialized():
                asyncio.run(_close_shards(self.settings))
            ray.shutdown()
            self._started = False
        if self._sweeper is not None:
            self._sweeper.close()
            self._sweeper = None
        self._lock.release()
        self._claimed = False


def _start_ray(settings: Settings, scratch: Path) -> None:
    # What Ray writes, the token that guards its ports included, is for this user only.
    before = os.umask(0o077)
    try:
        _init_ray(settings, scratch)
    except Exception as error:
        # Ray says why in words, and in exceptions of no certain type.
        raise UnavailableError("Ray does not start here", reason=str(error)) from error
    finally:
        os.umask(before)


def _init_ray(settings: Settings, scratch: Path) -> None:
    ray.init(
        address="local",
        num_cpus=settings.cluster_cpus,
        # Found by Ray where anybody asks for some.
        num_gpus=None if _wants_gpus(settings) else 0,
        object_store_memory=settings.object_store_bytes,
        namespace=settings.namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
        _temp_dir=str(scratch),
    )


def _wants_gpus(settings: Settings) -> bool:
    return settings.teaching.gpus > 0 or any(model.gpus for model in settings.models)


def join(settings: Settings, address: str) -> None:
    """Joins a running Ray cluster as a driver, and boots MemOS on it unless it is there.

    Args:
        address: `host:port` of Ray's head node.

    Raises:
        UnavailableError: nobody answers there.
    """
    if not ray.is_initialized():
        try:
            ray.init(
                address=address,
                namespace=settings.namespace,
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UnavailableError("no Ray cluster answers there", address=address) from error
    boot(settings)


def boot(settings: Settings) -> Ring:
    """Starts MemOS' actors in the cluster that this process is connected to, unless they run.

    Raises:
        ConfigurationError: settings do not fit the data.
        UnavailableError: an actor does not come up.
    """
    Keyring(settings).ensure()
    return asyncio.run(_boot(settings))


async def _boot(settings: Settings) -> Ring:
    await asyncio.to_thread(start_control, settings)
    return await SupervisorHandle(settings.namespace).boot()


async def _close_shards(settings: Settings) -> None:
    """Lets the shards flush; what cannot be reached any more has nothing to flush."""
    try:
        async with asyncio.timeout(10):
            ring = await SupervisorHandle(settings.namespace).ring()
            handles = [ShardHandle(name, settings.namespace) for name in sorted(set(ring.owners))]
            await asyncio.gather(*(handle.close() for handle in handles), return_exceptions=True)
    except (MemosError, TimeoutError) as error:
        logging.getLogger(__name__).warning("shards were not closed in order: %s", error)
