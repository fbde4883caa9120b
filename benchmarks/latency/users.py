"""Searches in one user's memories while more and more users share the shard."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.latency.shard import open_bench
from benchmarks.metrics import spread_ms
from benchmarks.processes import settled_rss_bytes
from benchmarks.synthetic import Turn, questions, turns
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutRule
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import Effect, Reach, Rule
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process

_SAMPLE = 200
_DISTINCT = 50
_PATIENCE_S = 3600.0


def measure(stages: list[int], memories: int) -> list[dict[str, object]]:
    """Adds users up to each stage, each with so many memories; returns the figures per stage."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        return asyncio.run(_measure(Path(folder), sorted(stages), memories))


async def _measure(folder: Path, stages: list[int], memories: int) -> list[dict[str, object]]:
    figures = []
    # Users share a stock of texts, each with a word of its own: making up a million takes minutes.
    said = turns(_DISTINCT * memories)
    async with in_process(
        folder, embedder=HashingEmbedder(), settings=VaultSettings(), timeout_s=600.0
    ) as memos:
        await memos.admin.change(memos.administrator, PutRule(_everywhere(memos)))
        for already, users in zip([0, *stages], stages, strict=False):
            adding_s = 0.0
            for user in range(already, users):
                bench = await open_bench(memos, _home(user))
                adding_s += await bench.fill(_texts_of(user, said, memories))
            await _at_rest(memos)
            await _evict(memos)
            print(f"{users} users: {users * memories} memories", file=sys.stderr)
            found = await _stage(memos, users, said, memories)
            rate = (users - already) * memories / adding_s
            figures.append({"users": users, "adds_per_s": round(rate), **found})
    return figures


async def _stage(
    memos: InProcess, users: int, said: list[Turn], memories: int
) -> dict[str, object]:
    chosen = random.Random(users).sample(range(users), min(users, _SAMPLE))
    first, again = [], []
    for user in chosen:
        bench = await open_bench(memos, _home(user))
        asked = questions(_texts_of(user, said, memories), 2, seed=user)
        first += await bench.ask(asked[:1])
        again += await bench.ask(asked[1:])
    status = [await shard.status() for shard in memos.crew.shards.values()]
    return {
        "memories": users * memories,
        "search_not_resident": spread_ms(first),
        "search": spread_ms(again),
        "resident_memories": sum(one.resident_memories for one in status),
        "rss_mib": settled_rss_bytes() >> 20,
    }


def _everywhere(memos: InProcess) -> Rule:
    """Lets the administrator act in everybody's home, instead of ten thousand keys."""
    actions = (Action.READ, Action.CREATE)
    who = (memos.administrator_id,)
    return Rule("bench", Effect.ALLOW, actions, ("user:*",), who, reach=Reach.PRIVATE)


def _home(user: int) -> str:
    return f"user:u{user:05}"


def _texts_of(user: int, said: list[Turn], memories: int) -> list[Turn]:
    start = user % _DISTINCT * memories
    mine = said[start : start + memories]
    return [replace(turn, text=f"{turn.text} {user}") for turn in mine]


async def _evict(memos: InProcess) -> None:
    """Gives all partitions up and takes them again, so that no namespace is resident."""
    for shard in memos.crew.shards.values():
        partitions = list((await shard.status()).partitions)
        await shard.disown(partitions)
        await shard.own(partitions)


async def _at_rest(memos: InProcess) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            status = [await shard.status() for shard in memos.crew.shards.values()]
            if not any(sum(one.lag.values()) for one in status):
                return
            await asyncio.sleep(0.5)
