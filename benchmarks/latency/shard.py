"""Adds and searches inside a shard: the real classes and stores, no Ray, queries embedded."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.metrics import spread_ms
from benchmarks.synthetic import Turn, questions, turns
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.core.vault.ring import partition_of
from memos_ray.gateway.memories.models import NewMemory, SearchQuery, WriteReport
from memos_ray.gateway.memories.understanding import embed, understand
from memos_ray.ports import ShardPort
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process

_BATCH = 1000
_WARM = 20
_LONE = 200
_RESIDENT_BYTES = 8 << 30


def accepted(report: WriteReport) -> None:
    """Makes sure that every memory was stored: a refused one would be measured as a fast one."""
    for result in report.results:
        if result.error is not None:
            raise RuntimeError(f"a memory was refused: {result.error}")


@dataclass(frozen=True, slots=True)
class Bench:
    """One namespace of a shard, and how to search it as the gateway would."""

    memos: InProcess
    shard: ShardPort
    partition: int
    namespace: str
    embedder: HashingEmbedder

    def request(self, question: str, *, k: int = 10) -> SearchRequest:
        """Makes what the gateway would send for a question."""
        understood = understand(SearchQuery(query=question), datetime.now(UTC))
        embedded = embed(understood, self.embedder)
        return SearchRequest(
            context=CallContext(Principal("default", self.memos.administrator_id)),
            namespace=self.namespace,
            text=understood.text,
            vector=embedded.vector,
            space=embedded.space,
            nameless=embedded.nameless,
            legible=embedded.legible,
            hints=understood.hints,
            k=k,
            explain=False,
        )

    async def fill(self, said: list[Turn]) -> float:
        """Adds turns in batches; returns the seconds until all were durable."""
        started = time.perf_counter()
        for start in range(0, len(said), _BATCH):
            batch = [NewMemory.model_validate(t.fields()) for t in said[start : start + _BATCH]]
            report = await self.memos.service.add(self.memos.administrator, batch, self.namespace)
            accepted(report)
        return time.perf_counter() - started

    async def embedded(self) -> None:
        """Waits until every memory has its vectors."""
        query = SearchQuery(query="ready?", namespaces=[self.namespace], limit=1, wait_indexed=True)
        await self.memos.service.search(self.memos.administrator, query)

    async def ask(self, asked: list[str]) -> list[float]:
        """Searches one question after another; returns the seconds of each, in the shard alone."""
        taken = []
        for question in asked:
            request = self.request(question)
            started = time.perf_counter()
            reply = await self.shard.search(self.partition, request)
            taken.append(time.perf_counter() - started)
            if not reply.resident or reply.unembedded:
                raise RuntimeError("the namespace is not searched in full")
        return taken


async def open_bench(memos: InProcess, namespace: str) -> Bench:
    """Finds the shard of a namespace."""
    ring = await memos.supervisor.ring()
    partition = partition_of("default", namespace, 0, len(ring.owners))
    shard = memos.crew.shard(ring.owner(partition))
    return Bench(memos, shard, partition, namespace, HashingEmbedder())


def measure(sizes: list[int], searches: int) -> dict[str, object]:
    """Fills a namespace of each size and returns the figures, by size."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        return asyncio.run(_measure(Path(folder), sizes, searches))


async def _measure(folder: Path, sizes: list[int], searches: int) -> dict[str, object]:
    settings = VaultSettings(partitions=16, resident_bytes=_RESIDENT_BYTES)
    figures: dict[str, object] = {}
    async with in_process(
        folder, embedder=HashingEmbedder(), settings=settings, timeout_s=600.0
    ) as memos:
        for size in sizes:
            namespace = await memos.namespace(f"user:admin/n{size}")
            figures[str(size)] = await _one_size(await open_bench(memos, namespace), size, searches)
    return figures


async def _one_size(bench: Bench, size: int, searches: int) -> dict[str, object]:
    said = turns(size)
    filling_s = await bench.fill(said)
    print(f"shard, {size}: {size / filling_s:.0f} adds/s", file=sys.stderr)
    await bench.embedded()
    asked = questions(said, searches + _WARM)
    await bench.ask(asked[:_WARM])
    taken = await bench.ask(asked[_WARM:])
    again = await bench.ask(asked[_WARM:])
    lone, after = await _alternate(bench, turns(size + _LONE)[size:], asked)
    return {
        "adds_per_s": round(size / filling_s),
        "add": spread_ms(lone),
        "search": spread_ms(taken),
        "search_repeated": spread_ms(again),
        "search_after_add": spread_ms(after),
    }


async def _alternate(
    bench: Bench, said: list[Turn], asked: list[str]
) -> tuple[list[float], list[float]]:
    """Adds one memory and searches, in turns; returns the seconds of each."""
    adding, searching = [], []
    for turn, question in zip(said, asked, strict=False):
        memory = NewMemory.model_validate(turn.fields())
        started = time.perf_counter()
        await bench.memos.service.add(bench.memos.administrator, [memory], bench.namespace)
        adding.append(time.perf_counter() - started)
        request = bench.request(question)
        started = time.perf_counter()
        await bench.shard.search(bench.partition, request)
        searching.append(time.perf_counter() - started)
    return adding, searching
