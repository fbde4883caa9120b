"""What is said of memories, as rows: one for each memory and principal, one for implicit signs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

import orjson

from memos_ray.core.cube.identity import digest
from memos_ray.core.evolution import Opinion, worth_of
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotOwnerError, StoreCorruptError
from memos_ray.ports import Derivation, RecordStorePort

KIND = "opinion"
IMPLICIT = ""
"""Stands for a principal where nobody has said anything."""

_NAME_DIGITS = 32


class Opinions:
    """The opinions of a shard's partitions.

    A principal has one opinion of a memory: a new one takes the place of the old. Rows go with
    their memories: behind the erasure, and where that was cut off, when the partition is next
    opened. Nothing but a note says a word of anything.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.

    Complexity: opinions of a partition are all in memory, some hundred bytes each.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._held: dict[int, dict[CubeKey, dict[str, Opinion]]] = {}
        self._loading = asyncio.Lock()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self._epochs.pop(partition, None)
        self._held.pop(partition, None)

    def known(self, partition: int) -> dict[CubeKey, dict[str, Opinion]]:
        """Returns what is in memory already; nothing until a partition's rows were read."""
        return self._held.get(partition, {})

    async def of(self, partition: int) -> dict[CubeKey, dict[str, Opinion]]:
        """Returns all opinions of a partition."""
        if partition in self._held:
            # A search does not wait until those of another partition are read.
            return self._held[partition]
        async with self._loading:
            if partition not in self._held:
                self._epoch(partition)
                rows = await self._run(self._store.derivations, partition, KIND)
                held: dict[CubeKey, dict[str, Opinion]] = {}
                for row in rows:
                    key, principal, opinion = _opinion(row)
                    held.setdefault(key, {})[principal] = opinion
                heads = await self._run(self._store.heads, partition, list(held))
                self._epoch(partition)
                self._held[partition] = held
                await self._forget(partition, [key for key in held if key not in heads])
            self._epoch(partition)
            return self._held[partition]

    async def put(
        self,
        partition: int,
        key: CubeKey,
        namespace: str,
        principal: str,
        opinion: Opinion,
        note: str | None = None,
    ) -> float:
        """Keeps an opinion, durably; returns by how much the memory's worth has changed."""
        held = (await self.of(partition)).setdefault(key, {})
        before = held.get(principal)
        row = _row(key, namespace, principal, opinion, note)
        await self._run(self._store.save_derivation, partition, self._epoch(partition), row)
        held[principal] = opinion
        if not await self._run(self._store.heads, partition, [key]):
            # Erased meanwhile: what removes its rows may have looked before this one was there.
            self._held[partition].setdefault(key, {})[principal] = opinion
            await self._forget(partition, [key])
        return opinion.value - (before.value if before else 0.0)

    def worth(self, partition: int, key: CubeKey) -> float:
        """Returns what a memory is worth, as far as its opinions have been read."""
        return worth_of(self.known(partition).get(key, {}).values())

    async def forget(self, partition: int, keys: Iterable[CubeKey]) -> None:
        """Removes what is said of memories that are gone."""
        held = await self.of(partition)
        await self._forget(partition, [key for key in keys if key in held])

    async def _forget(self, partition: int, keys: Iterable[CubeKey]) -> None:
        held = self._held[partition]
        for key in keys:
            names = [_name(key, principal) for principal in held.get(key, {})]
            epoch = self._epoch(partition)
            forget = self._store.forget_derivations
            await self._run(forget, partition, epoch, key.tenant, KIND, names)
            held.pop(key, None)

    def _epoch(self, partition: int) -> int:
        if partition not in self._epochs:
            raise NotOwnerError("the partition has moved", partition=partition)
        return self._epochs[partition]

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def memory_of(row: Derivation) -> str:
    """Returns the id of the memory that a row is about."""
    found: str = orjson.loads(row.body)["memory"]
    return found


def _name(key: CubeKey, principal: str) -> str:
    return digest(b"memos-opinion-1", key.id.encode(), principal.encode())[:_NAME_DIGITS]


def _row(
    key: CubeKey, namespace: str, principal: str, opinion: Opinion, note: str | None
) -> Derivation:
    parts = [[place, count] for place, count in sorted(opinion.parts.items())]
    body = orjson.dumps(
        {
            "memory": key.id,
            "principal": principal,
            "value": opinion.value,
            "parts": parts,
            "note": note,
        }
    )
    return Derivation(key.tenant, KIND, _name(key, principal), namespace, "", 0, body)


def _opinion(row: Derivation) -> tuple[CubeKey, str, Opinion]:
    try:
        body = orjson.loads(row.body)
        opinion = Opinion(body["value"], {place: count for place, count in body["parts"]})
        return CubeKey(row.tenant, body["memory"]), body["principal"], opinion
    except (ValueError, KeyError, TypeError):
        raise StoreCorruptError("an opinion cannot be read", name=row.name) from None
