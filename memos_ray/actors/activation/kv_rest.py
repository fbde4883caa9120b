"""KV caches at rest: files in the blob store, listed in the record store.

What rests survives the shard, and costs no memory. It is a cache all the same: whatever is lost,
damaged or outdated is computed again. Each row names what its cache was computed from, so that a
new owner of the partition finds what the memories have outgrown meanwhile, and erases it.

    save:  row, then file        let go:  file, then row

So whatever a crash leaves behind has a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson

from memos_ray.actors.activation.kv_library import KvAdapter, KvName, KvObject
from memos_ray.actors.errands import Errands
from memos_ray.actors.patience import patiently
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import KvPayload, SourceVersion
from memos_ray.core.activation import files as kv_files
from memos_ray.core.scheduling.policies import Budget, Holding, Keeper, RetentionPolicy
from memos_ray.errors import (
    FencedError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    StoreCorruptError,
)
from memos_ray.ports import BlobStorePort, ClockPort, Derivation, ObjectsPort, RecordStorePort

KIND = "kv"
_RETRY_MIN_S = 0.5
_RETRY_MAX_S = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resting:
    """A cache at rest."""

    name: KvName
    blob: str
    size_bytes: int
    build_s: float


class KvRest:
    """Saves caches, brings them back, and erases what is outdated.

    Eviction: by the policy, beyond `budget_bytes`.

    Concurrency: methods run on the actor's event loop; files are written and erased one after the
    other on `executor`, so that a save that is overtaken by a change is erased behind it. Erasing
    is tried until it works, or another shard owns the partition: at once again while a store is
    away, and behind everything else, after a longer and longer while, when a store says no.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        blobs: Callable[[], BlobStorePort],
        objects: ObjectsPort,
        executor: Executor,
        budget_bytes: int,
        policy: RetentionPolicy,
        clock: ClockPort,
    ) -> None:
        self._store = store
        self._open_blobs = blobs
        self._objects = objects
        self._executor = executor
        self._budget = budget_bytes
        self._clock = clock
        self._keeper: Keeper[KvName] = Keeper(
            Budget(budget_bytes, budget_bytes), policy, lambda name: name.kin
        )
        self._epochs: dict[int, int] = {}
        self._rows: dict[KvName, Resting] = {}
        self._errands = Errands("a KV cache at rest")
        self._closing = False

    @property
    def memory_bytes(self) -> int:
        """Bytes at rest, of the partitions that this shard owns."""
        return self._keeper.size_bytes

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition's caches; those that the memories have outgrown are erased."""
        self._epochs[partition] = epoch
        self._errands.leave(self._take_over(partition, epoch))

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; the files stay for the next owner."""
        self._epochs.pop(partition, None)
        for name in [name for name in self._rows if name.place.partition == partition]:
            self._take(name)

    @property
    def names(self) -> list[KvName]:
        """What is at rest."""
        return list(self._rows)

    def look(self, name: KvName) -> Resting | None:
        """Returns what is known of a cache at rest, if it is there."""
        return self._rows.get(name)

    def note(self, name: KvName, *, pinned: bool) -> None:
        """Counts that a cache is wanted, hot or not; `pinned` is what its memory says now."""
        holding = self._keeper.use(name, name.label, self._clock.monotonic())
        if holding is not None:
            holding.pinned = pinned

    def save(self, name: KvName, held: KvObject, build_s: float) -> None:
        """Lays a cache down, behind whatever else is to be written."""
        if held.manifest.size_bytes <= self._budget and name not in self._rows:
            self._errands.leave(self._save(name, held, build_s))

    async def fetch(self, name: KvName) -> KvObject | None:
        """Brings a cache back into the object store; nothing when it is not there or damaged."""
        row = self._rows.get(name)
        if row is None:
            return None
        try:
            payload = await self._run(self._read, row.blob)
            reference = await self._objects.put(payload)
        except (NotFoundError, StoreCorruptError):
            self.let_go([name])
            return None
        except MemosError as error:
            _log.warning("a KV cache at rest cannot be read: %s", error.code)
            return None
        return KvObject(payload.manifest, reference)

    def outdate(self, changed: Mapping[str, Set[str]], partition: int) -> None:
        """Erases what was computed from other versions than there are now."""
        for name in list(self._rows):
            if name.place.partition == partition and name.touches(changed):
                self.let_go([name])
                self._keeper.outdated(name, self._clock.monotonic())

    def let_go(self, names: Iterable[KvName]) -> None:
        """Erases caches at rest, and never offers them from now on."""
        gone = [row for name in names if (row := self._take(name)) is not None]
        if gone:
            self._errands.leave(self._erase(gone))

    async def settle(self) -> None:
        """Returns when everything that was asked for is written or erased.

        What cannot be erased now is left to the next owner.
        """
        self._closing = True
        await self._errands.settle()

    async def _take_over(self, partition: int, epoch: int) -> None:
        async def adopt() -> None:
            outdated: dict[KvName, Resting] = {}
            for one in await self._run(self._store.derivations, partition, KIND):
                row = resting_of(partition, one)
                heads = await self._run(self._store.heads, partition, row.name.keys)
                if not row.name.holds(heads.values()):
                    outdated[row.name] = row
                elif self._epochs.get(partition) == epoch and row.name not in self._rows:
                    self._rows[row.name] = row
                    self.let_go(self._enter(row))
            self._errands.leave(self._erase(outdated.values()))

        await self._until_done(partition, adopt)

    async def _save(self, name: KvName, held: KvObject, build_s: float) -> None:
        epoch = self._epochs.get(name.place.partition)
        if epoch is None or name in self._rows:
            return
        payload = await self._objects.get(held.reference)
        blob = await self._run(_digest, payload)
        row = Resting(name, blob, held.manifest.size_bytes, build_s)
        # Known from here on: a change that comes meanwhile asks for its erasure, which comes next.
        self._rows[name] = row
        going: list[KvName] = []
        try:
            heads = await self._run(self._store.heads, name.place.partition, name.keys)
            if not name.holds(heads.values()):
                # The change came before it was known.
                self._take(name)
            elif self._rows.get(name) is row:
                # Others go only for what is written.
                going = self._enter(row)
                await self._run(self._write, row, payload, epoch)
        except (MemosError, asyncio.CancelledError):
            # The row may be there already, without its file.
            self.let_go([name])
            raise
        finally:
            self.let_go(going)

    def _enter(self, row: Resting) -> list[KvName]:
        """Gives a listed cache its room; returns those that have to go for it."""
        name = row.name
        offered = Holding(name.place.tenant, row.size_bytes, row.build_s, label=name.label)
        return self._keeper.hold(name, offered, self._clock.monotonic())

    def _take(self, name: KvName) -> Resting | None:
        self._keeper.let_go(name)
        return self._rows.pop(name, None)

    async def _erase(self, rows: Iterable[Resting]) -> None:
        for row in rows:
            await self._until_done(row.name.place.partition, partial(self._erase_one, row))

    async def _erase_one(self, row: Resting) -> None:
        epoch = self._epochs.get(row.name.place.partition)
        # It may have been laid down again since the last attempt.
        now = self._rows.get(row.name)
        if epoch is not None and now is None:
            await self._run(self._remove, row, epoch)
        elif now is not None and now.blob != row.blob:
            await self._run(self._open_blobs().delete, row.blob)

    async def _until_done(
        self, partition: int, act: Callable[[], Awaitable[None]], retry_s: float = _RETRY_MIN_S
    ) -> None:
        """Does something for a partition, again and again while this shard owns it.

        Args:
            retry_s: after how long it is done again when a store says no.
        """
        epoch = self._epochs.get(partition)

        async def attempt() -> None:
            if self._epochs.get(partition) != epoch:
                return
            try:
                await act()
            except MemosError as error:
                if self._closing or isinstance(error, (FencedError, NotOwnerError)):
                    _log.warning("a KV cache at rest is left to the next owner: %s", error.code)
                elif error.retryable:
                    raise
                else:
                    _log.warning("a KV cache at rest: tried again later after %s", error.code)
                    longer_s = min(2 * retry_s, _RETRY_MAX_S)
                    again = partial(self._until_done, partition, act, longer_s)
                    self._errands.put_off(again, retry_s)

        await patiently(attempt, "a KV cache at rest")

    def _read(self, blob: str) -> KvPayload:
        return kv_files.read(self._open_blobs().get(blob))

    def _write(self, row: Resting, payload: KvPayload, epoch: int) -> None:
        partition, blobs = row.name.place.partition, self._open_blobs()
        self._store.save_derivation(partition, epoch, _derivation(row))
        blobs.put_stream(kv_files.write(payload))
        if self._store.fence(partition).epoch != epoch:
            # Its next owner may have erased the row before there was a file.
            blobs.delete(row.blob)
            raise NotOwnerError("the partition is another's by now", partition=partition)

    def _remove(self, row: Resting, epoch: int) -> None:
        made = _derivation(row)
        self._open_blobs().delete(row.blob)
        self._store.forget_derivations(
            row.name.place.partition, epoch, made.tenant, KIND, [made.name]
        )

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _digest(payload: KvPayload) -> str:
    hashed = blake2b(digest_size=32)
    for piece in kv_files.write(payload):
        hashed.update(piece)
    return hashed.hexdigest()


def row_name(name: KvName) -> str:
    """Returns the name of a cache's row, which tells nothing about its memories."""
    session = [name.session] if name.session else []
    named = orjson.dumps([name.place.namespace, *_made_of(name).values(), *session])
    return blake2b(named, digest_size=16).hexdigest()


