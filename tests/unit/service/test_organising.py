"""Duplicates and overtaken facts, from a write to the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.organising import Kind, Proposed
from memos_ray.errors import (
    IllegalStateError,
    NotFoundError,
    PermissionDeniedError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.gateway.organising.models import OrganisingList
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process

JANUARY, JUNE = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 6, 10, tzinfo=UTC)
SETTINGS = VaultSettings(partitions=4)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=SETTINGS) as memos:
        yield memos


async def add(
    memos: InProcess, text: str, *, caller: Caller | None = None, **fields: object
) -> str:
    memory = NewMemory(text=text, **fields)  # type: ignore[arg-type]
    report = await memos.service.add(caller or memos.administrator, [memory])
    (result,) = report.results
    assert result.error is None
    return result.id or ""


async def proposals(
    memos: InProcess, caller: Caller | None = None, namespace: str | None = None
) -> OrganisingList:
    """What is proposed once everything written has been looked at."""
    async with asyncio.timeout(60):
        while True:
            found = await memos.doorway.organising.proposals(
                caller or memos.administrator, namespace
            )
            if found.lag == 0:
                return found
            await asyncio.sleep(0.01)


async def found(memos: InProcess, query: str, **fields: object) -> set[str]:
    asked = SearchQuery(query=query, **fields)  # type: ignore[arg-type]
    result = await memos.service.search(memos.administrator, asked)
    return {hit.memory.id for hit in result.hits}


async def moved(memos: InProcess) -> tuple[str, str]:
    old = await add(memos, "Ann lives in Oslo.", event_time=JANUARY)
    new = await add(memos, "Ann moved to Berlin.", event_time=JUNE)
    return old, new


async def test_OPER_4_order_waits_for_searches_but_not_for_ever(tmp_path: Path) -> None:
    # While this clock stands still, somebody has always just searched.
    async with in_process(tmp_path, settings=SETTINGS, clock=ManualClock()) as memos:
        for _ in range(2):
            await found(memos, "Where does Ann live?")
        began = asyncio.get_running_loop().time()
        await moved(memos)
        (one,) = (await proposals(memos)).proposals
        assert one.kind is Kind.SUPERSESSION
        # Two seconds of grace, however fast the machine is.
        assert asyncio.get_running_loop().time() - began > 1.9


async def test_OPER_4_an_overtaken_fact_is_proposed_and_closed(memos: InProcess) -> None:
    old, new = await moved(memos)
    (one,) = (await proposals(memos)).proposals
    assert (one.kind, one.older, one.newer) == (Kind.SUPERSESSION, old, new)
    assert one.reasons == ["residence of ann: oslo \u2192 berlin"]
    # Nothing happens unasked.
    assert await found(memos, "Where does Ann live?") == {old, new}

    service = memos.doorway.organising
    done = await service.settle(memos.administrator, one.id, accept=True)
    assert done.state is Proposed.ACCEPTED
    closed = await memos.service.get(memos.administrator, old)
    assert closed.valid_to == JUNE
    assert [source.memory_id for source in closed.sources] == [new]
    assert await found(memos, "Where does Ann live?") == {new}
    assert (await proposals(memos)).proposals == []
    with pytest.raises(IllegalStateError):
        await service.settle(memos.administrator, one.id, accept=False)


async def test_OPER_4_where_did_she_live_in_march(memos: InProcess) -> None:
    old, new = await moved(memos)
    (one,) = (await proposals(memos)).proposals
    await memos.doorway.organising.settle(memos.administrator, one.id, accept=True)
    result = await memos.service.search(
        memos.administrator, SearchQuery(query="Where did Ann live in March 2026?")
    )
    assert result.hits[0].memory.id == old
    assert await found(memos, "Where does Ann live?") == {new}
    assert await found(memos, "Where does Ann live?", include_ended=True) == {old, new}


async def test_OPER_4_what_was_refused_is_not_proposed_again(memos: InProcess) -> None:
    old, new = await moved(memos)
    (one,) = (await proposals(memos)).proposals
    await memos.doorway.organising.settle(memos.administrator, one.id, accept=False)
    await memos.service.update(memos.administrator, new, MemoryChange(tags=["moves"]))
    assert (await proposals(memos)).proposals == []
    assert await found(memos, "Where does Ann live?") == {old, new}


async def test_OPER_4_done_at_once_where_that_is_asked_for(memos: InProcess) -> None:
    listed = await memos.doorway.organising.automate(memos.administrator, automatic=True)
    assert listed.automatic
    old, new = await moved(memos)
    assert (await proposals(memos)).proposals == []
    assert await found(memos, "Where does Ann live?") == {new}
    kept = await memos.service.get(memos.administrator, old)
    assert kept.text == "Ann lives in Oslo."
    await memos.doorway.organising.automate(memos.administrator, automatic=False)
    await add(memos, "Ann moved to Rome.")
    assert len((await proposals(memos)).proposals) == 1


async def test_CUBE_5_a_duplicate_becomes_a_version_with_two_parents(memos: InProcess) -> None:
    old = await add(memos, "The kettle is in the left cupboard.", tags=["kitchen"])
    new = await add(memos, "the kettle is in the left cupboard", tags=["tea"])
    (one,) = (await proposals(memos)).proposals
    assert one.kind is Kind.DUPLICATE
    await memos.doorway.organising.settle(memos.administrator, one.id, accept=True)
    kept = await memos.service.get(memos.administrator, old)
    assert set(kept.tags) == {"kitchen", "tea"}
    history = await memos.service.history(memos.administrator, old)
    assert {parent.memory_id for parent in history.versions[0].parents} == {old, new}
    assert await found(memos, "kettle") == {old}


async def test_OPER_4_proposals_outlive_their_shard_and_go_with_their_memories(
    memos: InProcess,
) -> None:
    old, _ = await moved(memos)
    (one,) = (await proposals(memos)).proposals
    await memos.service.delete(memos.administrator, old, hard=True)
    assert (await proposals(memos)).proposals == []
    with pytest.raises(NotFoundError):
        await memos.doorway.organising.settle(memos.administrator, one.id, accept=True)


async def test_OPER_4_rights_decide(memos: InProcess) -> None:
    """Who may not read both memories sees nothing and decides nothing; nor who may only read."""
    old, new = await moved(memos)
    (one,) = (await proposals(memos)).proposals
    stranger = await memos.caller("user:bob")
    service = memos.doorway.organising
    with pytest.raises(NotFoundError):
        await service.settle(stranger, one.id, "user:admin", accept=True)
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await service.automate(stranger, "user:admin", automatic=True)
    for id in (old, new):
        sharing = Sharing(readers=["user:bob"])
        await memos.service.share(memos.administrator, id, sharing)
    assert len((await proposals(memos, stranger, "user:admin")).proposals) == 1
    for accept in (True, False):
        with pytest.raises(PermissionDeniedError):
            await service.settle(stranger, one.id, "user:admin", accept=accept)
    assert (await memos.service.get(memos.administrator, old)).valid_to is None


async def test_LIFE_4_a_frozen_fact_is_not_overtaken(memos: InProcess) -> None:
    await memos.doorway.organising.automate(memos.administrator, automatic=True)
    old = await add(memos, "Ann lives in Oslo.", event_time=JANUARY)
    assert (await proposals(memos)).proposals == []
    await memos.service.freeze(memos.administrator, old)
    await add(memos, "Ann moved to Berlin.", event_time=JUNE)
    assert (await proposals(memos)).proposals == []
    assert (await memos.service.get(memos.administrator, old)).valid_to is None
