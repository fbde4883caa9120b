"""A shard with memory for a few of its namespaces."""

from __future__ import annotations

import asyncio
from pathlib import Path

from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutRule
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import Effect, Reach, Rule
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import in_process

_USERS, _EACH = 48, 100


async def test_all_that_is_written_is_embedded(tmp_path: Path) -> None:
    settings = VaultSettings(resident_bytes=700_000)
    async with in_process(tmp_path, embedder=HashingEmbedder(), settings=settings) as memos:
        actions = (Action.READ, Action.CREATE)
        who = (memos.administrator_id,)
        rule = Rule("all", Effect.ALLOW, actions, ("user:*",), who, reach=Reach.PRIVATE)
        await memos.admin.change(memos.administrator, PutRule(rule))

        async def fill(user: str) -> None:
            said = [NewMemory(text=f"{user} said {i} of {i * 7}") for i in range(_EACH)]
            report = await memos.service.add(memos.administrator, said, user)
            assert not report.failed

        users = [f"user:u{number}" for number in range(_USERS)]
        await asyncio.gather(*map(fill, users))
        for user in users:
            query = SearchQuery(query="said", namespaces=[user], wait_indexed=True)
            found = await memos.service.search(memos.administrator, query)
            assert (user, found.unembedded) == (user, 0)
