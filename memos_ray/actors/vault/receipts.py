"""Receipts at rest: written before an erasure is acknowledged, signed when nothing is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import compress
from typing import Any

from memos_ray.actors.activation import kv_rest
from memos_ray.actors.activation.activation import ActivationMemory
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.patience import patiently
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.offspring import Offspring, Pending
from memos_ray.actors.vault.receipt_pace import LookPace
from memos_ray.actors.vault.receipt_parts import (
    is_collected,
    is_erasure,
    listing,
    newest_about,
    together,
    with_rows,
)
from memos_ray.actors.vault.receipt_rows import (
    COLLECTED,
    KIND,
    WAITING,
    name_of,
    receipt_of,
    row_of,
)
from memos_ray.actors.vault.remains import Naming, Remains
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.defects import describe_defect
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event
from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt, done
from memos_ray.errors import FencedError, MemosError, NotFoundError
from memos_ray.ports import (
    Among,
    ClockPort,
    Derivation,
    EventQuery,
    GovernancePort,
    RecordStorePort,
    RunJournalsPort,
)

_SAVE_S = 5.0
_LOG_PAGE = 1000
_log = logging.getLogger(__name__)

Settled = Callable[[int, Set[CubeKey]], bool]
"""Tells whether all has been done that the log says of memories, up to an LSN."""

_Name = tuple[str, str]
"""The tenant of a receipt, and how its row is named."""


class Receipts:
    """Says of each erasure what it has retired, and when nothing of that was left.

    What is left is looked up, not assumed: rows go after the files that they name, and after the
    replicas have confirmed, so that whatever has no row is gone. What has one and was made of the
    memory is on its receipt, known to this shard at the erasure or not. Memories that were made of
    it, and versions in branches, have receipts of their own, which it waits for. The log is the
    truth: for an erasure whose receipt a crash has prevented, one is made from its entry there when
    somebody asks.

    Concurrency: methods run on the actor's event loop; rows are read and written on `executor`.

    Complexity: to show one that is complete, its own row is read; of what a sweep has collected,
    the receipts of the namespace are. A partition is opened with the pending ones alone; those of
    sweeps are read once, when old ones are first forgotten.
    """

    def __init__(
        self,
        activation: ActivationMemory,
        parameter: ParameterMemory,
        *,
        store: RecordStorePort,
        guard: PolicyGuard,
        governance: GovernancePort,
        clock: ClockPort,
        executor: Executor,
        opinions_of: Naming,
        journals: RunJournalsPort | None = None,
    ) -> None:
        """Takes what it asks; for `opinions_of` see `Remains`."""
        self._journals = journals
        self._activation = activation
        self._parameter = parameter
        self._store = store
        self._guard = guard
        self._governance = governance
        self._clock = clock
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._followers: dict[int, Mapping[Derived, Settled]] = {}
        # As their rows are named, so that what replaces a receipt here does so at rest.
        self._pending: dict[int, dict[_Name, Receipt]] = {}
        self._begun: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        # The first writes of receipts, by partition and name.
        self._saving: dict[tuple[int, _Name], asyncio.Task[None]] = {}
        # Of sweeps: when they were complete, by tenant and name.
        self._collected: dict[int, dict[tuple[str, str], datetime]] = {}
        self._offspring = Offspring(store, executor)
        self._remains = Remains(store, executor, opinions_of)

    def open(self, partition: int, epoch: int, followers: Mapping[Derived, Settled]) -> None:
        """Takes over a partition, and goes on with its receipts.

        Args:
            followers: whether those have come so far that erase what the log tells them to.
        """
        self._epochs[partition] = epoch
        self._followers[partition] = followers
        self._pending[partition] = {}
        self._begun[partition] = asyncio.Event()
        self._tasks[partition] = asyncio.create_task(self._follow(partition, known=False))

    def drop(self, partition: int) -> None:
        """Leaves a partition to its next owner."""
        self._epochs.pop(partition, None)
        self._pending.pop(partition, None)
        self._followers.pop(partition, None)
        self._begun.pop(partition, None)
        self._collected.pop(partition, None)
        self._offspring.drop(partition)
        task = self._tasks.pop(partition, None)
        if task is not None:
            task.cancel()

    def note(self, commit: Commit) -> None:
        """Begins the receipts of what a commit erases; called before anything of it is retired."""
        for events in together([event for event in commit.events if is_erasure(event)]):
            self._begin(commit.partition, events)

    async def written(self) -> None:
        """Returns when the receipts that were begun are at rest, or this takes too long."""
        if self._saving:
            await asyncio.wait(list(self._saving.values()), timeout=_SAVE_S)

    async def show(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns a receipt to who has erased the memory, and to who may read the tenant's log.

        Raises:
            NotFoundError: there is none for this caller.
        """
        policy = await self._guard.ensure_for(context)
        tenant = context.principal.tenant
        key = CubeKey(tenant, cube_id)
        pending = self._pending.get(partition, {}).values()
        receipt = newest_about(pending, key)
        audits = policy.may_administer(context, TENANT_ITSELF, self._clock.now())
        query = EventQuery(tenant=tenant, cube_id=cube_id, operation=ERASE)
        if receipt is None:
            events = await self._run(self._store.events, partition, 0, _LOG_PAGE, query)
            erasures = [event for event in events if is_erasure(event)][-1:]
            for erasure in erasures:
                receipt = await self._at_rest(partition, key, erasure)
            own = erasures and erasures[0].principal == context.principal.id
            if receipt is None and erasures and (audits or own):
                receipt = self._begin(partition, erasures)
        if receipt is None or not (audits or receipt.principal == context.principal.id):
            raise NotFoundError("there is no such receipt", cube_id=cube_id)
        if policy.out_of_role(context, receipt.namespace):
            raise NotFoundError("there is no such receipt", cube_id=cube_id)
        return receipt

    async def prune(self, partition: int, keep: timedelta) -> int:
        """Forgets receipts of what sweeps have collected that have been complete for so long.

        Returns:
            How many.
        """
        before = self._clock.now() - keep
        held = await self._swept(partition)
        old = [one for one, done_at in held.items() if done_at <= before]
        forget, epoch = self._store.forget_derivations, self._epochs.get(partition)
        if epoch is None:
            return 0
        for tenant in {tenant for tenant, _ in old}:
            names = [name for whose, name in old if whose == tenant]
            await self._run(forget, partition, epoch, tenant, COLLECTED, names)
        for one in old:
            held.pop(one, None)
        return len(old)

    async def close(self) -> None:
        """Leaves what is pending to the next owner."""
        tasks = [*self._tasks.values(), *self._saving.values()]
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, partition: int, events: Sequence[Event]) -> Receipt:
        """Begins the receipt of an erasure, or of what a sweep has collected in one transaction."""
        event, ids = events[-1], [event.cube_id or "" for event in events]
        key = CubeKey(event.tenant, ids[0])
        things = [ErasedThing(Derived.EMBEDDINGS, key.id, done_at=event.at)]
        for one in (CubeKey(event.tenant, cube_id) for cube_id in ids):
            things += [
                ErasedThing(Derived.KV, kv_rest.row_name(name))
                for name in self._activation.touching(partition, one)
            ]
            things += self._parameter.touching(partition, one)
        things += [ErasedThing(kind, key.id) for kind in self._followers.get(partition, ())]
        if self._journals is not None:
            things.append(ErasedThing(Derived.JOURNAL, key.id))
        receipt = Receipt(
            event.tenant,
            event.namespace,
            key.id,
            event.principal,
            partition,
            event.lsn,
            event.at,
            tuple(dict.fromkeys(things)),
            memory_ids=tuple(ids) if is_collected(event) else (),
        )
        pending = self._pending.get(partition)
        if pending is not None:
            name = _name(receipt)
            pending[name] = receipt
            place = partition, name
            saving = asyncio.create_task(self._save_first(receipt, self._saving.get(place)))
            self._saving[place] = saving
            saving.add_done_callback(partial(self._saved, place))
            self._begun[partition].set()
            if self._tasks[partition].done():
                self._tasks[partition] = asyncio.create_task(self._follow(partition))
        return receipt

    async def _save_first(self, receipt: Receipt, before: asyncio.Task[None] | None) -> None:
        """Writes a new receipt, behind the one before it that has the same name."""
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._save(receipt)
        except MemosError as error:
            # It is written when it is complete, or made anew from the log.
            _log.warning("a receipt is not yet written: %s", error.code)

    def _saved(self, place: tuple[int, _Name], saving: asyncio.Task[None]) -> None:
        if self._saving.get(place) is saving:
            del self._saving[place]

    async def _follow(self, partition: int, known: bool = True) -> None:
        """Completes what is pending, until nothing is."""
        try:
            if not known:
                for receipt in await patiently(lambda: self._left(partition), "receipts"):
                    self._pending[partition].setdefault(_name(receipt), receipt)
            pace = LookPace()
            while self._pending.get(partition):
                if await self._begun_within(partition, pace.pause_s):
                    pace.begun()
                    await asyncio.sleep(pace.pause_s)
                started = self._clock.monotonic()
                try:
                    await self._look(partition)
                except FencedError:
                    return
                except MemosError as error:
                    _log.warning("receipts are not yet complete: %s", error.code)
                pace.looked(self._clock.monotonic() - started)
        except Exception as error:
            _log.error("receipts cannot be completed: %s", describe_defect(error))

    async def _begun_within(self, partition: int, pause_s: float) -> bool:
        """Waits, but no longer than until a receipt is begun; tells whether one was."""
        begun = self._begun[partition]
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await begun.wait()
        new = begun.is_set()
        begun.clear()
        return new

    async def _look(self, partition: int) -> None:
        waiting = dict(self._pending[partition])
        rows = await self._remains.of(partition, waiting.values())
        # By tenant: memories of two may have one id.
        left: dict[str, set[tuple[Derived, str]]] = {tenant: set() for tenant, _ in waiting}
        for row in rows:
            left[row.tenant].add((row.thing.kind, row.thing.name))
        if self._journals is not None:
            erased = [(one.tenant, one.erased) for one in waiting.values()]
            held = await self._run(self._journals.holding, erased)
            for receipt in compress(waiting.values(), held):
                left[receipt.tenant].add((Derived.JOURNAL, receipt.memory_id))
        pending = Pending.of(waiting.values())
        for name, receipt in waiting.items():
            keys = {CubeKey(receipt.tenant, id) for id in receipt.erased}
            own = {
                (kind, receipt.memory_id)
                for kind, settled in self._followers[partition].items()
                if not settled(receipt.lsn, keys)
            }
            made = await self._offspring.look(partition, receipt, pending)
            listed = listing(with_rows(receipt, rows), made.texts)
            still = own.union(left[receipt.tenant], made.left)
            found = done(listed, frozenset(still), self._clock.now())
            if found.completed_at is not None:
                signature = await self._governance.attest(receipt.tenant, found.digest)
                found = replace(found, signature=signature)
            if found.things != receipt.things or found.signature:
                first = self._saving.get((partition, name))
                if first is not None:
                    # What it was at first is not to be written behind this.
                    await asyncio.wait([first])
                if self._pending[partition].get(name) is not receipt:
                    continue
                await self._save(found)
            if self._pending[partition].get(name) is receipt:
                if found.signature:
                    del self._pending[partition][name]
                    self._offspring.forget(partition, found)
                else:
                    self._pending[partition][name] = found

    async def _at_rest(self, partition: int, key: CubeKey, erasure: Event) -> Receipt | None:
        """Returns the receipt of an erasure, of the memory alone or with others of a sweep."""
        kind, among = KIND, Among(key.tenant, names=(key.id,))
        if is_collected(erasure):
            kind, among = COLLECTED, Among(key.tenant, erasure.namespace)
        rows = await self._rows(partition, kind, among)
        found = newest_about([*rows, *await self._rows(partition, WAITING, among)], key)
        return found if found is not None and found.lsn >= erasure.lsn else None

    async def _left(self, partition: int) -> list[Receipt]:
        """Returns what an owner before this one has left pending."""
        rows = await self._rows(partition, WAITING)
        complete = set[tuple[str, int]]()
        for tenant in {row.tenant for row in rows}:
            names = tuple(name_of(row) for row in rows if row.tenant == tenant)
            for kind in (KIND, COLLECTED):
                found = await self._rows(partition, kind, Among(tenant, names=names))
                complete.update((one.tenant, one.lsn) for one in found)
        for row in rows:
            if (row.tenant, row.lsn) in complete:
                # It was cut off behind the last word.
                await self._wait_no_longer(row)
        return [row for row in rows if (row.tenant, row.lsn) not in complete]

    async def _swept(self, partition: int) -> dict[tuple[str, str], datetime]:
        """Returns when the receipts of what sweeps have collected were complete."""
        held = self._collected.get(partition)
        if held is None:
            # What is complete meanwhile is told to it.
            held = self._collected[partition] = {}
            try:
                for one in await self._rows(partition, COLLECTED):
                    if one.completed_at is not None:
                        held[one.tenant, name_of(one)] = one.completed_at
            except BaseException:
                self._collected.pop(partition, None)
                raise
        return held

    async def _rows(self, partition: int, kind: str, among: Among | None = None) -> list[Receipt]:
        rows: Iterable[Derivation] = await self._run(
            self._store.derivations, partition, kind, among
        )
        return [receipt_of(partition, row) for row in rows]

    async def _save(self, receipt: Receipt) -> None:
        epoch = self._epochs.get(receipt.partition)
        if epoch is None:
            return
        await self._run(self._store.save_derivation, receipt.partition, epoch, row_of(receipt))
        if receipt.completed_at is not None and receipt.signature:
            await self._wait_no_longer(receipt)
            held = self._collected.get(receipt.partition)
            if receipt.memory_ids and held is not None:
                held[receipt.tenant, name_of(receipt)] = receipt.completed_at

    async def _wait_no_longer(self, receipt: Receipt) -> None:
        epoch = self._epochs.get(receipt.partition)
        if epoch is not None:
            forget, names = self._store.forget_derivations, [name_of(receipt)]
            await self._run(forget, receipt.partition, epoch, receipt.tenant, WAITING, names)

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _name(receipt: Receipt) -> _Name:
    return receipt.tenant, name_of(receipt)
