"""How fast texts are archived and restored: by one shard, and by one a core at once."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.synthetic import turns
from memos_ray.actors import interpreter
from memos_ray.actors.lifecycle.archiving import ArchiveConsumer
from memos_ray.actors.vault.transactions import Transactions
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.cluster.clock import SystemClock
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.operations import Archive, Create, Operation, Restore, Write
from memos_ray.core.vault.planning import Submission
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
    ids = [f"c-{number:08}" for number in range(memories)]
    said = turns(memories)
    made = [Create(Plaintext(t.text), id=i) for i, t in zip(ids, said, strict=True)]
    _run(store, partition, made)
    lsn = store.last_lsn(partition)

    def archive_texts() -> None:
        asyncio.run(_follow(store, partition, blobs, lsn))

    stages: dict[str, Callable[[], None]] = {
        "archive_moves": lambda: _run(store, partition, [Archive(id) for id in ids]),
        "archive_texts": archive_texts,
        "restore": lambda: _run(store, partition, [Restore(id) for id in ids]),
    }
    spent: Spent = {}
    for name, work in stages.items():
        begin()
        clock_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        spent[name] = time.perf_counter() - clock_s, time.process_time() - cpu_s
    store.close()
    archive = (spent["archive_moves"], spent["archive_texts"])
    return {"archive": (sum(s[0] for s in archive), sum(s[1] for s in archive))} | spent


def _run(store: RecordStorePort, partition: int, operations: Sequence[Operation]) -> None:
    running = Transactions(partition, 1, store, OwnerGuard(), SystemClock())
    lsn = store.last_lsn(partition)
    for start in range(0, len(operations), _BATCH):
        some = operations[start : start + _BATCH]
        submissions = [Submission(_ANN, Write("notes", one)) for one in some]
        commit, outcomes = running.run(submissions, lsn, True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        lsn = commit.events[-1].lsn


async def _follow(store: RecordStorePort, partition: int, blobs: BlobStore, after: int) -> None:
    def damaged(error: Exception) -> None:
        raise error

    with ThreadPoolExecutor(1) as executor:
        consumer = ArchiveConsumer(
            partition,
            1,
            store=store,
            blobs=lambda: blobs,
            clock=SystemClock(),
            executor=executor,
            on_damaged=damaged,
        )
        while events := store.events(partition, after, _PAGE):
            await consumer.consume(events)
            after = events[-1].lsn
