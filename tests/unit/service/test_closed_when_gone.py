"""CUBE-3, CONV-6: what was made of memories and is deleted is closed as these are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import SourceRef, Visibility
from memos_ray.core.vault.operations import Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import NotFoundError
from memos_ray.gateway.memories.models import Memory, MemoryChange, NewMemory, Sharing
from memos_ray.testing.reading import memory, remembering
from tests.unit.service.test_extraction import DIALOGUE, Bench, bench, endpoint, server

__all__ = ["bench", "endpoint", "server"]

HEALTH = MemoryChange(sensitivity=["health"], compliance=["gdpr"])


async def becomes(bench: Bench, id: str, wanted: Callable[[Memory], bool]) -> Memory:
    async with asyncio.timeout(60):
        while not wanted(found := await bench.memos.service.get(bench.admin, id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_what_its_owner_has_deleted_is_closed_and_comes_back_so(bench: Bench) -> None:
    service, me = bench.memos.service, bench.admin
    bob = await bench.memos.caller("user:bob")
    await bench.add("I like jazz.", id="taste", visibility="private", readers=["user:bob"])
    await bench.until(["I like jazz."])
    (made,) = await bench.made()
    await service.delete(me, made.id, reason="mine")
    assert (await service.get(bob, made.id)).text == "I like jazz."
    await service.update(me, "taste", HEALTH)
    await service.share(me, "taste", Sharing(remove=["user:bob"]))
    found = await becomes(bench, made.id, lambda one: not one.readers)
    closed = (State.DELETED, ["health"], ["gdpr"])
    assert (found.state, found.sensitivity, found.compliance) == closed
    with pytest.raises(NotFoundError):
        await service.get(bob, made.id)
    # That its source comes back is no reason for this one to.
    await service.delete(me, "taste")
    await service.restore(me, "taste")
    assert await bench.texts() == []
    (back,) = (await service.restore(me, made.id)).results
    found = await service.get(me, made.id)
    assert (found.version, found.text) == (back.version, "I like jazz.")
    assert (found.readers, found.sensitivity, found.compliance) == ([], ["health"], ["gdpr"])


async def test_what_went_with_a_source_is_closed_by_another_and_comes_back_put_away(
    bench: Bench,
) -> None:
    service, me = bench.memos.service, bench.admin
    text = "I moved to Lisbon last month. I like jazz."
    bench.endpoint.script = [remembering(memory(text, "t1", "t2"))]
    first, second = await bench.ingest(DIALOGUE[:2])
    await bench.until([text])
    (made,) = await bench.made()
    await bench.memos.doorway.lifecycle.archive(me, made.id, None, None, None)
    await service.delete(me, first)
    await becomes(bench, made.id, lambda one: one.state is State.DELETED)
    await service.update(me, second, HEALTH)
    found = await becomes(bench, made.id, lambda one: bool(one.compliance))
    assert (found.state, found.sensitivity) == (State.DELETED, ["health"])
    await service.restore(me, first)
    found = await becomes(bench, made.id, lambda one: one.state is not State.DELETED)
    assert (found.state, found.sensitivity) == (State.ARCHIVED, ["health"])


async def test_what_is_restored_while_its_source_is_gone_goes_again(bench: Bench) -> None:
    service, me = bench.memos.service, bench.admin
    await bench.add("I like jazz.", id="taste", visibility=Visibility.SHARED)
    await bench.until(["I like jazz."])
    (made,) = await bench.made()
    await service.delete(me, made.id)
    await service.delete(me, "taste")
    assert await bench.texts() == []
    await service.restore(me, made.id)
    await becomes(bench, made.id, lambda one: one.state is State.DELETED and one.version == 4)
    await service.restore(me, "taste")
    await bench.until(["I like jazz."])


async def test_what_has_overtaken_it_is_no_source_of_it(bench: Bench) -> None:
    service, me = bench.memos.service, bench.admin
    await bench.add("I like jazz.", id="taste")
    await bench.until(["I like jazz."])
    (made,) = await bench.made()
    new = NewMemory(text="I like opera.", id="newer", sensitivity=["health"])
    assert not (await service.add(me, [new])).failed
    newer = SourceRef(cube_id="newer", version=1)
    over = Update(made.id, UpdateMode.MERGE, valid_to=bench.memos.clock.now(), sources=(newer,))
    context = CallContext(Principal("default", bench.memos.administrator_id))
    shard, partition = bench.memos.crew.shard("shard-0"), int(made.id[-4:], 16)
    (outcome,) = await shard.write(partition, [Submission(context, Write("", over))])
    assert isinstance(outcome, Written)
    await service.delete(me, "newer")
    await service.update(me, "taste", MemoryChange(compliance=["gdpr"]))
    found = await becomes(bench, made.id, lambda one: bool(one.compliance))
    await bench.settled()
    found = await service.get(me, made.id)
    assert (found.state, found.sensitivity, found.version) == (State.ACTIVATED, [], 3)
