"""Adapters at rest and in replicas: how they get there, and how they leave for good.

    save:  row, then file        retire:  file, then weights in replicas, then row

So whatever a crash leaves behind has a row, and the next owner of the partition goes on with it.
A file is of one adapter and one hold of its partition: whoever lays it down and finds that the
partition, and perhaps the row, are another's by now takes it away again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any

from memos_ray.actors.parameter.adapter_rows import KIND, Adapter, adapter_of, row_of
from memos_ray.core.defects import describe_defect
from memos_ray.core.parameter import AdapterPayload, at_rest, weights_of
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
        self.counters: Counter[str] = Counter()
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

    async def save(
        self, adapter: Adapter, payload: AdapterPayload, shared: Callable[[Adapter], bool]
    ) -> Adapter:
        """Lays an adapter down; returns it with the name of its file.

        What could not be laid down, or is no longer wanted meanwhile, is retired.

        Args:
            shared: see `retire`.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        epoch = self.epoch(adapter.place.partition)
        data = at_rest(payload, adapter.id, epoch)
        named = replace(adapter, blob=blake2b(data, digest_size=32).hexdigest())
        writing = asyncio.ensure_future(self._run(self._write, named, data, epoch))
        try:
            # A thread does not stop: whoever no longer waits erases behind it.
            await asyncio.shield(writing)
        except BaseException:
            self.retire(named, shared=shared, behind=writing)
            raise
        return named

    def _write(self, adapter: Adapter, data: bytes, epoch: int) -> None:
        partition, blobs = adapter.place.partition, self._open_blobs()
        self._store.save_derivation(partition, epoch, row_of(adapter))
        blobs.put(data)
        if self._store.fence(partition).epoch != epoch:
            # Its next owner may have erased the row before there was a file.
            blobs.delete(adapter.blob)
            raise NotOwnerError("the partition is another's by now", partition=partition)

    async def load(self, adapter: Adapter) -> object | None:
        """Brings an adapter into the object store; nothing when it cannot be read."""
        try:
            data = await self._run(self._open_blobs().get, adapter.blob)
            payload = AdapterPayload.seal(
                weights_of(data),
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
        first: Callable[[], Awaitable[None]] | None = None,
        behind: asyncio.Future[None] | None = None,
    ) -> None:
        """Has an adapter erased, and dropped by all replicas of its model; returns at once.

        Args:
            shared: whether another adapter has the same weights, which replicas then keep.
            first: returns when the row may go.
            behind: what is waited for, whatever comes of it, before anything is erased.
        """
        if adapter.id not in self._retiring:
            task = asyncio.create_task(self._retire(adapter, shared, first, behind))
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
        first: Callable[[], Awaitable[None]] | None,
        behind: asyncio.Future[None] | None,
    ) -> None:
        if behind is not None:
            await asyncio.wait([behind])
        retry_s = _RETRY_MIN_S
        while (epoch := self._epochs.get(adapter.place.partition)) is not None:
            try:
                if await self._out(adapter, shared):
                    if first is not None:
                        await first()
                    await self._forget(adapter, epoch)
                    self.counters["adapters_erased"] += 1
                    _log.info("adapter %s is erased, in replicas as well", adapter.id)
                    return
            except FencedError:
                return
            except MemosError as error:
                _log.warning("an adapter is not yet retired: %s", error.code)
            except Exception as error:
                _log.warning("an adapter is not yet retired: %s", describe_defect(error))
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _RETRY_MAX_S)

    async def _out(self, adapter: Adapter, shared: Callable[[Adapter], bool]) -> bool:
        """Erases the file, and has the replicas drop the weights; says whether they have."""
        await self._run(self._open_blobs().delete, adapter.blob)
        if shared(adapter):
            return True
        # While an answer is under way with it, the weights are still there.
        return self._replicas is None or await self._replicas.drop(adapter.model, adapter.digest)

    async def _forget(self, adapter: Adapter, epoch: int) -> None:
        place = adapter.place
        forget = partial(self._store.forget_derivations, place.partition, epoch, place.tenant)
        await self._run(forget, KIND, [adapter.id])

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
