"""What is said of memories, as rows: one for each memory and principal, one for implicit signs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import orjson

from memos_ray.core.cube.identity import digest
from memos_ray.core.evolution import Opinion, level, worth_of
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotOwnerError, StoreCorruptError
from memos_ray.ports import Derivation, RecordStorePort

KIND = "opinion"
IMPLICIT = ""
"""Stands for a principal where nobody has said anything."""

_NAME_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Said:
    """What a principal says of a memory, or answers do.

    Attributes:
        namespace: of the memory.
        note: for people.
    """

    key: CubeKey
    namespace: str
    principal: str
    opinion: Opinion
    note: str | None = None


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
        self._levels: dict[int, dict[str, dict[str, float]]] = {}
        self._loading = asyncio.Lock()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self._epochs.pop(partition, None)
        self._held.pop(partition, None)
        self._levels.pop(partition, None)

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
                for key in held:
                    self._weigh(partition, key)
                await self._forget(partition, [key for key in held if key not in heads])
            self._epoch(partition)
            return self._held[partition]

    async def put(self, partition: int, said: Sequence[Said]) -> dict[CubeKey, float]:
        """Keeps opinions, durably, in one transaction, of one principal about each memory.

        Returns:
            By how much the worth of each memory has changed.
        """
        held = await self.of(partition)
        rows = [_row(one) for one in said]
        await self._run(self._store.save_derivations, partition, self._epoch(partition), rows)
        changed = {}
        for one in said:
            opinions = held.setdefault(one.key, {})
            before = opinions.get(one.principal)
            changed[one.key] = one.opinion.value - (before.value if before else 0.0)
            opinions[one.principal] = one.opinion
            self._weigh(partition, one.key)
        heads = await self._run(self._store.heads, partition, list(changed))
        # Erased meanwhile: what removes their rows may have looked before these were there.
        for one in said:
            if one.key not in heads:
                self._held[partition].setdefault(one.key, {})[one.principal] = one.opinion
        await self._forget(partition, [key for key in changed if key not in heads])
        return changed

    async def names(self, partition: int, key: CubeKey) -> tuple[str, ...]:
        """Returns the names of the rows that there are about a memory."""
        return tuple(_name(key, who) for who in (await self.of(partition)).get(key, {}))

    def worth(self, partition: int, key: CubeKey) -> float:
        """Returns what a memory is worth, as far as its opinions have been read."""
        return worth_of(self.known(partition).get(key, {}).values())

    def levels(self, partition: int, tenant: str) -> dict[str, float]:
        """Returns how far memories of a tenant are moved in rankings; see `level`."""
        return dict(self._levels.get(partition, {}).get(tenant, {}))

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
            self._weigh(partition, key)

    def _weigh(self, partition: int, key: CubeKey) -> None:
        levels = self._levels.setdefault(partition, {}).setdefault(key.tenant, {})
        levels.pop(key.id, None)
        if moved := level(self.worth(partition, key)):
            levels[key.id] = moved

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


def _row(said: Said) -> Derivation:
    key = said.key
    parts = [[place, count] for place, count in sorted(said.opinion.parts.items())]
    body = orjson.dumps(
        {
            "memory": key.id,
            "principal": said.principal,
            "value": said.opinion.value,
            "parts": parts,
            "note": said.note,
        }
    )
    return Derivation(key.tenant, KIND, _name(key, said.principal), said.namespace, "", 0, body)


def _opinion(row: Derivation) -> tuple[CubeKey, str, Opinion]:
    try:
        body = orjson.loads(row.body)
        opinion = Opinion(body["value"], {place: count for place, count in body["parts"]})
        return CubeKey(row.tenant, body["memory"]), body["principal"], opinion
    except (ValueError, KeyError, TypeError):
        raise StoreCorruptError("an opinion cannot be read", name=row.name) from None
