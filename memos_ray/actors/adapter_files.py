"""Adapters at rest and in replicas: how they get there, and how they leave for good.

    save:  row, then file        retire:  file, then weights in replicas, then row

So whatever a crash leaves behind has a row, and the next owner of the partition goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np

from memos_ray.actors.adapter_rows import KIND, Adapter, adapter_of, row_of
from memos_ray.core.defects import describe_defect
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import FencedError, MemosError, NotOwnerError, StoreCorruptError
from memos_ray.ports import AdapterReplicasPort, BlobStorePort, ObjectsPort, RecordStorePort

_RETRY_MIN_S = 0.2
_RETRY_MAX_S = 10.0
_CLOSE_S = 5.0
_log = logging.getLogger(__name__)


class AdapterFiles:
    """Rows and files of adapters, and the weights that replicas hold of them.

    A retirement goes on until each living replica has confirmed that the weights are gone; it holds
    up nothing else. One that is cut off is begun again by the next owner of the partition.

    Concurrency: methods run on the actor's event loop; files and rows are written on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        blobs: Callable[[], BlobStorePort],
        objects: ObjectsPort,
        executor: Executor,
        replicas: AdapterReplicasPort | None,
    ) -> None:
        self._store = store
        self._open_blobs = blobs
        self._objects = objects
        self._executor = executor
        self._replicas = replicas
        self._epochs: dict[int, int] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Leaves a partition, and what is still to be erased there, to its next owner."""
        self._epochs.pop(partition, None)

    def epoch(self, partition: int) -> int:
        """Returns under which epoch a partition is held.

        Raises:
            NotOwnerError: it is not.
        """
        epoch = self._epochs.get(partition)
        if epoch is None:
            raise NotOwnerError("the partition is not here", partition=partition)
        return epoch

    async def rows(self, partition: int) -> list[Adapter]:
        """Returns the adapters of a partition."""
        rows = await self._run(self._store.derivations, partition, KIND)
        return [adapter_of(partition, row) for row in rows]

    async def save(self, adapter: Adapter, payload: AdapterPayload) -> None:
        """Lays an adapter down, under the name that `adapter_rows.named` has given to its file.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        epoch = self.epoch(adapter.place.partition)

        def write() -> None:
            self._store.save_derivation(adapter.place.partition, epoch, row_of(adapter))
            self._open_blobs().put(payload.data.tobytes())

        await self._run(write)

    async def load(self, adapter: Adapter) -> object | None:
        """Brings an adapter into the object store; nothing when it cannot be read."""
        try:
            data = await self._run(self._open_blobs().get, adapter.blob)
            payload = AdapterPayload.seal(
                np.frombuffer(data, np.uint8),
                base=adapter.base,
                rank=adapter.rank,
                alpha=adapter.alpha,
            )
            if payload.manifest.digest != adapter.digest:
                raise StoreCorruptError("an adapter's file is another one")
            return await self._objects.put(payload)
        except MemosError as error:
            _log.warning("an adapter cannot be read: %s", error.code)
            return None

    def retire(
        self,
        adapter: Adapter,
        *,
        shared: Callable[[Adapter], bool],
        first: Callable[[], Awaitable[None]],
    ) -> None:
        """Has an adapter erased, and dropped by all replicas of its model; returns at once.

        Args:
            shared: whether another adapter has the same weights, which then stay.
            first: returns when the row may go.
        """
        if adapter.id not in self._retiring:
            task = asyncio.create_task(self._retire(adapter, shared, first))
            self._retiring[adapter.id] = task
            task.add_done_callback(lambda _: self._retiring.pop(adapter.id, None))

    async def retired(self, adapter_id: str) -> None:
        """Returns when nothing is left of an adapter that was to be retired, or it was cut off."""
        task = self._retiring.get(adapter_id)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Waits a little for what is to be erased; the rest is for the next owner."""
        tasks = list(self._retiring.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _retire(
        self,
        adapter: Adapter,
        shared: Callable[[Adapter], bool],
        first: Callable[[], Awaitable[None]],
    ) -> None:
        retry_s = _RETRY_MIN_S
        while (epoch := self._epochs.get(adapter.place.partition)) is not None:
            try:
                if shared(adapter) or await self._out(adapter):
                    await first()
                    await self._forget(adapter, epoch)
                    return
            except FencedError:
                return
            except MemosError as error:
                _log.warning("an adapter is not yet retired: %s", error.code)
            except Exception as error:
                _log.warning("an adapter is not yet retired: %s", describe_defect(error))
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _RETRY_MAX_S)

    async def _out(self, adapter: Adapter) -> bool:
        """Erases the file, and has the replicas drop the weights; says whether they have."""
        await self._run(self._open_blobs().delete, adapter.blob)
        # While an answer is under way with it, the weights are still there.
        return self._replicas is None or await self._replicas.drop(adapter.model, adapter.digest)

    async def _forget(self, adapter: Adapter, epoch: int) -> None:
        place = adapter.place
        forget = partial(self._store.forget_derivations, place.partition, epoch, place.tenant)
        await self._run(forget, KIND, [adapter.id])

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
