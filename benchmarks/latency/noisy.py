"""What a noisy tenant does to the searches of another: one gateway and one shard in one process."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.metrics import percentile, spread_ms
from benchmarks.synthetic import questions, turns
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import CreateTenant
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process

_BATCH = 500
_TIMES = 10
_BUSY = 0.5
_FLOOD = 64
_WARM = 100


@dataclass(frozen=True, slots=True)
class _Tenant:
    """Somebody who searches in a home of so many memories."""

    memos: InProcess
    caller: Caller
    asked: list[str]

    async def search(self, number: int) -> float:
        """Searches; returns the seconds it took."""
        started = time.perf_counter()
        query = SearchQuery(query=self.asked[number % len(self.asked)])
        await self.memos.service.search(self.caller, query)
        return time.perf_counter() - started

    async def at_rate(self, rate: float, seconds: float, seed: int) -> list[float]:
        """Searches at random moments, whether or not the last one has been answered."""
        pauses, now = random.Random(seed), 0.0
        under_way: list[asyncio.Task[float]] = []
        started = time.perf_counter()
        while now < seconds:
            await asyncio.sleep(max(0.0, started + now - time.perf_counter()))
            due = started + now
            under_way.append(asyncio.create_task(self._since(due, len(under_way))))
            now += pauses.expovariate(rate)
        return list(await asyncio.gather(*under_way))

    async def _since(self, due: float, number: int) -> float:
        await self.search(number)
        # A search that could not even begin in time has waited as well.
        return time.perf_counter() - due

    async def flood(self, stop: asyncio.Event) -> int:
        """Keeps many searches under way; returns how many there were."""
        done = 0

        async def one() -> None:
            nonlocal done
            while not stop.is_set():
                await self.search(done)
                done += 1

        await asyncio.gather(*(one() for _ in range(_FLOOD)))
        return done


def measure(memories: int, seconds: float) -> dict[str, object]:
    """Returns the quiet tenant's latencies alone, beside ten times its load, and in a flood."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        return asyncio.run(_measure(Path(folder), memories, seconds))


async def _measure(folder: Path, memories: int, seconds: float) -> dict[str, object]:
    async with in_process(
        folder, embedder=HashingEmbedder(), settings=VaultSettings(), timeout_s=600.0
    ) as memos:
        quiet = await _tenant(memos, "quiet", memories)
        noisy = await _tenant(memos, "noisy", memories)
        took = [await one.search(number) for number in range(_WARM) for one in (quiet, noisy)]
        one_s = sum(took[_WARM:]) / len(took[_WARM:])
        rate = _BUSY / one_s / (_TIMES + 1)
        print(f"noisy: {rate:.1f} searches/s beside {_TIMES * rate:.1f}", file=sys.stderr)
        alone = await quiet.at_rate(rate, seconds, seed=1)
        beside, loud = await asyncio.gather(
            quiet.at_rate(rate, seconds, seed=1), noisy.at_rate(_TIMES * rate, seconds, seed=2)
        )
        stop = asyncio.Event()
        flooding = asyncio.create_task(noisy.flood(stop))
        flooded = await quiet.at_rate(rate, seconds, seed=1)
        stop.set()
        return {
            "memories": memories,
            "rate_per_s": round(rate, 1),
            "alone": spread_ms(alone),
            "beside_10x": spread_ms(beside) | {"p95_times": _times(beside, alone)},
            "noisy_10x": spread_ms(loud),
            "beside_flood": spread_ms(flooded) | {"p95_times": _times(flooded, alone)},
            "flood_per_s": round(await flooding / seconds, 1),
        }


async def _tenant(memos: InProcess, name: str, memories: int) -> _Tenant:
    made = await memos.admin.change(memos.administrator, CreateTenant(name))
    caller = Caller(made.secret or "")
    said = turns(memories)
    for start in range(0, memories, _BATCH):
        batch = [NewMemory.model_validate(one.fields()) for one in said[start : start + _BATCH]]
        report = await memos.service.add(caller, batch)
        if report.failed:
            raise RuntimeError(f"a memory was refused: {report.failed[0].error}")
    await memos.service.search(caller, SearchQuery(query="ready?", wait_indexed=True))
    while (await memos.doorway.organising.proposals(caller)).lag:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    return _Tenant(memos, caller, questions(said, 200))


def _times(some: Sequence[float], others: Sequence[float]) -> float:
    return round(percentile(some, 0.95) / percentile(others, 0.95), 2)
