"""Liveness, readiness, metrics, version; and what the edge does when the parts behind it fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from memos_ray import __version__
from memos_ray.actors.supervisor import Supervisor
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import GatewaySettings, Settings
from memos_ray.errors import DeadlineExceededError, InternalError, UnavailableError
from memos_ray.gateway.admin.service import AdminService
from memos_ray.gateway.app import create_app
from memos_ray.testing.in_process import in_process
from memos_ray.testing.rest_door import RestDoor, problem_in, rest_door

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_alive_ready_and_versioned_without_a_credential(door: RestDoor) -> None:
    alive = await door.done("GET", "/healthz", key="")
    assert alive == {"status": "ok", "version": __version__, "components": []}
    ready = await door.done("GET", "/readyz", key="")
    assert ready["status"] == "ok"
    assert {one["name"] for one in ready["components"]} == {"policy", "supervisor", "shard-0"}
    version = await door.done("GET", "/version", key="")
    assert version == {"name": "memos-ray", "version": __version__}


async def _samples(door: RestDoor) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await door.call("GET", "/metrics", key="")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _labels(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


async def test_requests_are_counted(door: RestDoor) -> None:
    route = _labels(replica="0", route="/v1/memories", method="POST", status="201")
    before = await _samples(door)
    await door.done("POST", "/v1/memories", {"text": "counted"})
    await door.call("POST", "/v1/memories", {"text": ""})
    found = await door.done("POST", "/v1/search", {"query": "counted"})
    after = await _samples(door)

    def grown(name: str, labels: frozenset[tuple[str, str]]) -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    assert grown("memos_http_requests_total", route) == 1
    refused = _labels(replica="0", route="/v1/memories", method="POST", status="422")
    assert grown("memos_http_requests_total", refused) == 1
    seconds = _labels(replica="0", route="/v1/memories", method="POST")
    assert grown("memos_http_request_seconds_count", seconds) == 2
    assert grown("memos_adds_total", _labels(replica="0", outcome="stored")) == 1
    alone = _labels(replica="0")
    assert grown("memos_searches_total", alone) == 1
    assert grown("memos_search_hits_total", alone) == len(found["hits"])
    assert after["memos_shard_up", _labels(shard="shard-0")] == 1
    assert after["memos_shard_resident_memories", _labels(shard="shard-0")] >= 1
    assert after["memos_shard_count", _labels(shard="shard-0", count="writes")] >= 1


async def test_labels_are_bounded(door: RestDoor) -> None:
    for name in ("a", "b", "c"):
        await door.call("GET", f"/v1/memories/no-such-{name}")
        await door.call("GET", f"/nowhere/{name}")
        await door.call("FROB" + name.upper(), "/v1/memories")
    routes = {dict(labels).get("route") for _, labels in await _samples(door)}
    assert routes <= {
        None,
        "unmatched",
        *(getattr(route, "path", None) for route in door.app.routes),
    }
    methods = {dict(labels).get("method") for _, labels in await _samples(door)}
    assert methods <= {None, "GET", "POST", "PUT", "PATCH", "DELETE", "other"}
    assert "other" in methods


async def _away(_: object) -> None:
    raise UnavailableError("the actor is away")


async def test_degraded_without_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rest_door(tmp_path) as door:
        monkeypatch.setattr(VaultShard, "status", _away)
        ready = await door.done("GET", "/readyz")
        assert ready["status"] == "degraded"
        shard = next(one for one in ready["components"] if one["name"] == "shard-0")
        assert shard["status"] == "degraded"
        metrics = await door.call("GET", "/metrics")
        assert 'memos_shard_up{shard="shard-0"} 0.0' in metrics.text


async def test_not_ready_when_the_supervisor_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rest_door(tmp_path) as door:
        monkeypatch.setattr(Supervisor, "status", _away)
        answer = await door.call("GET", "/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "down"
        assert "memos_http_requests_total" in (await door.call("GET", "/metrics")).text
        assert (await door.call("GET", "/healthz")).status_code == 200


async def test_an_answer_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_process(tmp_path) as memos:
        settings = Settings(gateway=GatewaySettings(timeout_s=0.05))
        transport = httpx.ASGITransport(create_app(memos.doorway, settings))

        async def forever(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(AdminService, "whoami", forever)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            headers = {"Authorization": f"Bearer {memos.administrator.credential}"}
            answer = await client.get("/v1/whoami", headers=headers)
        assert problem_in(answer, DeadlineExceededError).details == {"limit_s": 0.05}


async def test_the_application_warms_up_and_closes(tmp_path: Path) -> None:
    async with in_process(tmp_path) as memos:
        app = create_app(memos.doorway, Settings())
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                assert (await client.get("/readyz")).status_code == 200


class TestDefects:
    """An exception that nobody named; here the log may say so, but not what it was about."""

    @pytest.fixture(autouse=True)
    def _discreet_logs(self) -> None:
        """Takes the place of the module's rule that nothing is logged as an error."""

    async def test_a_defect_tells_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken(*_: object) -> None:
            raise RuntimeError("the walrus is broken")

        async with rest_door(tmp_path) as door:
            monkeypatch.setattr(AdminService, "whoami", broken)
            answer = await door.call("GET", "/v1/whoami", headers={"X-Request-Id": "req-1"})
        problem = problem_in(answer, InternalError)
        assert problem.request_id == "req-1" and not problem.details
        assert "walrus" not in answer.text and "walrus" not in caplog.text
        (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
        assert "req-1" in record.message and "RuntimeError" in record.message
        assert record.exc_info is None
