"""SCHED-5: what a tenant has sent waits behind itself, and not before what another sends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from memos_ray.core.access.administration import CreateTenant
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

FLOOD = 200


async def tenant(memos: InProcess, name: str) -> Caller:
    made = await memos.admin.change(memos.administrator, CreateTenant(name))
    caller = Caller(made.secret or "")
    said = [NewMemory(text=f"Room {n} of the house in the north is kept.") for n in range(40)]
    await memos.service.add(caller, said)
    await memos.service.search(caller, SearchQuery(query="ready?", wait_indexed=True))
    return caller


async def test_SCHED_5_a_search_passes_a_flood_of_another_tenants(tmp_path: Path) -> None:
    async with in_process(tmp_path) as memos:
        noisy, quiet = await tenant(memos, "noisy"), await tenant(memos, "quiet")
        ended = 0

        async def flood(number: int) -> None:
            nonlocal ended
            query = SearchQuery(query=f"Who keeps room {number}?")
            await memos.service.search(noisy, query)
            ended += 1

        flooding = [asyncio.create_task(flood(number)) for number in range(FLOOD)]
        await eventually(lambda: ended > 0)
        before = ended
        found = await memos.service.search(quiet, SearchQuery(query="Who keeps room 7?"))
        assert found.hits
        # Some of those that had begun end meanwhile; the others wait.
        assert ended - before < FLOOD / 4
        await asyncio.gather(*flooding)
        counts = [(await shard.status()).counters for shard in memos.crew.shards.values()]
        assert sum(one.get("turns_foreground", 0) for one in counts) >= FLOOD
