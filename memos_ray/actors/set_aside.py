"""Log entries that a consumer could not take: set aside, so that those behind them go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import orjson

from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.errors import (
    ClientError,
    DimensionMismatchError,
    InternalError,
    MemosError,
    StoreCorruptError,
)
from memos_ray.ports import Derivation, RecordStorePort

KIND = "feed_aside"
MOST = 1000
"""Where so many have failed, it is no longer the entries that are bad."""


def of_one(error: Exception) -> bool:
    """Tells whether an error may be of one entry, rather than of a store or a model."""
    if not isinstance(error, MemosError):
        return True
    of_all = isinstance(error, DimensionMismatchError)
    return isinstance(error, ClientError | StoreCorruptError | InternalError) and not of_all


@dataclass(frozen=True, slots=True)
class _Owed:
    """What is known of an entry; of those of an earlier program not which memory it is about."""

    tenant: str
    cube_id: str | None

    def about(self, keys: Set[CubeKey]) -> bool:
        if self.cube_id is None:
            return any(key.tenant == self.tenant for key in keys)
        return CubeKey(self.tenant, self.cube_id) in keys


class EntriesAside:
    """Keeps which entries of a partition's log one consumer owes, as rows without content.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self, partition: int, epoch: int, cursor: str, store: RecordStorePort, executor: Executor
    ) -> None:
        self._partition = partition
        self._epoch = epoch
        self._cursor = cursor
        self._store = store
        self._executor = executor
        self._owed: dict[int, _Owed] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def about(self, keys: Set[CubeKey], lsn: int | None = None) -> bool:
        """Tells whether any may be about one of these memories.

        Args:
            lsn: of the last that counts; all do when absent.
        """
        return any(owed.about(keys) for at, owed in self._owed.items() if lsn is None or at <= lsn)

    async def load(self) -> None:
        """Reads what an owner before this one has set aside."""
        for row in await self._run(self._store.derivations, self._partition, KIND):
            cursor, _, lsn = row.name.rpartition("/")
            if cursor == self._cursor:
                self._owed[int(lsn)] = _Owed(row.tenant, orjson.loads(row.body).get("memory"))

    async def add(self, event: Event, code: str) -> None:
        """Sets an entry aside."""
        told = {"operation": event.operation, "error": code, "memory": event.cube_id}
        body = orjson.dumps(told)
        row = Derivation(event.tenant, KIND, self._name(event.lsn), event.namespace, "", 0, body)
        await self._run(self._store.save_derivation, self._partition, self._epoch, row)
        self._owed[event.lsn] = _Owed(event.tenant, event.cube_id)

    async def again(self, consume: Callable[[Sequence[Event]], Awaitable[None]]) -> None:
        """Has the entries taken now, one by one; those that cannot be stay.

        Raises:
            MemosError: a store is away.
        """
        for lsn in sorted(self._owed):
            found = await self._run(self._store.events, self._partition, lsn - 1, 1)
            try:
                if found and found[0].lsn == lsn:
                    await consume(found)
            except Exception as error:
                if not of_one(error):
                    raise
            else:
                await self._forget(lsn)

    async def clear(self) -> None:
        """Forgets all of them: the log is walked anew."""
        for lsn in list(self._owed):
            await self._forget(lsn)

    async def _forget(self, lsn: int) -> None:
        tenant, names = self._owed[lsn].tenant, [self._name(lsn)]
        forget = self._store.forget_derivations
        await self._run(forget, self._partition, self._epoch, tenant, KIND, names)
        del self._owed[lsn]

    def _name(self, lsn: int) -> str:
        return f"{self._cursor}/{lsn}"

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
