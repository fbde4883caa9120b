"""CONV-6, CUBE-3: a parameter memory has the labels of what was learnt, whenever it got them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.cube import State
from memos_ray.core.parameter import TeachingState
from memos_ray.core.vault.entries import LEARN
from memos_ray.gateway.memories.models import Memory, MemoryChange, NewMemory
from memos_ray.gateway.memories.record_models import LogFilter
from tests.unit.service.test_lessons import Bench, bench, ended, tokenizer, until

__all__ = ["bench", "tokenizer"]

HEALTH = MemoryChange(sensitivity=["health"], compliance=["gdpr"])


async def label(bench: Bench, id: str, change: MemoryChange = HEALTH) -> None:
    await bench.memos.service.update(bench.admin, id, change)


async def becomes(bench: Bench, id: str, wanted: Callable[[Memory], bool]) -> Memory:
    async with asyncio.timeout(60):
        while not wanted(found := await bench.memos.service.get(bench.admin, id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_it_has_those_that_came_while_it_was_learnt(bench: Bench) -> None:
    await label(bench, bench.ids[0], MemoryChange(sensitivity=["home"]))
    bench.trainer.go_on.clear()
    lesson = await bench.teach()
    await until(lambda: bool(bench.trainer.lessons))
    await label(bench, bench.ids[1])
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.STALE
    found = await bench.memos.service.get(bench.admin, lesson.id)
    assert (found.version, found.sensitivity, found.compliance) == (1, ["health", "home"], ["gdpr"])


@pytest.mark.parametrize("opened", [False, True])
async def test_it_gets_later_ones(bench: Bench, opened: bool) -> None:
    lesson = await bench.learnt()
    page = await bench.memos.doorway.logs.log(bench.admin, wanted=LogFilter(memory_id=bench.ids[2]))
    told = [one.detail for one in page.entries if one.operation == LEARN]
    assert told == [{"memory": lesson.id}]
    if opened:
        await bench.open()
    await label(bench, bench.ids[2])
    found = await becomes(bench, lesson.id, lambda one: bool(one.compliance))
    assert (found.sensitivity, found.attributes) == (
        ["health"],
        {"model": "hashing", "state": "live"},
    )
    assert (await bench.lesson(lesson.id)).state is TeachingState.STALE


async def test_frozen_it_gets_them_when_it_is_thawed(bench: Bench) -> None:
    first, second = await bench.learnt(bench.ids[:2]), await bench.learnt(bench.ids)
    await bench.memos.service.freeze(bench.admin, first.id)
    await label(bench, bench.ids[0])
    await becomes(bench, second.id, lambda one: bool(one.compliance))
    assert (await bench.memos.service.get(bench.admin, first.id)).compliance == []
    await bench.memos.service.freeze(bench.admin, first.id, frozen=False)
    await becomes(bench, first.id, lambda one: bool(one.compliance))


async def test_deleted_it_gets_them_all_the_same(bench: Bench) -> None:
    lesson = await bench.learnt()
    await bench.memos.service.delete(bench.admin, lesson.id)
    await label(bench, bench.ids[1])
    found = await becomes(bench, lesson.id, lambda one: bool(one.compliance))
    assert (found.state, found.sensitivity) == (State.DELETED, ["health"])


async def test_it_outlives_what_was_learnt_and_whatever_has_its_id(bench: Bench) -> None:
    lesson = await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await bench.memos.service.delete(bench.admin, bench.ids[1], hard=True)
    anew = NewMemory(id=bench.ids[1], text="The moon is made of cheese.")
    assert not (await bench.memos.service.add(bench.admin, [anew])).failed
    await label(bench, bench.ids[1])
    await label(bench, bench.ids[2], MemoryChange(sensitivity=["home"]))
    found = await becomes(bench, lesson.id, lambda one: bool(one.sensitivity))
    assert (found.state, found.sensitivity, found.compliance) == (State.ACTIVATED, ["home"], [])