def _made_of(name: KvName) -> dict[str, Any]:
    made_of: dict[str, Any] = {"model": name.model, "sources": _listed(name.sources)}
    if name.adapter is not None:
        adapter = name.adapter
        made_of["adapter"] = [adapter.id, adapter.digest, _listed(adapter.learnt)]
    return made_of


def _derivation(row: Resting) -> Derivation:
    place, name = row.name.place, row.name
    body = orjson.dumps({**_made_of(name), "build_s": row.build_s})
    return Derivation(
        place.tenant, KIND, row_name(name), place.namespace, row.blob, row.size_bytes, body
    )


def resting_of(partition: int, row: Derivation) -> Resting:
    """Rebuilds what is known of a cache from its row."""
    body = orjson.loads(row.body)
    adapter = None
    if "adapter" in body:
        id, digest, learnt = body["adapter"]
        adapter = KvAdapter(id, digest, _versions(learnt))
    place = Place(partition, row.tenant, row.namespace)
    name = KvName(place, body["model"], _versions(body["sources"]), adapter=adapter)
    return Resting(name, row.blob, row.size_bytes, body["build_s"])


def _listed(versions: Iterable[SourceVersion]) -> list[list[str | int]]:
    return [[one.cube_id, one.version] for one in versions]


def _versions(listed: Iterable[Iterable[Any]]) -> tuple[SourceVersion, ...]:
    return tuple(SourceVersion(cube_id, number) for cube_id, number in listed)
