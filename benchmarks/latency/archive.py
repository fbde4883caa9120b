"""How fast texts are archived and restored: by one shard, and by one a core at once."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.synthetic import turns
from memos_ray.actors import interpreter
from memos_ray.actors.lifecycle.archiving import ArchiveConsumer, Outcomes, Stubs
from memos_ray.actors.lifecycle.sweeping import FILE
from memos_ray.actors.vault.transactions import Transactions
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.cluster.clock import SystemClock
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Age, Archive, Create, Operation, Restore, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError
from memos_ray.ports import RecordStorePort
from memos_ray.testing.guards import OwnerGuard

_BATCH = 1000
_PAGE = 4096
_TOGETHER_S = 600.0
_ANN = CallContext(Principal("default", "user:admin"))

Spent = dict[str, tuple[float, float]]
"""Seconds by the clock and of the process's own CPU, by stage."""


def measure(memories: int, shards: int) -> dict[str, object]:
    """Archives and restores memories, their texts included; returns the rates.

    `one_shard` is of one process that does nothing else; `per_cpu_s` is by the time of its own CPU,
    which on a busy machine is less than the clock's. `machine` is of `shards` processes with a
    partition each, in one folder, which begin each stage together: all their memories over the time
    of the slowest. None of them waits for another otherwise.

    Args:
        memories: of each shard.
    """
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        alone = _archived(Path(folder), 0, memories, lambda: None)
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        pool = ProcessPoolExecutor(
            shards, mp_context=context, initializer=_join, initargs=(context.Barrier(shards),)
        )
        with pool:
            runs = [pool.submit(_beside, folder, number, memories) for number in range(shards)]
            each = [run.result() for run in runs]
    return {
        "memories": memories,
        "cores": os.cpu_count(),
        "one_shard": {
            stage: {"per_s": round(memories / clock_s), "per_cpu_s": round(memories / cpu_s)}
            for stage, (clock_s, cpu_s) in alone.items()
        },
        "machine": {"shards": shards}
        | {
            stage: {"per_s": round(shards * memories / max(one[stage][0] for one in each))}
            for stage in alone
        },
    }


class _Beside:
    """What a process shares with those that measure at the same time."""

    barrier: Barrier


def _join(barrier: Barrier) -> None:
    _Beside.barrier = barrier


def _beside(folder: str, partition: int, memories: int) -> Spent:
    def together() -> None:
        _Beside.barrier.wait(_TOGETHER_S)

    return _archived(Path(folder), partition, memories, together)


def _archived(folder: Path, partition: int, memories: int, begin: Callable[[], None]) -> Spent:
    interpreter.tune()
    # A process does so once, however much it archives.
    importlib.import_module("pyarrow.parquet")
    blobs = BlobStore.local(folder / "blobs")
    store = SqlRecordStore.embedded(folder / "records", ArchivedContents(lambda: blobs))
    store.take(partition, "bench", 1)
    with ThreadPoolExecutor(1) as executor:
        shard = _Shard(partition, store, blobs, executor)
        ids = [f"c-{number:08}" for number in range(memories)]
        said = turns(memories)
        shard.run([Create(Plaintext(t.text), id=i) for i, t in zip(ids, said, strict=True)])
        shard.pass_over()
        # A shard looks for what was interrupted when it begins.
        asyncio.run(shard.follow())
        # A sweep has read what is due to judge it.
        due = store.bodies(partition, [CubeKey("default", id) for id in ids])
        stages: dict[str, Callable[[], None]] = {
            "archive": lambda: asyncio.run(shard.age(due)),
            "restore": lambda: shard.run([Restore(id) for id in ids]),
            "asked_moves": lambda: shard.run([Archive(id) for id in ids]),
            "asked_texts": lambda: asyncio.run(shard.follow()),
        }
        spent: Spent = {}
        for name, work in stages.items():
            begin()
            clock_s, cpu_s = time.perf_counter(), time.process_time()
            work()
            spent[name] = time.perf_counter() - clock_s, time.process_time() - cpu_s
            if name == "restore":
                shard.pass_over()
    store.close()
    asked = (spent["asked_moves"], spent["asked_texts"])
    return spent | {"asked": (sum(s[0] for s in asked), sum(s[1] for s in asked))}


class _Shard:
    """What a shard does for one partition, without its actor."""

    def __init__(
        self, partition: int, store: RecordStorePort, blobs: BlobStore, executor: Executor
    ) -> None:
        self._partition = partition
        self._store = store
        self._transactions = Transactions(partition, 1, store, OwnerGuard(), SystemClock())
        self._after = 0
        self._consumer = ArchiveConsumer(
            partition,
            1,
            store=store,
            blobs=lambda: blobs,
            clock=SystemClock(),
            executor=executor,
            on_damaged=_raised,
        )

    def run(self, operations: Sequence[Operation]) -> None:
        """Carries out operations, some in each transaction."""
        lsn = self._store.last_lsn(self._partition)
        for start in range(0, len(operations), _BATCH):
            some = operations[start : start + _BATCH]
            submissions = [Submission(_ANN, Write("notes", one)) for one in some]
            commit, outcomes = self._transactions.run(submissions, lsn, True)
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
            if commit.stowed:
                self._consumer.stowed(commit)
            lsn = commit.events[-1].lsn

    async def age(self, due: Sequence[StoredVersion]) -> None:
        """Archives memories as a sweep does, and follows the log."""
        for start in range(0, len(due), FILE):
            some = due[start : start + FILE]
            await self._consumer.put_away(some, 0, partial(self._aged, some))
        await self.follow()

    async def _aged(self, due: Sequence[StoredVersion], stubs: Stubs) -> Outcomes:
        why = Move.ARCHIVE, Cause.UNUSED
        keys = [CubeKey(one.tenant, one.id) for one in due]
        self.run([Age(key.id, *why, 1, stubs[key]) for key in keys])
        return []

    async def follow(self) -> None:
        """Has the archive see what it does not know of the log."""
        self._after = self._consumer.passed(self._after)
        while events := self._store.events(self._partition, self._after, _PAGE):
            await self._consumer.consume(events)
            self._after = events[-1].lsn

    def pass_over(self) -> None:
        """Leaves what the log holds out of what is measured."""
        self._after = self._store.last_lsn(self._partition)


def _raised(error: MemosError) -> None:
    raise error
