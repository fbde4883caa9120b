"""RAM that a memory takes while its namespace is resident: what the process grows by."""

from __future__ import annotations

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.isolation import isolated
from benchmarks.latency.shard import open_bench
from benchmarks.processes import settled_rss_bytes
from benchmarks.synthetic import questions, turns
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.cluster.clock import SystemClock
from memos_ray.config import VaultSettings
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex, RetrievalQuery
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import in_process

_ASKED = 20
_BUDGET = 64 << 30


def measure(memories: int) -> dict[str, object]:
    """Stores a namespace in one process, makes it resident in another and returns the figures."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        partition, namespace = isolated(_store, folder, memories)
        return isolated(_hold, folder, partition, namespace, memories)


def _store(folder: str, memories: int) -> tuple[int, str]:
    return asyncio.run(_fill(Path(folder), memories))


async def _fill(folder: Path, memories: int) -> tuple[int, str]:
    settings = VaultSettings(partitions=1, resident_bytes=_BUDGET)
    async with in_process(
        folder, embedder=HashingEmbedder(), settings=settings, timeout_s=600.0
    ) as memos:
        bench = await open_bench(memos, await memos.namespace("user:admin/held"))
        await bench.fill(turns(memories))
        await bench.embedded()
        return bench.partition, bench.namespace


def _hold(folder: str, partition: int, namespace: str, memories: int) -> dict[str, object]:
    return asyncio.run(_load(Path(folder), Place(partition, "default", namespace), memories))


async def _load(folder: Path, place: Place, memories: int) -> dict[str, object]:
    embedder = HashingEmbedder()
    said = turns(1000)
    asked = questions(said, _ASKED)
    store = SqlRecordStore.embedded(folder / "records")
    with ThreadPoolExecutor(1) as executor:
        residency = Residency(
            store=store,
            space=embedder.space.digest,
            new_index=lambda: ResidentIndex(embedder.space.dim),
            clock=SystemClock(),
            executor=executor,
            budget_bytes=_BUDGET,
        )
        # The first load and search bring in code and word lists, which no memory is to blame for.
        for _ in store.load(place.partition, place.tenant, "user:nobody", embedder.space.digest):
            pass
        warm = ResidentIndex(embedder.space.dim)
        warm.upsert([IndexedMemory("warm", said[0].text, {})])
        warm.search(RetrievalQuery(asked[0], embedder.embed(asked[:1])[0]))
        before = settled_rss_bytes()
        started = time.perf_counter()
        index = await residency.index(place)
        loading_s = time.perf_counter() - started
        if index is None or len(index) != memories or index.unembedded:
            raise RuntimeError("the namespace is not held in full")
        for question, vector in zip(asked, embedder.embed(asked), strict=True):
            index.search(RetrievalQuery(question, np.ascontiguousarray(vector)))
        held = settled_rss_bytes() - before
        estimated = index.memory_bytes
    store.close()
    return {
        "memories": memories,
        "bytes_per_memory": round(held / memories),
        "estimated_bytes_per_memory": round(estimated / memories),
        "text_bytes_per_memory": round(
            sum(len(t.text.encode()) for t in turns(memories)) / memories
        ),
        "load_s": round(loading_s, 2),
    }
