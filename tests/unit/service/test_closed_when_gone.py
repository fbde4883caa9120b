"""CUBE-3, CONV-6: what was made of memories and is deleted is closed as these are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import Visibility
from memos_ray.errors import NotFoundError
from memos_ray.gateway.memories.models import Memory, MemoryChange, Sharing
from memos_ray.testing.openai_endpoint import Endpoint
from memos_ray.testing.reading import memory, remembering
from tests.unit.service.test_extraction import DIALOGUE, Bench, endpoint, opened, server

__all__ = ["endpoint", "server"]

HEALTH = MemoryChange(sensitivity=["health"], compliance=["gdpr"])


@pytest.fixture
async def bench(
    tmp_path: Path, server: tuple[str, Endpoint], endpoint: Endpoint
) -> AsyncIterator[Bench]:
    async with opened(tmp_path, server) as made:
        yield made


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
