"""CUBE-4: whoever is given a memory is counted, on whichever way it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Usage
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.ring import partition_of
from memos_ray.gateway.chat.models import ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.gateway.pipelines.models import RunRequest
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel

HOME = "user:admin"
Read = Callable[[InProcess], Awaitable[object]]


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    settings = VaultSettings(partitions=4, usage_flush_s=0.05)
    async with in_process(tmp_path, settings=settings, models={"quoting": QuotingModel()}) as memos:
        memory = NewMemory(id="m", text="Foxes are red.", tags=["fact"])
        assert not (await memos.service.add(memos.administrator, [memory])).failed
        change = MemoryChange(text="Foxes are red and shy.")
        await memos.service.update(memos.administrator, "m", change)
        yield memos


async def _get(memos: InProcess) -> None:
    await memos.service.get(memos.administrator, "m")


async def _version(memos: InProcess) -> None:
    await memos.service.get(memos.administrator, "m", version=1)


async def _diff(memos: InProcess) -> None:
    await memos.service.diff(memos.administrator, "m", 1, 2)


async def _list(memos: InProcess) -> None:
    await memos.service.list(memos.administrator)


async def _search(memos: InProcess) -> None:
    query = SearchQuery(query="foxes")
    assert (await memos.service.search(memos.administrator, query)).hits


async def _search_by_filter(memos: InProcess) -> None:
    query = SearchQuery(filter="tags:fact")
    assert (await memos.service.search(memos.administrator, query)).hits


async def _search_the_past(memos: InProcess) -> None:
    query = SearchQuery(query="foxes", as_of=memos.clock.now())
    assert (await memos.service.search(memos.administrator, query)).hits


async def _past_get(memos: InProcess) -> None:
    await memos.doorway.past.get(memos.administrator, "m", memos.clock.now().isoformat())


async def _past_list(memos: InProcess) -> None:
    now = memos.clock.now().isoformat()
    assert (await memos.doorway.past.list(memos.administrator, now)).memories


async def _chat(memos: InProcess) -> None:
    turns = [Turn(role="user", content="What are foxes like?")]
    query = ChatQuery(model="quoting", messages=turns)
    answer = await memos.doorway.chats.chat(memos.administrator, query)
    assert [one.id for one in answer.memories] == ["m"]
    await memos.doorway.chats.settle()


async def _pipeline(memos: InProcess) -> None:
    steps = [{"kind": "retrieve", "id": "facts", "query": "foxes"}]
    wanted = RunRequest(definition=read_definition({"name": "read", "steps": steps}))
    pipelines = memos.doorway.pipelines
    run = await pipelines.run(memos.administrator, wanted)
    async with asyncio.timeout(60):
        while (await pipelines.status(memos.administrator, run.id)).state not in ENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "read",
    [
        _get,
        _version,
        _diff,
        _list,
        _search,
        _search_by_filter,
        _search_the_past,
        _past_get,
        _past_list,
        _chat,
        _pipeline,
    ],
)
async def test_CUBE_4_a_read_is_counted_with_who_and_why(memos: InProcess, read: Read) -> None:
    before = await usage(memos)
    await read(memos)
    async with asyncio.timeout(60):
        while (after := await usage(memos)).access_count == before.access_count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert after.frequency > before.frequency and after.last_access_at is not None
    assert HOME in after.agents


async def usage(memos: InProcess) -> Usage:
    """The indicators as they are stored: to look at them is no read."""
    partition = partition_of("default", HOME, 0, 4)
    key = CubeKey("default", "m")
    return memos.store.heads(partition, [key])[key].usage


async def test_CUBE_4_to_look_at_records_is_no_use(memos: InProcess) -> None:
    """Histories, logs, lineage and what evolution looks at give nobody a memory."""
    me = memos.administrator
    await memos.service.history(me, "m")
    await memos.doorway.logs.log(me)
    await memos.doorway.provenance.provenance(me, "m")
    await memos.doorway.evolution.status(me)
    await memos.doorway.evolution.evolve(me)
    # One read behind them, so that all of them have been written out.
    await _get(memos)
    async with asyncio.timeout(60):
        while (await usage(memos)).access_count == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await usage(memos)).access_count == 1
