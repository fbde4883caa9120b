"""VAULT-2, VAULT-5: an operator sees what keeps the work behind the log, and that it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memos_ray.adapters.milvus import open_vector_store
from memos_ray.adapters.milvus_settings import MilvusSettings
from memos_ray.core.vault.requests import Follower
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.gateway.memories.record_models import Component
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.ports import VectorStorePort
from memos_ray.testing.in_process import InProcess, in_process

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    """A MemOS whose Milvus server is away."""

    def away(_: str) -> VectorStorePort:
        return open_vector_store(NOBODY, MilvusSettings(search_s=0.2))

    async with in_process(tmp_path, vectors=away) as running:
        yield running


async def shard_once(memos: InProcess, holds: Callable[[Component], bool]) -> Component:
    """Returns what is shown of the shard as soon as a condition holds."""
    async with asyncio.timeout(60):
        while True:
            found = {one.name: one for one in await memos.doorway.components()}
            if holds(found["shard-0"]):
                return found["shard-0"]
            await asyncio.sleep(0.01)


async def samples(memos: InProcess, metrics: HttpMetrics) -> dict[str, float]:
    lines = metrics.render(await memos.supervisor.status()).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def test_VAULT_2_a_milvus_that_is_away_is_seen_and_keeps_no_search_from_anything(
    memos: InProcess,
) -> None:
    admin = memos.administrator
    await memos.service.add(admin, [NewMemory(text="The night train leaves at nine.")])
    shard = await shard_once(memos, lambda one: "stalled" in one.detail)
    assert (shard.status, shard.detail["stalled"]) == ("degraded", "index by vector_store")
    assert shard.detail["aside"] == 0, "an absent store is no fault of an entry"
    assert shard.detail["behind_s"] >= 1, "what is behind for a moment only is not shown as level"
    found = await samples(memos, HttpMetrics())
    labels = 'code="vector_store",feed="index",shard="shard-0"'
    assert found[f"memos_shard_stalled{{{labels}}}"] == 1
    assert found['memos_shard_behind_seconds{feed="index",shard="shard-0"}'] > 0
    result = await memos.service.search(admin, SearchQuery(query="night train"))
    assert [hit.memory.text for hit in result.hits] == ["The night train leaves at nine."]


async def test_VAULT_5_what_is_well_again_is_shown_as_well(tmp_path: Path) -> None:
    async with in_process(tmp_path) as memos:
        await memos.service.add(memos.administrator, [NewMemory(text="Tea is at four.")])
        metrics = HttpMetrics()
        (shard,) = (await memos.supervisor.status()).values()
        assert shard is not None
        kept = {"embed": Follower(7.0, 2, "embedder")}
        metrics.render({"shard-0": replace(shard, followers=kept)})
        well = await shard_once(memos, lambda one: one.detail["behind_s"] == 0)
        found = await samples(memos, metrics)
        assert not [name for name in found if name.startswith("memos_shard_stalled")]
        assert found['memos_shard_aside{feed="embed",shard="shard-0"}'] == 0
        assert well.status == "ok"
