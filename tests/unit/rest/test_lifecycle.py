"""The doors of the lifecycle: REST, and the SDK over it."""

from __future__ import annotations

import pytest

from memos_ray.errors import IllegalStateError, LegalHoldError, PermissionDeniedError
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_LIFE_1_a_memory_is_put_away_and_comes_back(door: RestDoor) -> None:
    added = await door.done("POST", "/v1/memories", {"text": "tea at four"})
    memory_id = added["results"][0]["id"]
    path = f"/v1/memories/{memory_id}"
    await door.done("POST", f"{path}/archive", {"reason": "seldom wanted"})
    assert (await door.done("GET", path))["state"] == "archived"
    again = await door.call("POST", f"{path}/archive")
    assert problem_in(again, IllegalStateError).details["from"] == "archived"
    await door.done("POST", f"{path}/restore")
    assert (await door.done("GET", path))["state"] == "activated"
    log = await door.done("GET", "/v1/log", params={"memory_id": memory_id})
    moves = [(entry["operation"], entry["detail"]) for entry in log["entries"]]
    assert moves == [
        ("create", {}),
        ("archive", {"from": "activated", "to": "archived", "cause": "request"}),
        ("restore", {"from": "archived", "to": "activated", "cause": "request"}),
    ]


async def test_LIFE_2_operators_see_and_start_sweeps(door: RestDoor) -> None:
    swept = await door.done("POST", "/v1/lifecycle/sweep")
    assert swept["finished_at"] is not None
    assert await door.done("GET", "/v1/lifecycle") == swept
    stranger = await door.key_of("user:eve")
    for method, path in (("GET", "/v1/lifecycle"), ("POST", "/v1/lifecycle/sweep")):
        problem_in(await door.call(method, path, key=stranger), PermissionDeniedError)


async def test_CUBE_3_a_memory_comes_under_hold_and_is_released(door: RestDoor) -> None:
    added = await door.done("POST", "/v1/memories", {"text": "tea at four"})
    path = f"/v1/memories/{added['results'][0]['id']}"
    await door.done("POST", f"{path}/hold", {"reason": "case 7"})
    assert (await door.done("GET", path))["legal_hold"] is True
    problem_in(await door.call("DELETE", path, params={"hard": "true"}), LegalHoldError)
    await door.done("POST", f"{path}/release")
    assert (await door.done("GET", path))["legal_hold"] is False
    await door.done("DELETE", path, params={"hard": "true"})
