"""What models are to learn again, since they knew something beside that is deleted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Set
from concurrent.futures import Executor
from hashlib import blake2b
from typing import Any

import orjson

from memos_ray.actors.errands import Errands
from memos_ray.actors.vault.residency import Place
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import UnavailableError
from memos_ray.ports import Derivation, RecordStorePort

KIND = "relearn"
_log = logging.getLogger(__name__)


class Relearning:
    """Remembers, across restarts, which memories a model has lost with a retired adapter.

    Concurrency: methods run on the actor's event loop; rows are written on `executor`, in order.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self.counters: Counter[str] = Counter()
        self._store = store
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._wanted: dict[tuple[Place, str], tuple[str, ...]] = {}
        self._taken: set[tuple[Place, str]] = set()
        self._unwritten: set[tuple[Place, str]] = set()
        self._errands = Errands("what is to be learnt again")

    def note(self, place: Place, model: str, ids: tuple[str, ...]) -> None:
        """Remembers memories that a model is to learn again."""
        if ids:
            self._wanted[place, model] = ids
            self.counters["relearning_wanted"] += 1
            _log.info("%s is to learn %d memories again", model, len(ids))
        else:
            self._wanted.pop((place, model), None)
        self._errands.leave(self._save(place, model, ids))

    def forget(self, partition: int, gone: Set[CubeKey]) -> None:
        """Leaves out memories that are deleted."""
        for (place, model), ids in list(self._wanted.items()):
            left = tuple(id for id in ids if CubeKey(place.tenant, id) not in gone)
            if place.partition == partition and left != ids:
                self.note(place, model, left)

    def take(self, place: Place, model: str) -> tuple[str, ...]:
        """Returns, to one at a time, what a model is to learn; `done` or `put_back` follows."""
        key = (place, model)
        if key in self._taken or key not in self._wanted:
            return ()
        self._taken.add(key)
        return self._wanted[key]

    def put_back(self, place: Place, model: str) -> None:
        """Gives back what `take` returned and nobody could teach."""
        self._taken.discard((place, model))

    def done(self, place: Place, model: str, ids: tuple[str, ...]) -> None:
        """Says that a lesson has begun about what `take` returned, or that none can be.

        The lesson is remembered by itself. One that something was deleted under is for the next.
        """
        self._taken.discard((place, model))
        self.counters["relearning_taken_up"] += 1
        if self._wanted.get((place, model)) == ids:
            del self._wanted[place, model]
            self._errands.leave(self._save(place, model, ()))

    async def open(self, partition: int, epoch: int) -> None:
        """Takes over what is to be learnt again of a partition."""
        self._epochs[partition] = epoch
        for row in await self._run(self._store.derivations, partition, KIND):
            body = orjson.loads(row.body)
            key = Place(partition, row.tenant, row.namespace), body["model"]
            if self._epochs.get(partition) == epoch:
                self._wanted.setdefault(key, tuple(body["ids"]))

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; its rows stay."""
        self._epochs.pop(partition, None)
        for key in [key for key in self._wanted if key[0].partition == partition]:
            del self._wanted[key]
            self._taken.discard(key)
        self._unwritten = {key for key in self._unwritten if key[0].partition != partition}

    async def settle(self) -> None:
        """Returns when everything has been tried to be written."""
        await self._errands.settle()

    async def secure(self) -> None:
        """Returns when everything is written.

        Raises:
            UnavailableError: something cannot be; it is tried again the next time.
        """
        await self.settle()
        for key in self._unwritten:
            self._errands.leave(self._save(*key, self._wanted.get(key, ())))
        await self.settle()
        if self._unwritten:
            raise UnavailableError("what is to be learnt again is not written")

    async def _save(self, place: Place, model: str, ids: tuple[str, ...]) -> None:
        self._unwritten.add((place, model))
        await self._write(place, model, ids)
        self._unwritten.discard((place, model))

    async def _write(self, place: Place, model: str, ids: tuple[str, ...]) -> None:
        epoch = self._epochs.get(place.partition)
        if epoch is None:
            return
        named = orjson.dumps([place.namespace, model])
        name = blake2b(named, digest_size=16).hexdigest()
        if ids:
            body = orjson.dumps({"model": model, "ids": ids})
            row = Derivation(place.tenant, KIND, name, place.namespace, "", 0, body)
            await self._run(self._store.save_derivation, place.partition, epoch, row)
        else:
            await self._run(
                self._store.forget_derivations,
                place.partition,
                epoch,
                place.tenant,
                KIND,
                [name],
            )

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
