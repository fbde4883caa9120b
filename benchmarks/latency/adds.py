"""Durable adds through the SDK, on an embedded cluster, in three shapes of traffic."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.latency.shard import accepted
from benchmarks.metrics import spread_ms
from benchmarks.synthetic import Turn, turns
from memos_ray import AsyncMemOS
from memos_ray.config import EmbedderKind, EmbedderSettings, Settings

_BATCH = 1000
_SETTLE_TIMEOUT_S = 600.0
HASHING = EmbedderSettings(
    kind=EmbedderKind.CUSTOM, factory="memos_ray.testing.embedders:HashingEmbedder"
)


def measure(memories: int, adders: int, lone: int) -> dict[str, object]:
    """Starts a cluster and adds to it; returns the figures.

    Args:
        memories: added in batches, and again one by one from concurrent adders.
        adders: how many add at the same time.
        lone: added one after another.
    """
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        return asyncio.run(_measure(folder, memories, adders, lone))


async def _measure(folder: str, memories: int, adders: int, lone: int) -> dict[str, object]:
    said = turns(2 * memories + lone)
    async with AsyncMemOS(data=folder, settings=Settings(embedder=HASHING)) as memos:
        await _namespaces(memos, "batches", "concurrent", "lone")
        await _add_batch(memos, turns(_BATCH, seed=1), "user:admin/batches")
        await settled(memos, "user:admin/batches")
        figures: dict[str, object] = {
            "batches": await _batches(memos, said[:memories]),
            f"concurrent_{adders}": await _concurrent(memos, said[memories : 2 * memories], adders),
            "lone": await _lone(memos, said[2 * memories :]),
        }
    return figures


async def settled(memos: AsyncMemOS, namespace: str) -> None:
    """Waits until what was added to a namespace has its vectors."""
    async with asyncio.timeout(_SETTLE_TIMEOUT_S):
        while True:
            found = await memos.search("ready?", namespace=namespace, limit=1)
            if not found.unembedded:
                return
            await asyncio.sleep(0.2)


async def at_rest(memos: AsyncMemOS, namespace: str) -> None:
    """Waits until nothing is left to do behind what was added to a namespace."""
    await settled(memos, namespace)
    async with asyncio.timeout(_SETTLE_TIMEOUT_S):
        while True:
            details = [one.detail for one in (await memos.health()).components if one.detail]
            behind = sum(one.get("lag", 0) + one.get("index_lag", 0) for one in details)
            if not behind and not (await memos.organise.list(namespace)).lag:
                return
            await asyncio.sleep(0.2)


async def _namespaces(memos: AsyncMemOS, *names: str) -> None:
    for name in names:
        await memos.admin.create_namespace(f"user:admin/{name}", kind="user_private")


async def _batches(memos: AsyncMemOS, said: list[Turn]) -> dict[str, object]:
    place = "user:admin/batches"
    taken = []
    for start in range(0, len(said), _BATCH):
        started = time.perf_counter()
        await _add_batch(memos, said[start : start + _BATCH], place)
        taken.append(time.perf_counter() - started)
    acknowledged_s = sum(taken)
    started = time.perf_counter()
    await settled(memos, place)
    embedded_s = acknowledged_s + time.perf_counter() - started
    print(f"batches: {len(said) / acknowledged_s:.0f} adds/s", file=sys.stderr)
    return {
        "adds_per_s": round(len(said) / acknowledged_s),
        "embedded_per_s": round(len(said) / embedded_s),
        "batch": _BATCH,
        **spread_ms(taken),
    }


async def _concurrent(memos: AsyncMemOS, said: list[Turn], adders: int) -> dict[str, object]:
    place = "user:admin/concurrent"
    waiting = iter(said)

    async def add_all() -> list[float]:
        return [await _add_one(memos, turn, place) for turn in waiting]

    started = time.perf_counter()
    taken = await asyncio.gather(*(add_all() for _ in range(adders)))
    elapsed_s = time.perf_counter() - started
    await settled(memos, place)
    print(f"{adders} adders: {len(said) / elapsed_s:.0f} adds/s", file=sys.stderr)
    return {
        "adds_per_s": round(len(said) / elapsed_s),
        **spread_ms([one for each in taken for one in each]),
    }


async def _lone(memos: AsyncMemOS, said: list[Turn]) -> dict[str, object]:
    place = "user:admin/lone"
    taken = [await _add_one(memos, turn, place) for turn in said]
    print(f"lone: {len(said) / sum(taken):.0f} adds/s", file=sys.stderr)
    return {"adds_per_s": round(len(said) / sum(taken)), **spread_ms(taken)}


async def _add_batch(memos: AsyncMemOS, said: Sequence[Turn], place: str) -> None:
    accepted(await memos.add([turn.fields() for turn in said], namespace=place))


async def _add_one(memos: AsyncMemOS, turn: Turn, place: str) -> float:
    fields = turn.fields()
    started = time.perf_counter()
    await memos.add(fields, namespace=place)
    return time.perf_counter() - started
