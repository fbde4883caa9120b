"""Rate and latency of the vector store, and what it costs the process that owns it.

    python -m benchmarks.vector_store --uri FOLDER-OR-SERVER --records 6000 --partitions 1

An event loop runs beside the store, as in a shard: it ranks 6,000 vectors every few milliseconds,
and how long that takes while records are being written tells what indexing costs the foreground.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.machine import describe
from benchmarks.metrics import spread_ms
from memos_ray.adapters.milvus import MilvusSettings, MilvusVectorStore, open_vector_store
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import AnyOf, HasAny, OneOf
from memos_ray.ports import VectorRecord, Vectors
from memos_ray.testing.cubes import key_of, make_cube
from memos_ray.testing.vectors import make_space, random_vectors

DIM = 384
RESIDENT = 6_000
SPACE = make_space(DIM, "benchmark")
POLICY = AnyOf((OneOf("visibility", ("shared",)), HasAny("readers", ("user:bob", "role:staff"))))


def records(vectors: Vectors, partitions: int) -> list[VectorRecord]:
    """Builds one record per vector, with facets as a conversation has them."""
    cube = make_cube(tags=("work", "kettle"), readers=("user:bob",), attributes={"size": 1})
    facets, key = facets_of(cube), key_of(cube)
    return [
        VectorRecord(
            partition=number % partitions,
            key=key._replace(id=f"{number:08}"),
            namespace="notes",
            version=1,
            facets={**facets, "id": f"{number:08}", "attributes.size": number},
            vector=vector,
        )
        for number, vector in enumerate(vectors)
    ]


async def foreground(busy: threading.Event, resident: Vectors) -> list[float]:
    """Ranks on the event loop until `busy` clears; returns how long each ranking took, waiting
    included.
    """
    taken = []
    while busy.is_set():
        due = time.perf_counter() + 0.002
        await asyncio.sleep(0.002)
        np.argpartition(resident @ resident[0], 10)
        taken.append(time.perf_counter() - due)
    return taken


def write(store: MilvusVectorStore, batch: list[VectorRecord], busy: threading.Event) -> float:
    """Writes all records in calls of 256 and returns the seconds taken."""
    started = time.perf_counter()
    for start in range(0, len(batch), 256):
        store.upsert(SPACE, batch[start : start + 256])
    busy.clear()
    return time.perf_counter() - started


async def indexing(
    store: MilvusVectorStore, batch: list[VectorRecord], resident: Vectors
) -> tuple[float, list[float]]:
    """Writes in a worker thread while the loop answers; returns seconds and foreground times."""
    busy = threading.Event()
    busy.set()
    written = asyncio.get_running_loop().run_in_executor(None, write, store, batch, busy)
    taken = await foreground(busy, resident)
    return await written, taken


def searching(store: MilvusVectorStore, queries: Vectors, partitions: int) -> list[float]:
    """Searches under a policy and returns the seconds of each search."""
    taken = []
    for number, query in enumerate(queries):
        started = time.perf_counter()
        store.search(SPACE, number % partitions, "acme", "notes", POLICY, query, 10)
        taken.append(time.perf_counter() - started)
    return taken


def measure(uri: str, count: int, partitions: int) -> dict[str, object]:
    """Fills a store and returns the figures, in milliseconds and records per second."""
    vectors = random_vectors(count, DIM)
    started = time.perf_counter()
    store = open_vector_store(uri, MilvusSettings(search_s=30.0))
    opened_s = time.perf_counter() - started
    for partition in range(partitions):
        store.drop(SPACE, partition)
    resident = random_vectors(RESIDENT, DIM, seed=1)
    seconds, beside = asyncio.run(indexing(store, records(vectors, partitions), resident))
    searches = searching(store, random_vectors(100, DIM, seed=2), partitions)
    children = psutil.Process().children(recursive=True)
    figures: dict[str, object] = {
        "records": count,
        "partitions": partitions,
        "open_s": round(opened_s, 2),
        "upserts_per_s": round(count / seconds),
        "search": spread_ms(searches),
        "foreground": spread_ms(beside),
        "own_rss_mib": psutil.Process().memory_info().rss >> 20,
        "engine_rss_mib": sum(child.memory_info().rss for child in children) >> 20,
    }
    store.close()
    started = time.perf_counter()
    open_vector_store(uri).close()
    return figures | {"reopen_s": round(time.perf_counter() - started, 2)}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", help="server, or folder of Milvus Lite; a temporary one if absent")
    parser.add_argument("--records", type=int, default=RESIDENT)
    parser.add_argument("--partitions", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        uri = chosen.uri or str(Path(folder) / "vectors")
        figures = measure(uri, chosen.records, chosen.partitions)
    print(json.dumps(figures | {"machine": describe()}, indent=1))


if __name__ == "__main__":
    main()
