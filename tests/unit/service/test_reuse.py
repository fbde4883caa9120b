"""What one task has used is found for another one that is like it (APP-2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from memos_ray.cluster import assembly
from memos_ray.config import Settings, VaultSettings
from memos_ray.core.access.administration import PutNamespace
from memos_ray.core.access.model import NamespaceKind, default_spec
from memos_ray.core.personas import PersonaTemplate
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.reuse.models import ReuseQuery, ReuseResult
from memos_ray.testing.in_process import InProcess, in_process

POOL = "pool"
SETTINGS = VaultSettings(partitions=4, usage_flush_s=0.02)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    embedder = assembly.embedder(Settings().embedder)
    async with in_process(tmp_path, settings=SETTINGS, embedder=embedder) as memos:
        spec = default_spec(POOL, NamespaceKind.CONTEXTUAL_POOL, memos.administrator_id)
        await memos.admin.change(memos.administrator, PutNamespace(replace(spec, members=("*",))))
        yield memos


async def add(
    memos: InProcess,
    text: str,
    caller: Caller | None = None,
    place: str | None = POOL,
    **fields: object,
) -> str:
    memory = NewMemory(text=text, **fields)  # type: ignore[arg-type]
    report = await memos.service.add(caller or memos.administrator, [memory], place)
    return report.results[0].id or ""


async def use(memos: InProcess, caller: Caller, purpose: str, *ids: str, times: int = 1) -> None:
    """Reads memories for a task, and waits until that is on record."""
    reader = replace(caller, purpose=purpose)
    for _ in range(times):
        for memory_id in ids:
            await memos.service.get(reader, memory_id)
    async with asyncio.timeout(60):
        for memory_id in ids:
            # The flush is timed; there is nothing to be told by.
            while not await _on_record(memos, caller, memory_id, purpose):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def _on_record(memos: InProcess, caller: Caller, memory_id: str, purpose: str) -> bool:
    return purpose in (await memos.service.get(caller, memory_id)).usage.tasks


async def offered(
    memos: InProcess, task: str, caller: Caller | None = None, place: str = POOL
) -> ReuseResult:
    query = ReuseQuery(task=task, namespaces=[place])
    return await memos.doorway.reuse.find(caller or memos.administrator, query)


async def test_APP_2_what_an_alike_task_has_used_is_offered(memos: InProcess) -> None:
    planner = await memos.caller("agent:planner")
    style = await add(memos, "Charts have blue bars and no gridlines.")
    figures = await add(memos, "Revenue of the second quarter was 4 million.")
    recipe = await add(memos, "Bread needs two hours to rise.")
    await add(memos, "The board meets on Mondays to read the quarterly report.")
    await use(memos, planner, "quarterly-report", style, figures, times=3)
    await use(memos, planner, "baking", recipe)
    found = await offered(memos, "Write the quarterly report for the third quarter")
    assert [one.name for one in found.tasks] == ["quarterly-report"]
    # The style has no word in common with the task.
    assert {one.memory.id for one in found.offers} == {style, figures}
    reasons = "; ".join(found.offers[0].reasons)
    assert "used by quarterly-report" in reasons and "agent:planner" in reasons
    assert not found.partial


async def test_APP_2_a_task_is_alike_by_what_it_was_about(memos: InProcess) -> None:
    reader = await memos.caller("agent:reader")
    rules = [
        await add(memos, text)
        for text in (
            "Invoices above 1000 euros need two signatures.",
            "Invoices are paid within thirty days.",
        )
    ]
    await use(memos, reader, "job-17", *rules)
    found = await offered(memos, "check which invoices need two signatures")
    assert [one.name for one in found.tasks] == ["job-17"]
    assert {one.memory.id for one in found.offers} == set(rules)
    assert (await offered(memos, "paint the garden fence green")).offers == []


async def test_APP_2_only_what_the_caller_may_read_is_offered(memos: InProcess) -> None:
    ann, bob = await memos.caller("user:ann"), await memos.caller("user:bob")
    private = await add(memos, "The report's draft is awful.", ann, visibility="private")
    await use(memos, ann, "quarterly-report", private)
    mine = await offered(memos, "quarterly report", ann)
    assert [one.memory.id for one in mine.offers] == [private]
    for other in (bob, memos.administrator):
        found = await offered(memos, "quarterly report", other)
        assert (found.tasks, found.offers) == ([], [])
    # As a search does, it tells absent and closed namespaces apart for nobody.
    for place in ("user:ann", "nowhere"):
        assert (await offered(memos, "quarterly report", bob, place)).offers == []


async def test_APP_2_reuse_stays_in_the_role(memos: InProcess) -> None:
    admin = memos.administrator
    await memos.doorway.personas.put(admin, "diary", PersonaTemplate(name="diary"))
    diarist = replace(admin, role="diary")
    kept = await add(memos, "The report made me cry.", diarist, None)
    await use(memos, diarist, "quarterly-report", kept)
    query = ReuseQuery(task="quarterly report")
    inside = await memos.doorway.reuse.find(diarist, query)
    assert [one.memory.id for one in inside.offers] == [kept]
    outside = await memos.doorway.reuse.find(admin, query)
    assert (outside.tasks, outside.offers) == ([], [])


async def test_APP_2_the_own_task_is_no_news_and_asking_is_no_use(memos: InProcess) -> None:
    fact = await add(memos, "Revenue of the second quarter was 4 million.")
    await use(memos, memos.administrator, "quarterly-report", fact)
    own = replace(memos.administrator, purpose="quarterly-report")
    assert (await offered(memos, "quarterly report", own)).offers == []
    other = replace(memos.administrator, purpose="yearly-report")
    assert len((await offered(memos, "quarterly report", other)).offers) == 1
    for shard in memos.crew.shards.values():
        assert (await shard.status()).counters["reuse_offered"] in (0, 1)
    tasks = (await memos.service.get(memos.administrator, fact)).usage.tasks
    assert tasks == ["quarterly-report"]
