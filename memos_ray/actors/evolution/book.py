"""The proposals and modes of evolution, as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

import orjson

from memos_ray.actors.vault.residency import Place
from memos_ray.core.evolution import EvolutionMode, Evolved
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotOwnerError, StoreCorruptError
from memos_ray.ports import Among, Derivation, RecordStorePort

PROPOSAL, MODE, WORDING = "evolution_proposal", "evolution", "evolution_wording"
_AT_ONCE = 256

_About = dict[CubeKey, dict[str, list[CubeKey]]]
"""By memory, the names of the proposals about it, with all memories of each."""


class EvolutionBook:
    """What is proposed where, and what happens by itself.

    A row says which memories are concerned and never what they say; it goes with them. Which
    proposals are about which memory is held in memory, read once when that is first asked for.

    Complexity: an erasure costs what there is about the erased memories; a look for those whose
    removal was cut off, what is new since the last one.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._about: dict[int, _About] = {}
        # Of these it is not known whether they are there still.
        self._unsure: dict[int, set[CubeKey]] = {}
        self._reading = asyncio.Lock()
        # What is written while its memory is erased is removed behind that, and not before.
        self._writing = asyncio.Lock()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for held in (self._epochs, self._about, self._unsure):
            held.pop(partition, None)

    async def of(self, place: Place) -> list[Evolved]:
        """Returns all proposals of a namespace, whatever has become of them."""
        among = Among(place.tenant, place.namespace)
        found = await self._run(self._store.derivations, place.partition, PROPOSAL, among)
        return [_proposal(row) for row in found]

    async def one(self, place: Place, id: str) -> Evolved | None:
        """Returns one proposal of a namespace, if there is such a one."""
        among = Among(place.tenant, place.namespace, (id,))
        found = await self._run(self._store.derivations, place.partition, PROPOSAL, among)
        return _proposal(found[0]) if found else None

    async def put(self, place: Place, one: Evolved) -> None:
        """Writes a proposal down."""
        about = await self._memories(place.partition)
        row = Derivation(one.tenant, PROPOSAL, one.id, one.namespace, "", 0, one.to_bytes())
        async with self._writing:
            _note(about, one)
            # One of its memories may be gone already.
            self._unsure[place.partition].update(_keys(one))
            await self._run(self._store.save_derivation, place.partition, self._epoch(place), row)

    async def want_words(self, place: Place, id: str, attempts: int) -> None:
        """Writes down that a summary is to be in a model's words, and how often that was tried."""
        body = orjson.dumps({"attempts": attempts})
        row = Derivation(place.tenant, WORDING, id, place.namespace, "", 0, body)
        await self._run(self._store.save_derivation, place.partition, self._epoch(place), row)

    async def need_no_words(self, place: Place, id: str) -> None:
        """Forgets that: it is done, or nothing comes of it."""
        forget, epoch = self._store.forget_derivations, self._epoch(place)
        await self._run(forget, place.partition, epoch, place.tenant, WORDING, [id])

    async def wanted_words(self, partition: int) -> list[tuple[Place, str, int]]:
        """Returns the proposals whose summary is to be in a model's words, and the tries so far."""
        rows = await self._run(self._store.derivations, partition, WORDING)
        return [
            (
                Place(partition, row.tenant, row.namespace),
                row.name,
                int(orjson.loads(row.body)["attempts"]),
            )
            for row in rows
        ]

    async def withdraw(self, place: Place, ones: Iterable[Evolved]) -> None:
        """Removes proposals that hold no longer."""
        about, gone = await self._memories(place.partition), list(ones)
        if gone:
            forget, epoch = self._store.forget_derivations, self._epoch(place)
            names = [one.id for one in gone]
            await self._run(forget, place.partition, epoch, place.tenant, PROPOSAL, names)
        for one in gone:
            for key in _keys(one):
                _drop(about, key, one.id)

    async def mode(self, place: Place) -> tuple[EvolutionMode, str]:
        """Returns what happens by itself in a namespace, and who has set it."""
        among = Among(place.tenant, names=(place.namespace,))
        found = await self._run(self._store.derivations, place.partition, MODE, among)
        return _mode(found[0]) if found else (EvolutionMode.MANUAL, "")

    async def set_mode(self, place: Place, mode: EvolutionMode, principal: str) -> None:
        """Sets what happens by itself."""
        body = orjson.dumps({"mode": mode.value, "principal": principal})
        row = Derivation(place.tenant, MODE, place.namespace, place.namespace, "", 0, body)
        await self._run(self._store.save_derivation, place.partition, self._epoch(place), row)

    async def watched(self, partition: int) -> list[Place]:
        """Returns the namespaces where something happens by itself."""
        rows = await self._run(self._store.derivations, partition, MODE)
        return [
            Place(partition, row.tenant, row.namespace)
            for row in rows
            if _mode(row)[0] is not EvolutionMode.MANUAL
        ]

    async def tidy(self, partition: int) -> None:
        """Removes proposals about memories that are gone, where that was cut off."""
        await self._memories(partition)
        unsure = self._unsure[partition]
        keys = list(unsure)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            unsure.difference_update(some)
            try:
                heads = await self._run(self._store.heads, partition, some)
            except BaseException:
                unsure.update(some)
                raise
            await self.forget(partition, [key for key in some if key not in heads])

    async def forget(self, partition: int, erased: Iterable[CubeKey]) -> None:
        """Removes proposals about memories that are gone."""
        about = await self._memories(partition)
        async with self._writing:
            await self._forget(partition, about, erased)

    async def _forget(self, partition: int, about: _About, erased: Iterable[CubeKey]) -> None:
        gone = [key for key in erased if key in about]
        unsure = self._unsure[partition]
        # Should it be cut off, they are looked for once more.
        unsure.update(gone)
        for tenant in {key.tenant for key in gone}:
            found = [about.get(key, {}) for key in gone if key.tenant == tenant]
            keys_of = {name: keys for one in found for name, keys in one.items()}
            epoch = self._epoch(Place(partition, tenant, ""))
            forget = self._store.forget_derivations
            await self._run(forget, partition, epoch, tenant, PROPOSAL, sorted(keys_of))
            for name, keys in keys_of.items():
                for key in keys:
                    _drop(about, key, name)
        unsure.difference_update(gone)

    async def _memories(self, partition: int) -> _About:
        """Returns which proposals are about which memory."""
        async with self._reading:
            if partition not in self._about:
                self._epoch(Place(partition, "", ""))
                rows = await self._run(self._store.derivations, partition, PROPOSAL)
                self._epoch(Place(partition, "", ""))
                about: _About = {}
                for row in rows:
                    # One that cannot be read fails for whoever asks for it.
                    with suppress(StoreCorruptError):
                        _note(about, _proposal(row))
                self._about[partition], self._unsure[partition] = about, set(about)
            return self._about[partition]

    def _epoch(self, place: Place) -> int:
        if place.partition not in self._epochs:
            raise NotOwnerError("the partition has moved", partition=place.partition)
        return self._epochs[place.partition]

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _keys(one: Evolved) -> list[CubeKey]:
    return [CubeKey(one.tenant, id) for id, _ in one.sources]


def _note(about: _About, one: Evolved) -> None:
    for key in _keys(one):
        about.setdefault(key, {})[one.id] = _keys(one)


def _drop(about: _About, key: CubeKey, name: str) -> None:
    about.get(key, {}).pop(name, None)
    if not about.get(key):
        about.pop(key, None)


def _proposal(row: Derivation) -> Evolved:
    return Evolved.from_bytes(row.name, row.tenant, row.namespace, row.body)


def _mode(row: Derivation) -> tuple[EvolutionMode, str]:
    try:
        body = orjson.loads(row.body)
        return EvolutionMode(body["mode"]), body["principal"]
    except (ValueError, KeyError, TypeError):
        raise StoreCorruptError("what evolves cannot be read", namespace=row.namespace) from None
