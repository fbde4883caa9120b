"""A sweep over many memories while somebody searches."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.latency.shard import Bench, open_bench
from benchmarks.metrics import percentile, spread_ms
from benchmarks.processes import settled_rss_bytes
from benchmarks.synthetic import questions, turns
from memos_ray.actors import interpreter
from memos_ray.actors.vault.partition import ARCHIVE_FEED, BRANCH_FEED, EMBED_FEED, ORGANISE_FEED
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Decay, Forever
from memos_ray.testing.cubes import make_commit, make_cube
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process

T = TypeVar("T")

_BATCH = 1000
_PAGE = 4096
_WARM = 20
_DUE = 10
_ARCHIVED = "archive/decay"
_ALONE_S = 10.0
_PUT_AWAY_S = 600.0
_LOOK_S = 0.1
_ANN = CallContext(Principal("default", "user:admin"))


def measure(memories: int, searched: int, searches: int) -> dict[str, object]:
    """Sweeps a partition and returns the figures.

    Args:
        memories: looked at by the sweep; one in ten is due to be archived. Searches are asked one
            after another until the last one has been, so that all of it is done beside them.
        searched: in the namespace that is searched meanwhile, in the same partition.
    """
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        _fill(Path(folder) / "records", memories)
        return asyncio.run(_swept(Path(folder), memories, searched, searches))


def _batched(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, _BATCH)):
        yield some


def _fill(folder: Path, memories: int) -> None:
    """Stores memories as if they had been followed by every consumer of the log already."""
    store = SqlRecordStore.embedded(folder)
    store.take(0, "filler", 1)
    lsn = 0
    for some in _batched(_filling(memories)):
        store.commit(make_commit(some, after=lsn))
        lsn += len(some)
    space = HashingEmbedder().space.digest
    for cursor in (f"{EMBED_FEED}:{space}", ORGANISE_FEED, ARCHIVE_FEED, BRANCH_FEED):
        store.advance(0, 1, cursor, lsn)
    store.close()


def _filling(memories: int) -> Iterator[MemCube]:
    for number, turn in enumerate(turns(memories)):
        lifespan = Forever() if number % _DUE else Decay(1.0)
        yield make_cube(
            turn.text, id=f"old-{number:08}", tenant="default", namespace="old", lifespan=lifespan
        )


async def _swept(folder: Path, memories: int, searched: int, searches: int) -> dict[str, object]:
    interpreter.tune()
    vault = VaultSettings(partitions=1)
    schedule = LifecycleSettings(enabled=False)
    async with in_process(
        folder,
        embedder=HashingEmbedder(),
        settings=vault,
        lifecycle=schedule,
        timeout_s=3600.0,
    ) as memos:
        bench = await open_bench(memos, await memos.namespace("user:admin/now"))
        said = turns(searched)
        await bench.fill(said)
        await bench.embedded()
        asked = questions(said, searches + _WARM)
        await bench.ask(asked[:_WARM])
        return await _while_sweeping(memos, bench, asked[_WARM:], memories + searched, searched)


async def _alone(bench: Bench, asked: list[str]) -> list[float]:
    # As long as other processes need to show in it as well.
    taken: list[float] = []
    until = time.perf_counter() + _ALONE_S
    while time.perf_counter() < until:
        taken += await bench.ask([asked[len(taken) % len(asked)]])
        await asyncio.sleep(0)
    return taken


async def _put_away(bench: Bench) -> None:
    """Waits until the texts of what was archived are in files, which is no part of a sweep."""
    store, partition = bench.memos.store, bench.partition
    async with asyncio.timeout(_PUT_AWAY_S):
        while store.cursor(partition, ARCHIVE_FEED) < store.last_lsn(partition):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)


async def _while_sweeping(
    memos: InProcess, bench: Bench, asked: list[str], memories: int, searched: int
) -> dict[str, object]:
    # Code that a process loads once is no growth with what is swept.
    importlib.import_module("pyarrow.parquet")
    alone = await _alone(bench, asked)
    before, peak = settled_rss_bytes(), 0
    started = time.perf_counter()
    sweeping = asyncio.create_task(memos.doorway.lifecycle.sweep(memos.administrator))
    during: list[float] = []
    while not sweeping.done():
        during += await bench.ask([asked[len(during) % len(asked)]])
        peak = max(peak, psutil.Process().memory_info().rss)
        await asyncio.sleep(0)
    report = await sweeping
    took_s = time.perf_counter() - started
    # Before and after, since what else the machine does changes while a long sweep runs.
    await _put_away(bench)
    alone += await _alone(bench, asked)
    due = -(-(memories - searched) // _DUE)
    if report.seen != memories or report.moves != {_ARCHIVED: due}:
        raise RuntimeError("the sweep has not seen and moved what it should have")
    return {
        "looked_at_during": report.seen,
        "moved_during": due,
        "took_s": round(took_s, 1),
        "looked_at_per_s": round(memories / took_s),
        "moved_per_s": round(due / took_s),
        "rss_growth_mib": round((peak - before) / 2**20, 1),
        "search_alone": spread_ms(alone),
        "search_during": spread_ms(during),
        "searches_during": len(during),
        "p95_ratio": round(percentile(during, 0.95) / percentile(alone, 0.95), 2),
    }
