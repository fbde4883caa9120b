"""VAULT-1: quotas of namespaces, from the doors down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.errors import NotFoundError, PermissionDeniedError, QuotaExceededError
from memos_ray.gateway.branches.models import MergeWish, NewBranch
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.testing.rest_door import RestDoor, problem_in, rest_door

PLACE, QUOTA = "user:admin/small", 20
IN_PLACE: dict[str, Any] = {"params": {"namespace": PLACE}}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[RestDoor]:
    async with rest_door(tmp_path) as door:
        await allow(door, QUOTA)
        yield door


async def allow(door: RestDoor, quota_bytes: int) -> None:
    body = {"kind": "user_private", "quota_bytes": quota_bytes}
    await door.done("PUT", f"/v1/admin/namespaces/{PLACE}", body)


async def add(door: RestDoor, size: int) -> Any:
    return await door.call("POST", "/v1/memories", {"text": "x" * size}, **IN_PLACE)


async def held(door: RestDoor) -> int:
    found = await door.done("GET", "/v1/memories", params={"namespace": PLACE, "limit": 100})
    return sum(len(one["text"]) for one in found["memories"])


async def test_VAULT_1_the_door_tells_what_is_missing_and_counts_it(door: RestDoor) -> None:
    assert (await add(door, 15)).is_success
    listed = await door.done("GET", "/v1/memories", **IN_PLACE)
    first = listed["memories"][0]["id"]
    refused = await add(door, 6)
    error = problem_in(refused, QuotaExceededError)
    assert error.status == 409
    assert (error.details["used_bytes"], error.details["needed_bytes"]) == (15, 6)
    statuses = [await shard.status() for shard in door.memos.crew.shards.values()]
    assert sum(one.counters.get("quota_refused", 0) for one in statuses) == 1
    await door.done("DELETE", f"/v1/memories/{first}", **IN_PLACE)
    assert (await add(door, QUOTA)).is_success


async def test_VAULT_1_concurrent_adders_never_pass_it(door: RestDoor) -> None:
    answers = await asyncio.gather(*(add(door, 3) for _ in range(20)))
    assert sorted(one.status_code for one in answers) == [201] * 6 + [409] * 14
    assert await held(door) == 18


async def test_VAULT_1_another_shard_goes_on_counting(door: RestDoor) -> None:
    assert (await add(door, 15)).is_success
    for name in list(door.memos.crew.shards):
        door.memos.crew.cut_off(name)
    await door.memos.supervisor.boot()
    problem_in(await add(door, 6), QuotaExceededError)
    assert (await add(door, 5)).is_success
    await allow(door, QUOTA + 1)
    assert (await add(door, 1)).is_success


async def test_VAULT_1_a_branch_is_merged_when_there_is_room_for_all_of_it(door: RestDoor) -> None:
    assert (await add(door, 15)).is_success
    branches, admin = door.memos.doorway.branches, door.memos.administrator
    await branches.create(admin, NewBranch(name="trial", namespace=PLACE))
    for size in (3, 3):
        await branches.add(admin, "trial", NewMemory(text="y" * size), PLACE)
    report = await branches.merge(admin, "trial", MergeWish(), PLACE)
    assert (report.merged, list(report.conflicts.values())) == (False, ["quota_exceeded"])
    assert await held(door) == 15
    await allow(door, QUOTA + 1)
    assert (await branches.merge(admin, "trial", MergeWish(), PLACE)).merged
    assert await held(door) == 21


async def test_VAULT_1_what_is_used_is_told_to_those_who_administer_it(door: RestDoor) -> None:
    assert (await add(door, 12)).is_success
    kept = (await add(door, 3)).json()["results"][0]["id"]
    gone = (await add(door, 4)).json()["results"][0]["id"]
    await door.done("DELETE", f"/v1/memories/{gone}", **IN_PLACE)
    await door.done("POST", f"/v1/memories/{kept}/archive", **IN_PLACE)

    async def used(namespace: str, **more: Any) -> Any:
        asked = {"namespace": namespace}
        return await door.call("GET", "/v1/admin/usage", params=asked, **more)

    expected = {"namespace": PLACE, "memories": 2, "text_bytes": 15, "quota_bytes": QUOTA}
    assert (await used(PLACE)).json() == expected
    home = (await door.done("GET", "/v1/admin/usage"))["namespace"]
    assert home == "user:admin"
    problem_in(await used("user:admin/nothing"), NotFoundError)
    # Who may read some of it learns nothing of the rest; a stranger not even that it is there.
    stranger, reader = await door.key_of("user:ann"), await door.key_of("user:ben")
    grant = {"subject": "user:ben", "actions": ["read", "create"], "namespace": PLACE}
    await door.done("POST", "/v1/admin/grants", {**grant, "reach": "private"})
    problem_in(await used(PLACE, key=stranger), NotFoundError)
    problem_in(await used(PLACE, key=reader), PermissionDeniedError)
    assert (await door.call("GET", "/v1/admin/usage", key=reader)).json()["memories"] == 0
