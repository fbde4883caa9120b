"""READ-3: a shard is killed while a model reads for it: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from memos_ray import AsyncMemOS
from memos_ray.config import Settings
from memos_ray.errors import MemosError
from memos_ray.gateway.extraction.models import ExtractionStatus
from memos_ray.testing.openai_endpoint import Endpoint, Reply, openai_endpoint
from memos_ray.testing.reading import quoting, reading

pytestmark = pytest.mark.fault

TURNS = [
    {"role": "user", "name": "Ana", "content": f"I like tea number {number}."}
    for number in range(40)
]
KILLED_AT = (3, 6)


@pytest.fixture
def endpoint() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


def settings_of(data: Path, url: str) -> Settings:
    model = {"name": "reader", "engine": "openai", "base_url": url}
    embedder = {"kind": "custom", "factory": "memos_ray.testing.embedders:HashingEmbedder"}
    extraction = {"model": "reader", "window": 4, "at_once": 1, "retry_min_s": 0.01}
    # Enough for all, also when each shard that dies loses what it was allowed.
    extraction |= {"requests_per_hour": 100, "tokens_per_hour": 10_000_000}
    return Settings.model_validate(
        {
            "data": data,
            "models": [model],
            "vectors": {"enabled": False},
            # A busy machine takes its time to start a shard anew.
            "gateway": {"timeout_s": 240},
            "vault": {"partitions": 2},
            "embedder": embedder,
            "extraction": extraction,
        }
    )


async def shard_of(memos: AsyncMemOS) -> int:
    """Returns the process id of the one shard."""
    async with asyncio.timeout(120):
        while True:
            for part in (await memos.health()).components:
                if "pid" in part.detail:
                    return int(str(part.detail["pid"]))
            await asyncio.sleep(0.1)


async def settled(memos: AsyncMemOS) -> ExtractionStatus:
    async with asyncio.timeout(240):
        while True:
            try:
                found = await memos.extraction.status()
            except MemosError as error:
                # A shard that was killed is away for a moment.
                assert error.retryable
            else:
                if not (found.lag or found.queued or found.running):
                    return found
            await asyncio.sleep(0.05)


async def test_READ_3_a_shard_that_is_killed_while_a_model_reads(
    tmp_path: Path, endpoint: tuple[str, Endpoint]
) -> None:
    url, server = endpoint
    victims: Queue[int] = Queue()

    def deadly(body: dict[str, Any]) -> Reply:
        if len(server.asked) in KILLED_AT:
            os.kill(victims.get(timeout=120), signal.SIGKILL)
        return reading(quoting)(body)

    server.script = [deadly]
    settings = settings_of(tmp_path / "memos", url)
    async with AsyncMemOS(data=settings.data, settings=settings) as memos:
        first = await shard_of(memos)
        victims.put(first)
        report = await memos.ingest(TURNS, source="chat", conversation="chat", extract=True)
        assert report.stored == len(TURNS)
        # Its successor dies as well.
        async with asyncio.timeout(240):
            while (second := await shard_of(memos)) == first:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        victims.put(second)
        status = await settled(memos)
        assert (status.read, status.memories, status.parked) == (40, 40, 0)
        page = await memos.list(filter="origin = inference", limit=200)
        texts = [one.text for one in page.memories]
        assert sorted(texts) == sorted(turn["content"] for turn in TURNS)
        assert len({one.sources[0].memory_id for one in page.memories}) == len(TURNS)
        assert len(server.asked) == 10 + len(KILLED_AT), "what was under way is asked again"
