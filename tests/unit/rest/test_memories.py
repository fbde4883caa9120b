"""Every route of the memory API, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from memos_ray.errors import (
    AlreadyExistsError,
    FrozenError,
    IdempotencyConflictError,
    IllegalStateError,
    NotFoundError,
    PayloadTooLargeError,
    VersionConflictError,
)
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _add(door: RestDoor, text: str, **fields: Any) -> str:
    report = await door.done("POST", "/v1/memories", {"text": text, **fields})
    return str(report["results"][0]["id"])


async def _place(door: RestDoor, name: str) -> dict[str, str]:
    return {"namespace": await door.memos.namespace(f"user:admin/{name}")}


async def test_one_memory_is_created_and_read_back(door: RestDoor) -> None:
    body = {
        "text": "The walrus likes Lisbon.",
        "tags": ["home", "home"],
        "speaker": "Ana",
        "role": "user",
        "conversation": "chat-7",
        "session": "s3",
        "position": 41,
        "event_time": "2023-05-08T13:56:00+02:00",
        "attributes": {"n": 3, "ok": True, "x": 0.5, "name": "Ana"},
        "priority": 2,
        "half_life_s": 60.0,
        "sources": [{"uri": "file:a", "item": "D1:3"}],
        "mentions": [{"start": "2023-05-01T00:00:00Z", "end": "2023-05-02T00:00:00Z"}],
    }
    answer = await door.call("POST", "/v1/memories", body)
    assert answer.status_code == 201
    (result,) = answer.json()["results"]
    assert result["version"] == 1 and result["error"] is None and not result["replayed"]
    memory = await door.done("GET", f"/v1/memories/{result['id']}")
    assert memory["text"] == body["text"]
    assert memory["tags"] == ["home"]
    assert memory["event_time"] == "2023-05-08T11:56:00Z"
    assert memory["attributes"] == body["attributes"]
    assert memory["owner"] == "user:admin" and memory["visibility"] == "private"
    assert memory["state"] == "activated" and memory["form"] == "plaintext"


async def test_every_item_of_a_batch_has_its_own_outcome(door: RestDoor) -> None:
    taken = await _add(door, "first of its name", id="walrus-1")
    items: list[object] = [
        {"text": "fine"},
        {"text": ""},
        {"text": "x" * 2001},
        {"text": "again", "id": taken},
        {"text": "odd", "colour": "blue"},
        {"text": "fine, too"},
    ]
    answer = await door.call("POST", "/v1/memories", {"memories": items})
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [(one["error"] or {}).get("code") for one in results] == [
        None,
        "invalid_input",
        "payload_too_large",
        "already_exists",
        "invalid_input",
        None,
    ]
    assert all(one["id"] for one in (results[0], results[5]))
    assert results[1]["error"]["details"]["errors"][0].startswith("memories.1.text: ")
    assert results[4]["error"]["details"]["errors"][0].startswith("memories.4.colour: ")


async def test_a_batch_without_failures_is_created(door: RestDoor) -> None:
    answer = await door.call("POST", "/v1/memories", {"memories": [{"text": "a"}, {"text": "b"}]})
    assert answer.status_code == 201
    assert [one["error"] for one in answer.json()["results"]] == [None, None]


async def test_an_idempotency_key_acts_once(door: RestDoor) -> None:
    headers = {"Idempotency-Key": "walrus-key"}
    first = await door.call("POST", "/v1/memories", {"text": "once"}, headers=headers)
    again = await door.call("POST", "/v1/memories", {"text": "once"}, headers=headers)
    assert again.status_code == 201 and again.json()["results"][0]["replayed"]
    assert again.json()["results"][0]["id"] == first.json()["results"][0]["id"]
    other = await door.call("POST", "/v1/memories", {"text": "twice"}, headers=headers)
    problem_in(other, IdempotencyConflictError)


async def test_the_key_of_a_batch_stands_for_each_of_its_items(door: RestDoor) -> None:
    body = {"memories": [{"text": "one"}, {"text": "two"}]}
    headers = {"Idempotency-Key": "batch-key"}
    await door.done("POST", "/v1/memories", body, headers=headers)
    again = await door.done("POST", "/v1/memories", body, headers=headers)
    assert [one["replayed"] for one in again["results"]] == [True, True]


async def test_a_taken_id_is_refused(door: RestDoor) -> None:
    await _add(door, "mine", id="taken-1")
    answer = await door.call("POST", "/v1/memories", {"text": "yours", "id": "taken-1"})
    problem_in(answer, AlreadyExistsError)


async def test_an_update_is_a_compare_and_set(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'lives in Rome')}"
    change = {"text": "lives in Milan", "mode": "overwrite", "expected_version": 1}
    report = await door.done("PATCH", path, change)
    assert report["results"][0]["version"] == 2
    problem_in(await door.call("PATCH", path, change), VersionConflictError)
    assert (await door.done("GET", path))["text"] == "lives in Milan"
    assert (await door.done("GET", path, params={"version": 1}))["text"] == "lives in Rome"


async def test_history_diff_and_rollback(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'the train leaves at 9:40')}"
    await door.done("PATCH", path, {"text": "the train leaves at 10:15", "reason": "timetable"})
    diff = await door.done("GET", f"{path}/diff", params={"before": 1, "after": 2})
    assert "-the train leaves at 9:40" in diff["text"]
    report = await door.done("POST", f"{path}/rollback", {"to": 1, "expected_version": 2})
    assert report["results"][0]["version"] == 3
    first = await door.done("GET", f"{path}/history", params={"limit": 2})
    rest = await door.done("GET", f"{path}/history", params={"cursor": first["cursor"]})
    versions = [*first["versions"], *rest["versions"]]
    assert [(one["number"], one["change"]) for one in versions] == [
        (3, "rollback"),
        (2, "merge"),
        (1, "create"),
    ]
    assert rest["cursor"] is None
    missing = await door.call("GET", path, params={"version": 9})
    problem_in(missing, NotFoundError)


async def test_soft_deletion_is_undone(door: RestDoor) -> None:
    place = await _place(door, "bin")
    report = await door.done("POST", "/v1/memories", {"text": "to the bin"}, params=place)
    path = f"/v1/memories/{report['results'][0]['id']}"
    await door.done("DELETE", path, params={"reason": "old", "expected_version": 1})
    assert (await door.done("GET", "/v1/memories", params=place))["memories"] == []
    shown = await door.done("GET", "/v1/memories", params={**place, "include_deleted": True})
    assert [one["state"] for one in shown["memories"]] == ["deleted"]
    problem_in(await door.call("PATCH", path, {"text": "no"}), IllegalStateError)
    await door.done("POST", f"{path}/restore")
    assert len((await door.done("GET", "/v1/memories", params=place))["memories"]) == 1


async def test_hard_deletion_is_final(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'gone for good')}"
    await door.done("DELETE", path, params={"hard": True})
    for answer in (
        await door.call("GET", path),
        await door.call("GET", path, params={"version": 1}),
        await door.call("POST", f"{path}/restore"),
        await door.call("GET", f"{path}/history"),
    ):
        problem_in(answer, NotFoundError)


async def test_a_frozen_memory_does_not_change(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'settled')}"
    await door.done("POST", f"{path}/freeze", {"reason": "audit"})
    problem_in(await door.call("PATCH", path, {"text": "unsettled"}), FrozenError)
    problem_in(await door.call("DELETE", path), FrozenError)
    await door.done("POST", f"{path}/unfreeze")
    await door.done("PATCH", path, {"text": "unsettled"})


async def test_sharing_lets_one_in_and_not_another(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'the key hangs behind the blue door')}"
    friend, stranger = await door.key_of("agent:friend"), await door.key_of("agent:stranger")
    problem_in(await door.call("GET", path, key=friend), NotFoundError)
    await door.done("POST", f"{path}/share", {"readers": ["agent:friend"]})
    assert (await door.done("GET", path, key=friend))["text"].startswith("the key")
    problem_in(await door.call("GET", path, key=stranger), NotFoundError)
    await door.done("POST", f"{path}/share", {"remove": ["agent:friend"]})
    problem_in(await door.call("GET", path, key=friend), NotFoundError)


async def test_listing_is_paged_and_filtered(door: RestDoor) -> None:
    place = await _place(door, "pages")
    items = [{"text": f"entry {n}", "tags": ["even" if n % 2 == 0 else "odd"]} for n in range(7)]
    await door.done("POST", "/v1/memories", {"memories": items}, params=place)
    texts: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor:
        following = {"cursor": cursor} if cursor else {}
        page = await door.done("GET", "/v1/memories", params={**place, "limit": 3, **following})
        texts += [one["text"] for one in page["memories"]]
        cursor = page["cursor"]
        pages += 1
    assert pages == 3
    assert sorted(texts) == sorted(f"entry {n}" for n in range(7))
    even = await door.done("GET", "/v1/memories", params={**place, "tag": "even"})
    assert len(even["memories"]) == 4
    odd = await door.done("GET", "/v1/memories", params={**place, "filter": "not tags:even"})
    assert len(odd["memories"]) == 3


async def test_searching_explains_filters_and_pages(door: RestDoor) -> None:
    place = await _place(door, "search")
    items = [
        {"text": f"the lighthouse number {n} stands on a rock", "tags": [f"t{n % 2}"]}
        for n in range(6)
    ]
    added = await door.done("POST", "/v1/memories", {"memories": items}, params=place)
    query = {
        "query": "which lighthouse stands on a rock?",
        "namespaces": [place["namespace"]],
        "limit": 4,
        "explain": True,
        "token": added["token"],
    }
    first = await door.done("POST", "/v1/search", query)
    rest = await door.done("POST", "/v1/search", {**query, "cursor": first["cursor"]})
    found = [hit["memory"]["id"] for hit in (*first["hits"], *rest["hits"])]
    assert len(set(found)) == len(found) == 6
    assert rest["cursor"] is None
    assert first["understood"]["intent"]
    for hit in first["hits"]:
        total = sum(signal["contribution"] for signal in hit["signals"])
        assert hit["score"] == pytest.approx(total)
    some = await door.done("POST", "/v1/search", {**query, "limit": 10, "filter": "tags:t1"})
    assert len(some["hits"]) == 3
    structured = {"field": "tags", "op": "any", "value": ["t0"]}
    others = await door.done("POST", "/v1/search", {**query, "limit": 10, "filter": structured})
    assert len(others["hits"]) == 3


async def test_the_past_is_searched(door: RestDoor) -> None:
    place = await _place(door, "past")
    added = await door.done("POST", "/v1/memories", {"text": "she lives in Rome"}, params=place)
    path = f"/v1/memories/{added['results'][0]['id']}"
    before = (await door.done("GET", path))["updated_at"]
    await door.done("PATCH", path, {"text": "she lives in Milan", "mode": "overwrite"})
    query = {"query": "where does she live?", "namespaces": [place["namespace"]]}
    now = await door.done("POST", "/v1/search", query)
    then = await door.done("POST", "/v1/search", {**query, "as_of": before})
    assert [hit["memory"]["text"] for hit in now["hits"]] == ["she lives in Milan"]
    assert [hit["memory"]["text"] for hit in then["hits"]] == ["she lives in Rome"]


async def test_the_log_names_who_did_what_and_when(door: RestDoor) -> None:
    place = await _place(door, "logged")
    headers = {"X-Request-Id": "request-77"}
    added = await door.done(
        "POST", "/v1/memories", {"text": "noted"}, params=place, headers=headers
    )
    memory_id = added["results"][0]["id"]
    await door.done("PATCH", f"/v1/memories/{memory_id}", {"tags": ["x"]})
    log = await door.done("GET", "/v1/log", params={**place, "limit": 1})
    assert [one["operation"] for one in log["entries"]] == ["create"]
    assert log["entries"][0]["request_id"] == "request-77"
    rest = await door.done("GET", "/v1/log", params={**place, "cursor": log["cursor"]})
    assert [one["operation"] for one in rest["entries"]] == ["merge"]
    mine = await door.done("GET", "/v1/log", params={**place, "request_id": "request-77"})
    assert [one["memory_id"] for one in mine["entries"]] == [memory_id]
    assert "noted" not in str(log)


async def test_a_batch_over_the_limit_is_refused_whole(door: RestDoor) -> None:
    place = await _place(door, "many")
    body = {"memories": [{"text": "x"}] * 51}
    problem_in(await door.call("POST", "/v1/memories", body, params=place), PayloadTooLargeError)
    assert (await door.done("GET", "/v1/memories", params=place))["memories"] == []


async def test_pages_go_on_under_a_filter_with_a_relative_time(door: RestDoor) -> None:
    place = await _place(door, "recent")
    items = [{"text": f"recent {n}"} for n in range(3)]
    await door.done("POST", "/v1/memories", {"memories": items}, params=place)
    query = {**place, "limit": 2, "filter": "created_at > now-7d"}
    first = await door.done("GET", "/v1/memories", params=query)
    rest = await door.done("GET", "/v1/memories", params={**query, "cursor": first["cursor"]})
    assert len(first["memories"]) + len(rest["memories"]) == 3


async def test_CUBE_2_a_time_that_is_null_is_cleared(door: RestDoor) -> None:
    path = f"/v1/memories/{await _add(door, 'lives in Rome')}"
    await door.done("PATCH", path, {"valid_to": "2093-05-01T00:00:00Z"})
    await door.done("PATCH", path, {"tags": ["town"]})
    assert (await door.done("GET", path))["valid_to"]
    await door.done("PATCH", path, {"valid_to": None, "text": None})
    found = await door.done("GET", path)
    assert (found.get("valid_to"), found["text"]) == (None, "lives in Rome")
