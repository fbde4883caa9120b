"""CUBE-3, GOV-1: labels are put on what is stored, and policy goes by them at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutRule
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import Effect, MemoryCondition, Rule
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.gateway.branches.models import NewBranch
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.testing.in_process import InProcess, in_process

HOME = "user:admin"


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=2)) as running:
        yield running


async def stored(memos: InProcess) -> str:
    new = NewMemory(text="tea at four", readers=["user:bob"], sensitivity=["home"])
    report = await memos.service.add(memos.administrator, [new])
    return report.results[0].id or ""


async def test_CUBE_3_GOV_1_a_label_that_comes_later_closes_a_memory(memos: InProcess) -> None:
    me, bob = memos.administrator, await memos.caller("user:bob")
    deny = Rule(
        "health",
        Effect.DENY,
        (Action.READ,),
        ("user:*",),
        ("user:bob",),
        MemoryCondition(sensitivity=("health",)),
    )
    await memos.admin.change(me, PutRule(deny))
    memory_id = await stored(memos)
    query = SearchQuery(query="tea", namespaces=[HOME])
    assert [hit.memory.id for hit in (await memos.service.search(bob, query)).hits] == [memory_id]
    labelled = MemoryChange(sensitivity=["health"], compliance=["gdpr"])
    await memos.service.update(me, memory_id, labelled)
    for version in (None, 1):
        with pytest.raises(NotFoundError):
            await memos.service.get(bob, memory_id, version=version)
    assert (await memos.service.search(bob, query)).hits == []
    found = await memos.service.search(me, query.model_copy(update={"filter": "compliance:gdpr"}))
    assert [hit.memory.sensitivity for hit in found.hits] == [["home", "health"]]
    with pytest.raises(InvalidInputError, match="changes nothing"):
        await memos.service.update(me, memory_id, labelled)


async def test_CUBE_3_no_update_and_no_rollback_takes_a_label_away(memos: InProcess) -> None:
    me, memory_id = memos.administrator, await stored(memos)
    await memos.service.update(me, memory_id, MemoryChange(sensitivity=["health"]))
    change = MemoryChange(mode=UpdateMode.OVERWRITE, text="tea at five")
    await memos.service.update(me, memory_id, change)
    await memos.service.rollback(me, memory_id, 1)
    memory = await memos.service.get(me, memory_id)
    assert (memory.text, memory.sensitivity) == ("tea at four", ["home", "health"])


async def test_CUBE_3_LIFE_3_labels_are_put_on_in_the_namespace(memos: InProcess) -> None:
    me, memory_id = memos.administrator, await stored(memos)
    branches = memos.doorway.branches
    await branches.create(me, NewBranch(name="trial"))
    with pytest.raises(InvalidInputError, match="in the namespace"):
        await branches.update(me, "trial", memory_id, MemoryChange(sensitivity=["health"]))
