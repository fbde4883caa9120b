"""Receipts at rest: written before an erasure is acknowledged, signed when nothing is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from memos_ray.actors import adapter_rows, kv_rest, lesson_rows
from memos_ray.actors.activation import ActivationMemory
from memos_ray.actors.guard import PolicyGuard
from memos_ray.actors.parameter import ParameterMemory
from memos_ray.actors.patience import patiently
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.core.defects import describe_defect
from memos_ray.core.parameter import TeachingState
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt, done
from memos_ray.errors import FencedError, MemosError, NotFoundError
from memos_ray.ports import (
    ClockPort,
    Derivation,
    EventQuery,
    GovernancePort,
    RecordStorePort,
)

KIND = "receipt"
_LOOK_MIN_S = 0.1
_LOOK_MAX_S = 10.0
_SAVE_S = 5.0
_LOG_PAGE = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _RowLeft:
    """A row of something derived.

    Attributes:
        ids: of the memories that it was made of, for whose receipts this alone is reason enough.
    """

    thing: ErasedThing
    tenant: str
    ids: frozenset[str] = frozenset()


class Receipts:
    """Says of each erasure what it has retired, and when nothing of that was left.

    What is left is looked up, not assumed: rows go after the files that they name, and after the
    replicas have confirmed, so that whatever has no row is gone. What has one and was made of the
    memory is on its receipt, known to this shard at the erasure or not. The log is the truth:
    for an erasure whose receipt a crash has prevented, one is made from its entry there when
    somebody asks.

    Concurrency: methods run on the actor's event loop; rows are read and written on `executor`.

    Complexity: to show one, the receipts of its partition are read.
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
    ) -> None:
        self._activation = activation
        self._parameter = parameter
        self._store = store
        self._guard = guard
        self._governance = governance
        self._clock = clock
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._followers: dict[int, Mapping[Derived, Callable[[], int]]] = {}
        self._pending: dict[int, dict[CubeKey, Receipt]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._saving: set[asyncio.Task[None]] = set()

    def open(
        self, partition: int, epoch: int, followers: Mapping[Derived, Callable[[], int]]
    ) -> None:
        """Takes over a partition, and goes on with its receipts.

        Args:
            followers: how far those have come that erase what the log tells them to.
        """
        self._epochs[partition] = epoch
        self._followers[partition] = followers
        self._pending[partition] = {}
        self._tasks[partition] = asyncio.create_task(self._follow(partition, known=False))

    def drop(self, partition: int) -> None:
        """Leaves a partition to its next owner."""
        self._epochs.pop(partition, None)
        self._pending.pop(partition, None)
        task = self._tasks.pop(partition, None)
        if task is not None:
            task.cancel()

    def note(self, commit: Commit) -> None:
        """Begins the receipts of what a commit erases; called before anything of it is retired."""
        for event in commit.events:
            if _erasure(event):
                self._begin(commit.partition, event)

    async def written(self) -> None:
        """Returns when the receipts that were begun are at rest, or this takes too long."""
        if self._saving:
            await asyncio.wait(list(self._saving), timeout=_SAVE_S)

    async def show(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns a receipt to who has erased the memory, and to who may read the tenant's log.

        Raises:
            NotFoundError: there is none for this caller.
        """
        policy = await self._guard.ensure_for(context)
        tenant = context.principal.tenant
        key = CubeKey(tenant, cube_id)
        receipt = self._pending.get(partition, {}).get(key) or await self._rest(partition, key)
        audits = policy.may_administer(context, TENANT_ITSELF, self._clock.now())
        query = EventQuery(tenant=tenant, cube_id=cube_id, operation=ERASE)
        if receipt is None:
            events = await self._run(self._store.events, partition, 0, _LOG_PAGE, query)
            erasures = [event for event in events if _erasure(event)]
            if erasures and (audits or erasures[-1].principal == context.principal.id):
                receipt = self._begin(partition, erasures[-1])
        if receipt is None or not (audits or receipt.principal == context.principal.id):
            raise NotFoundError("there is no such receipt", cube_id=cube_id)
        if policy.out_of_role(context, receipt.namespace):
            raise NotFoundError("there is no such receipt", cube_id=cube_id)
        return receipt

    async def close(self) -> None:
        """Leaves what is pending to the next owner."""
        tasks = [*self._tasks.values(), *self._saving]
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, partition: int, event: Event) -> Receipt:
        assert event.cube_id is not None
        key = CubeKey(event.tenant, event.cube_id)
        things = [ErasedThing(Derived.EMBEDDINGS, event.cube_id, done_at=event.at)]
        things += [
            ErasedThing(Derived.KV, kv_rest.row_name(name))
            for name in self._activation.touching(partition, key)
        ]
        things += self._parameter.touching(partition, key)
        things += [ErasedThing(kind, event.cube_id) for kind in self._followers.get(partition, ())]
        receipt = Receipt(
            event.tenant,
            event.namespace,
            event.cube_id,
            event.principal,
            partition,
            event.lsn,
            event.at,
            tuple(dict.fromkeys(things)),
        )
        pending = self._pending.get(partition)
        if pending is not None:
            pending[key] = receipt
            saving = asyncio.create_task(self._save_first(receipt))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)
            if self._tasks[partition].done():
                self._tasks[partition] = asyncio.create_task(self._follow(partition))
        return receipt

    async def _save_first(self, receipt: Receipt) -> None:
        try:
            await self._save(receipt)
        except MemosError as error:
            # It is written when it is complete, or made anew from the log.
            _log.warning("a receipt is not yet written: %s", error.code)

    async def _follow(self, partition: int, known: bool = True) -> None:
        """Completes what is pending, until nothing is."""
        try:
            if not known:
                rows = await patiently(lambda: self._rows(partition), "receipts")
                for receipt in rows:
                    if not receipt.signature:
                        key = CubeKey(receipt.tenant, receipt.memory_id)
                        self._pending[partition].setdefault(key, receipt)
            pause_s = _LOOK_MIN_S
            while self._pending.get(partition):
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LOOK_MAX_S)
                try:
                    await self._look(partition)
                except FencedError:
                    return
                except MemosError as error:
                    _log.warning("receipts are not yet complete: %s", error.code)
        except Exception as error:
            _log.error("receipts cannot be completed: %s", describe_defect(error))

    async def _look(self, partition: int) -> None:
        waiting = dict(self._pending[partition])
        rows = await self._rows_left(partition)
        left = frozenset((row.thing.kind, row.thing.name) for row in rows)
        for key, receipt in waiting.items():
            own = {
                (kind, key.id)
                for kind, position in self._followers[partition].items()
                if position() < receipt.lsn
            }
            found = done(_with(receipt, rows), left | own, self._clock.now())
            if found.completed_at is not None:
                signature = await self._governance.attest(receipt.tenant, found.digest)
                found = replace(found, signature=signature)
            if found.things != receipt.things or found.signature:
                await self._save(found)
            if self._pending[partition].get(key) is receipt:
                if found.signature:
                    del self._pending[partition][key]
                else:
                    self._pending[partition][key] = found

    async def _rows_left(self, partition: int) -> list[_RowLeft]:
        """Returns what has rows still."""
        found = []
        for row in await self._run(self._store.derivations, partition, kv_rest.KIND):
            name = kv_rest.resting_of(partition, row).name
            ids = frozenset(key.id for key in name.keys)
            found.append(_RowLeft(ErasedThing(Derived.KV, row.name), row.tenant, ids))
        for row in await self._run(self._store.derivations, partition, adapter_rows.KIND):
            adapter = adapter_rows.adapter_of(partition, row)
            ids = frozenset([adapter.id, *(source.cube_id for source in adapter.sources)])
            thing = ErasedThing(Derived.ADAPTER, adapter.id, adapter.digest)
            found.append(_RowLeft(thing, row.tenant, ids))
            # What a lesson that was cut off has laid down already.
            found.append(_RowLeft(ErasedThing(Derived.LESSON, adapter.id), row.tenant))
        for row in await self._run(self._store.derivations, partition, lesson_rows.KIND):
            lesson = lesson_rows.lesson_of(partition, row)
            if lesson.state is TeachingState.TRAINING:
                ids = frozenset(source.cube_id for source in lesson.sources)
                found.append(_RowLeft(ErasedThing(Derived.LESSON, row.name), row.tenant, ids))
        return found

    async def _rest(self, partition: int, key: CubeKey) -> Receipt | None:
        rows = await self._rows(partition)
        return next(
            (one for one in rows if (one.tenant, one.memory_id) == (key.tenant, key.id)), None
        )

    async def _rows(self, partition: int) -> list[Receipt]:
        rows: Iterable[Derivation] = await self._run(self._store.derivations, partition, KIND)
        return [_receipt_of(partition, row) for row in rows]

    async def _save(self, receipt: Receipt) -> None:
        epoch = self._epochs.get(receipt.partition)
        if epoch is not None:
            await self._run(self._store.save_derivation, receipt.partition, epoch, _row_of(receipt))

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _erasure(event: Event) -> bool:
    return event.operation == ERASE and event.outcome is Outcome.DONE and event.cube_id is not None


def _with(receipt: Receipt, rows: Iterable[_RowLeft]) -> Receipt:
    """Adds what has a row that names the memory."""
    known = {(thing.kind, thing.name) for thing in receipt.things}
    more = [
        row.thing
        for row in rows
        if row.tenant == receipt.tenant
        and receipt.memory_id in row.ids
        and (row.thing.kind, row.thing.name) not in known
    ]
    return replace(receipt, things=(*receipt.things, *more))


def _row_of(receipt: Receipt) -> Derivation:
    body = orjson.dumps(
        {
            "principal": receipt.principal,
            "lsn": receipt.lsn,
            "erased_at": to_micros(receipt.erased_at),
            "completed_at": _micros(receipt.completed_at),
            "things": [
                [thing.kind, thing.name, thing.digest, _micros(thing.done_at)]
                for thing in receipt.things
            ],
            "signature": receipt.signature.hex(),
        }
    )
    return Derivation(receipt.tenant, KIND, receipt.memory_id, receipt.namespace, "", 0, body)


def _receipt_of(partition: int, row: Derivation) -> Receipt:
    body = orjson.loads(row.body)
    return Receipt(
        row.tenant,
        row.namespace,
        row.name,
        body["principal"],
        partition,
        body["lsn"],
        from_micros(body["erased_at"]),
        tuple(
            ErasedThing(Derived(kind), name, digest, None if at is None else from_micros(at))
            for kind, name, digest, at in body["things"]
        ),
        None if body["completed_at"] is None else from_micros(body["completed_at"]),
        bytes.fromhex(body["signature"]),
    )


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)
