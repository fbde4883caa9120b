"""The same story through all three places that a client connects to: same results, same errors."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray

from memos_ray import AsyncMemOS, MemOS, NotFoundError, Settings, UnauthenticatedError
from memos_ray.cluster.keyring import Keyring
from memos_ray.gateway import serve_deployment
from memos_ray.testing.processes import free_port
from tests.e2e.scenario import HOME, Teller

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Cluster:
    """An embedded cluster, its doors, and a tenant for each of them."""

    embedded: MemOS
    url: str
    address: str
    settings: Settings
    keys: dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    data = tmp_path_factory.mktemp("memos")
    embedder = {"kind": "custom", "factory": "memos_ray.testing.embedders:HashingEmbedder"}
    # Workers and the other driver find the same settings in their environment.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in embedder.items():
            patch.setenv(f"MEMOS_EMBEDDER__{name.upper()}", value)
        settings = Settings(data=data)
        with MemOS(data=data, settings=settings) as embedded:
            port = free_port()
            serve_deployment.start(settings, Keyring(settings).public_key(), port)
            keys = {
                name: embedded.admin.create_tenant(f"by-{name}").secret or ""
                for name in ("data", "address", "url")
            }
            address = ray.get_runtime_context().gcs_address
            yield Cluster(embedded, f"http://127.0.0.1:{port}", address, settings, keys)
            serve_deployment.stop()


@pytest.fixture(scope="module")
def transcripts(cluster: Cluster) -> dict[str, list[Any]]:
    script = Path(__file__).with_name("scenario.py")
    command = [sys.executable, "-P", str(script), cluster.address, str(cluster.settings.data)]
    with subprocess.Popen(
        [*command, cluster.keys["address"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as other:
        told = {"data": Teller(cluster.embedded.with_key(cluster.keys["data"])).tell()}
        with MemOS(url=cluster.url, api_key=cluster.keys["url"]) as remote:
            told["url"] = Teller(remote).tell()
        out, problems = other.communicate(timeout=400)
    assert other.returncode == 0, problems.decode()[-3000:]
    told["address"] = json.loads(out)
    # Through JSON as well, so that tuples and lists are the same.
    return {name: json.loads(json.dumps(story)) for name, story in told.items()}


@pytest.mark.parametrize("place", ["address", "url"])
def test_the_story_is_the_same_everywhere(transcripts: dict[str, Any], place: str) -> None:
    expected, found = transcripts["data"], transcripts[place]
    tenant = json.dumps(found).replace(f"by-{place}", "by-data")
    assert list(_differences(expected, json.loads(tenant), "story")) == []


def _differences(one: Any, other: Any, place: str) -> Iterator[str]:
    """Names the places in which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        told = f"[{one[0]}]" if one and one[0] == other[0] and isinstance(one[0], str) else ""
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{place}{told}.{number}")
    elif one != other:
        yield f"{place}: {one!r} is {other!r}"


def test_the_story_is_the_right_one(transcripts: dict[str, Any]) -> None:
    story = dict(transcripts["data"])
    assert story["what failed"] == ["invalid_input", "already_exists", "invalid_input"]
    assert story["add once, again"]["replayed"] is True
    assert story["cut off after"] == [10, 20, 30]
    assert story["resumed"] == [50, 20, 29, 1]
    assert story["events"] == 49
    assert story["search"]["hits"][0]["memory"]["text"] == "Bob likes the hills."
    assert story["stranger finds"]["hits"] == []
    assert len(story["search pages"][1]) == 7
    refusals = {what: told[1] for what, told in transcripts["data"] if _is_refusal(told)}
    assert refusals["stranger reads"] == refusals["planner reads again"] == "not_found"
    assert refusals["planner changes it"] == "permission_denied"
    assert refusals["an expired key"] == "credential_expired"
    assert refusals["a text too long"] == "payload_too_large"
    assert refusals["a bad cursor"] == "invalid_cursor"
    assert refusals["a bad filter"] == "invalid_filter"
    assert not [what for what, told in story.items() if _is_refusal(told) and "not" in told[0][:3]]


def _is_refusal(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 4 and str(told[0]).endswith("Error")


def test_tenants_see_nothing_of_each_other(cluster: Cluster, transcripts: dict[str, Any]) -> None:
    with MemOS(url=cluster.url, api_key=cluster.keys["url"]) as remote:
        local = cluster.embedded.with_key(cluster.keys["data"])
        theirs = local.add("a secret of the other tenant").id or ""
        for read in (remote.get, remote.history, remote.delete, remote.restore):
            with pytest.raises(NotFoundError):
                read(theirs)
        found = remote.search("secret of the other tenant", limit=50)
        assert theirs not in [hit.memory.id for hit in found.hits]
        assert theirs not in [memory.id for memory in remote.iterate()]
        assert local.get(theirs).text == "a secret of the other tenant"
        mine = remote.add("own", id=theirs)
        assert mine.id == theirs and remote.get(theirs).text == "own"


def test_the_asynchronous_client_does_the_same(cluster: Cluster) -> None:
    async def story(memos: AsyncMemOS) -> list[str]:
        await memos.admin.create_namespace(f"{HOME}/async", kind="user_private")
        place = f"{HOME}/async"
        written = await asyncio.gather(*(memos.add(f"async {n}", place) for n in range(40)))
        assert len({one.id for one in written}) == 40
        listed = [memory.text async for memory in memos.iterate(place, limit=15)]
        found = await memos.search("async 7", namespace=place, limit=50)
        assert {hit.memory.text for hit in found.hits} == set(listed)
        with pytest.raises(UnauthenticatedError):
            await memos.with_key("nobody").whoami()
        return sorted(listed)

    async def both() -> tuple[list[str], list[str]]:
        async with AsyncMemOS(url=cluster.url, api_key=cluster.keys["url"]) as remote:
            # Ray runs in this process: the address joins it.
            async with AsyncMemOS(
                address=cluster.address, api_key=cluster.keys["data"], settings=cluster.settings
            ) as joined:
                return await asyncio.gather(story(remote), story(joined))

    one, other = asyncio.run(both())
    assert one == other
