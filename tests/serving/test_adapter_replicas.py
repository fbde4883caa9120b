"""Adapters in replicas under Ray Serve: fetched from the object store, found again, never lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.generation import ChatRequest
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import InvalidInputError, NotFoundError, UnavailableError
from memos_ray.serving import deployment
from memos_ray.serving.adapter_replicas import ServedAdapters
from memos_ray.serving.handles import ModelHandle, ReplicaKvBuilder
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HASHING_SHAPES, HashingEngine
from memos_ray.testing.random_adapters import random_adapter
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.waiting import eventually
from tests.serving.test_deployment import MEMORIES, Owner, lost, request, whole

pytestmark = pytest.mark.cluster

BASE = HashingEngine().fingerprint.model.weights


def adapter(seed: int) -> AdapterPayload:
    return random_adapter(BASE, HASHING_SHAPES, seed=seed)


def asking(payload: AdapterPayload, question: str = "Who?") -> ChatRequest:
    return replace(request(question), adapter=payload.manifest.digest)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHandle]:
    served = ModelSettings.model_validate(
        {
            "name": "adapted",
            "path": tokenizer,
            "engine": "custom",
            "factory": "memos_ray.testing.engines:HashingEngine",
            "context_tokens": 2048,
            "replicas_min": 2,
            "replicas_max": 2,
            "cpus": 0,
        }
    )
    settings = Settings(data=tmp_path_factory.mktemp("memos"), vectors={"enabled": False})  # type: ignore[arg-type]
    with MemOS(data=settings.data, settings=settings):
        deployment.start([served])
        yield ModelHandle("adapted")
        deployment.end()


async def expected(tokenizer: Path, payload: AdapterPayload, question: str = "Who?") -> str:
    """What a replica of this process answers."""
    local = ModelReplica(HashingEngine(), ModelTokenizer(tokenizer), 2048)

    async def source() -> AdapterPayload:
        return payload

    text, _ = await whole(local.chat(asking(payload, question), weights=source))
    return text


async def pids(model: ModelHandle) -> set[int]:
    """The processes of those that answer; a router may not have heard of a death yet."""
    found: set[int] = set()
    async with asyncio.timeout(240):
        for _ in range(30):
            with suppress(UnavailableError):
                found.add((await model.status()).pid)
    return found


async def test_replicas_fetch_what_they_lack(model: ModelHandle, tokenizer: Path) -> None:
    payloads = [adapter(seed) for seed in range(6)]
    references = [ray.put(payload) for payload in payloads]
    right = [await expected(tokenizer, payload) for payload in payloads]
    assert len(set(right)) == 6
    asked = [
        whole(model.chat(asking(payload), weights=reference))
        for payload, reference in zip(payloads * 8, references * 8, strict=True)
    ]
    answers = await asyncio.gather(*asked)
    assert [text for text, _ in answers] == right * 8
    plain, _ = await whole(model.chat(request()))
    assert plain not in right


async def test_requests_go_where_their_adapter_is(model: ModelHandle) -> None:
    payload = adapter(20)
    reference = ray.put(payload)
    _, last = await whole(model.chat(asking(payload), weights=reference))
    assert last.kv is not None and last.kv.at_holder is False
    for number in range(10):
        question = asking(payload, f"What is {number}?")
        # Not even the weights are needed any more.
        _, last = await whole(model.chat(question))
        assert last.kv is not None and last.kv.at_holder


async def test_an_adapter_outlives_the_replicas(model: ModelHandle, tokenizer: Path) -> None:
    payload = adapter(30)
    reference = ray.put(payload)
    right = await expected(tokenizer, payload)
    for _ in range(2):
        text, _ = await whole(model.chat(asking(payload), weights=reference))
        assert text == right
        for pid in await pids(model):
            os.kill(pid, signal.SIGKILL)


async def test_one_that_is_lost_or_wrong_is_told_before_any_word(model: ModelHandle) -> None:
    owner: Any = ray.remote(Owner).options(num_cpus=0).remote()
    doomed, other = ray.get(owner.put.remote([adapter(40), adapter(41)]))
    held = asking(adapter(41))
    text, _ = await whole(model.chat(held, weights=other))
    os.kill(ray.get(owner.pid.remote()), signal.SIGKILL)
    await eventually(lambda: lost(doomed))
    with pytest.raises(NotFoundError) as caught:
        await whole(model.chat(asking(adapter(40)), weights=doomed))
    assert caught.value.details["adapter"] == adapter(40).manifest.digest
    # A replica that has loaded it needs nobody's object.
    again, last = await whole(model.chat(replace(held, id="again"), weights=other))
    assert again == text and last.kv is not None and last.kv.at_holder
    foreign = random_adapter("another", HASHING_SHAPES, seed=1)
    with pytest.raises(InvalidInputError) as refused:
        await whole(model.chat(asking(foreign), weights=ray.put(foreign)))
    assert refused.value.details["reason"] == "base"


async def test_a_cache_is_built_with_the_adapter(model: ModelHandle, tokenizer: Path) -> None:
    payload = adapter(50)
    reference, digest = ray.put(payload), payload.manifest.digest
    manifest, kv = await ReplicaKvBuilder(["adapted"]).build(
        "adapted", MEMORIES, salt="acme", sources=(), adapter=digest, weights=reference
    )
    assert manifest.adapter == digest
    for pid in await pids(model):
        os.kill(pid, signal.SIGKILL)
    text, last = await whole(model.chat(asking(payload), [kv], weights=reference))
    assert last.kv is not None and last.kv.refused is None and last.kv.loaded_tokens > 0
    assert text == await expected(tokenizer, payload)
    plain, last = await whole(model.chat(replace(request(), id="plain"), [kv]))
    assert last.kv is not None and (last.kv.refused, last.kv.loaded_tokens) == ("adapter", 0)
    assert plain != text


async def test_all_replicas_drop_what_is_retired(model: ModelHandle) -> None:
    served = ServedAdapters()
    payload = adapter(50)
    # One that starts behind the retirement would know nothing of it.
    async with asyncio.timeout(240):
        while len(await pids(model)) < 2:
            continue
    reference = ray.put(payload)
    # Both have it: so many at once are not for one.
    await asyncio.gather(
        *(whole(model.chat(asking(payload, f"{n}?"), weights=reference)) for n in range(64))
    )
    # Serve may still count a replica that another test has killed: who retires asks again.
    gone = False
    async with asyncio.timeout(240):
        while not gone:
            with suppress(UnavailableError):
                gone = await served.drop("adapted", payload.manifest.digest)
            await asyncio.sleep(0.05)
    for number in range(20):
        with pytest.raises(NotFoundError):
            await whole(model.chat(asking(payload, f"{number}?")))
    # One that comes late is answered, and leaves nothing.
    text, _ = await whole(model.chat(asking(payload), weights=reference))
    assert text
    for number in range(20):
        with pytest.raises(NotFoundError):
            await whole(model.chat(asking(payload, f"{number}?")))
    assert await served.drop("no-such-model", payload.manifest.digest)
