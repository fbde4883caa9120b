"""API-2, API-3 and EVO-1 over REST."""

from __future__ import annotations

import pytest

from memos_ray.testing.rest_door import RestDoor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _add(door: RestDoor, id: str, **fields: object) -> None:
    await door.done("POST", "/v1/memories", {"id": id, "text": f"Words of {id}.", **fields})


async def test_API_2_a_lineage_is_read(door: RestDoor) -> None:
    await _add(door, "root")
    await _add(door, "leaf", sources=[{"memory_id": "root", "version": 1}])
    found = await door.done("GET", "/v1/memories/leaf/provenance", params={"direction": "up"})
    assert [(node["id"], node["distance"]) for node in found["nodes"]] == [("leaf", 0), ("root", 1)]
    assert found["links"] == [
        {
            "made": "leaf",
            "tie": "source",
            "source": "root",
            "version": 1,
            "uri": None,
            "item": None,
        }
    ]
    page = await door.done("GET", "/v1/memories/root/provenance", params={"limit": 1})
    assert page["cursor"] is not None and page["nodes"][0]["made"]["trigger"] == "request"


async def test_API_3_logs_are_filtered(door: RestDoor) -> None:
    await _add(door, "read")
    await door.done("GET", "/v1/memories/read")
    params = {"reads": "true", "memory_id": "read", "operation": "get"}
    found = await door.done("GET", "/v1/log", params=params)
    assert [entry["memory_id"] for entry in found["entries"]] == ["read"]
    changes = await door.done("GET", "/v1/log", params={"everywhere": "true", "memory_id": "read"})
    assert [entry["operation"] for entry in changes["entries"]] == ["create"]


async def test_EVO_1_feedback_and_modes(door: RestDoor) -> None:
    await _add(door, "judged")
    said = await door.done("POST", "/v1/feedback", {"memory_id": "judged", "useful": True})
    assert said == {"worth": {"judged": 1.0}}
    status = await door.done("PUT", "/v1/evolution/mode", {"mode": "propose"})
    assert (status["mode"], status["worth"]["judged"]) == ("propose", 1.0)
    assert (await door.done("POST", "/v1/evolution/look"))["proposals"] == []
    assert (await door.done("GET", "/v1/evolution"))["mode"] == "propose"
