"""CUBE-2, CUBE-3: what a memory has no longer, through the SDK in process and over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memos_ray import AsyncMemOS
from memos_ray.errors import InvalidInputError

THEN, LATER = datetime(2023, 5, 1, tzinfo=UTC), datetime(2093, 5, 1, tzinfo=UTC)
TIMES = {"event_time": THEN, "valid_from": THEN, "valid_to": LATER}


async def added(memos: AsyncMemOS, **fields: Any) -> str:
    return (await memos.add("Ana lives in Lima.", **fields)).id or ""


async def test_CUBE_2_times_are_cleared_by_none_and_stay_when_they_are_absent(
    memos: AsyncMemOS,
) -> None:
    stored = await added(memos, expires_at=LATER, **TIMES)
    await memos.update(stored, "Ana lives in Quito.", mode="overwrite")
    kept = await memos.get(stored)
    assert (kept.event_time, kept.valid_from, kept.valid_to) == tuple(TIMES.values())
    assert kept.expires_at == LATER
    await memos.update(stored, valid_to=None, expires_at=None)
    found = await memos.get(stored)
    assert (found.valid_from, found.valid_to, found.expires_at) == (THEN, None, None)
    assert found.text == "Ana lives in Quito."
    await memos.update(stored, event_time=None, valid_from=None, tags=["town"])
    found = await memos.get(stored)
    assert (found.event_time, found.valid_from, found.tags) == (None, None, ["town"])
    with pytest.raises(InvalidInputError, match="changes nothing"):
        await memos.update(stored, valid_to=None)
    # It is found by what holds still.
    page = await memos.list(filter="valid_to < 2100-01-01T00:00:00Z")
    assert page.memories == []


async def test_CUBE_3_an_end_and_a_half_life_are_cleared_each_by_its_own_name(
    memos: AsyncMemOS,
) -> None:
    stored = await added(memos, half_life_s=60.0)
    with pytest.raises(InvalidInputError, match="changes nothing"):
        await memos.update(stored, expires_at=None)
    await memos.update(stored, half_life_s=None, expires_at=LATER)
    found = await memos.get(stored)
    assert (found.half_life_s, found.expires_at) == (None, LATER)
    await memos.update(stored, half_life_s=60.0, expires_at=None)
    found = await memos.get(stored)
    assert (found.half_life_s, found.expires_at) == (60.0, None)
    await memos.update(stored, half_life_s=None)
    assert (await memos.get(stored)).half_life_s is None


async def test_CUBE_2_of_other_fields_nothing_says_nothing(memos: AsyncMemOS) -> None:
    stored = await added(memos, tags=["town"], attributes={"n": 1}, priority=3)
    await memos.update(stored, tags=None, attributes=None, priority=None, valid_from=THEN)
    found = await memos.get(stored)
    assert (found.tags, found.attributes, found.priority) == (["town"], {"n": 1}, 3)


async def test_CUBE_2_LIFE_3_what_is_cleared_in_a_branch_is_cleared_by_its_merge(
    memos: AsyncMemOS,
) -> None:
    stored = await added(memos, expires_at=LATER, **TIMES)
    await memos.branches.create("trial")
    await memos.branches.update("trial", stored, valid_to=None, expires_at=None)
    assert (await memos.get(stored)).valid_to == LATER
    assert (await memos.branches.merge("trial")).merged
    found = await memos.get(stored)
    assert (found.event_time, found.valid_to, found.expires_at) == (THEN, None, None)
