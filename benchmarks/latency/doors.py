"""Adds and searches through the SDK and through REST, on one embedded cluster.

Either begins once the work behind earlier writes is done.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.latency.adds import HASHING, at_rest
from benchmarks.latency.shard import accepted
from benchmarks.metrics import spread_ms
from benchmarks.synthetic import Turn, questions, turns
from memos_ray import AsyncMemOS
from memos_ray.cli.cluster.server import Server
from memos_ray.cluster import assembly
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import EmbedderSettings, GatewaySettings, Settings

_WARM = 20
_LONE = 100


def measure(sizes: list[int], searches: int, *, embedding: bool) -> dict[str, object]:
    """Starts a cluster with a REST door, fills a namespace of each size and returns the figures.

    Args:
        embedding: whether queries are embedded by the bundled model; memories are then, too, so
            that large sizes take their time. Else words are hashed.
    """
    embedder = EmbedderSettings() if embedding else HASHING
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        settings = Settings(data=Path(folder), embedder=embedder, gateway=GatewaySettings(port=0))
        server = Server(settings)
        running = server.start()
        try:
            figures = asyncio.run(
                _measure(settings, running.ray_address, running.url, sizes, searches)
            )
        finally:
            server.stop()
    return {"embed_query": _embed_query(embedder), **figures}


async def _measure(
    settings: Settings, address: str, url: str, sizes: list[int], searches: int
) -> dict[str, object]:
    figures: dict[str, object] = {}
    key = Keyring(settings).admin_key()
    async with (
        AsyncMemOS(address=address, settings=settings, api_key=key) as sdk,
        AsyncMemOS(url=url, api_key=key) as rest,
    ):
        for size in sizes:
            place = f"user:admin/n{size}"
            await sdk.admin.create_namespace(place, kind="user_private")
            said = turns(size)
            accepted(await sdk.add([turn.fields() for turn in said], namespace=place))
            # Neither is asked what the other has brought into memory.
            asked = questions(said, 2 * (searches + _WARM))
            more = turns(size + 2 * _LONE)[size:]
            figures[str(size)] = {
                "sdk": await _through(sdk, place, asked[::2], more[:_LONE]),
                "rest": await _through(rest, place, asked[1::2], more[_LONE:]),
            }
            print(f"doors, {size}: done", file=sys.stderr)
    return figures


async def _through(
    door: AsyncMemOS, place: str, asked: list[str], more: list[Turn]
) -> dict[str, object]:
    await at_rest(door, place)
    for question in asked[:_WARM]:
        await door.search(question, namespace=place)
    searching, adding = [], []
    for question in asked[_WARM:]:
        started = time.perf_counter()
        await door.search(question, namespace=place)
        searching.append(time.perf_counter() - started)
    for turn in more:
        fields = turn.fields()
        started = time.perf_counter()
        await door.add(fields, namespace=place)
        adding.append(time.perf_counter() - started)
    return {"search": spread_ms(searching), "add": spread_ms(adding)}


def _embed_query(chosen: EmbedderSettings) -> dict[str, float]:
    embedder = assembly.embedder(chosen)
    taken = []
    for question in questions(turns(600), 100):
        started = time.perf_counter()
        embedder.embed([question])
        taken.append(time.perf_counter() - started)
    return spread_ms(taken)
