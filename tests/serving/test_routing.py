"""Replicas under Ray Serve: a memory's requests go to whoever holds it, until that one is busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
import ray

from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    GenerationPart,
    KvUse,
    Sampling,
)
from memos_ray.serving import deployment
from memos_ray.serving.handles import ModelHandle
from memos_ray.testing.random_models import write_tokenizer

pytestmark = pytest.mark.cluster

REPLICAS = 3
HOLDER_REQUESTS = 2
TALKS = 8
REPORT_S = 1.0


def memories(subject: str) -> str:
    return "Memories:\n" + "".join(f"- {subject} has fact {n}.\n" for n in range(40))


def asking(shared: str, *affinity: str, tokens: int = 4) -> ChatRequest:
    messages = (ChatMessage("system", shared), ChatMessage("user", f"Who, {uuid4().hex}?"))
    return ChatRequest(
        uuid4().hex, messages, Sampling(max_tokens=tokens), "acme", shared, affinity=affinity
    )


async def used(parts: AsyncIterator[GenerationPart]) -> KvUse:
    async for part in parts:
        found = part.kv
    assert found is not None
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHandle]:
    settings = ModelSettings.model_validate(
        {
            "name": "three",
            "path": write_tokenizer(tmp_path_factory.mktemp("tokenizer")),
            "engine": "custom",
            "factory": "memos_ray.testing.engines:slow_engine",
            "context_tokens": 2048,
            "replicas_min": REPLICAS,
            "replicas_max": REPLICAS,
            "holder_requests": HOLDER_REQUESTS,
            "cpus": 0,
        }
    )
    memos = Settings(data=tmp_path_factory.mktemp("memos"), vectors={"enabled": False})  # type: ignore[arg-type]
    with MemOS(data=memos.data, settings=memos):
        deployment.start([settings])
        yield ModelHandle("three")
        deployment.end()


async def test_one_replica_loads_a_memory_and_answers_for_it(model: ModelHandle) -> None:
    shared = memories("Ana")
    reference = await model.build_kv(shared, salt="acme")
    name = (await reference).manifest.name
    uses = [await used(model.chat(asking(shared, name), [reference])) for _ in range(12)]
    # Wherever the first request went, the others follow; the builder, which has it computed, is as
    # good to a router that has not heard from the first one in time. Nobody else ever loads it.
    assert [use.at_holder for use in uses[1:]] == [True] * 11
    assert 1 <= sum(use.loaded_tokens > 0 for use in uses) <= 2
    assert all(use.cached_tokens > 0 for use in uses)


async def test_a_conversation_stays_where_it_was(model: ModelHandle) -> None:
    talks = [uuid4().hex for _ in range(4)]
    for turn in range(4):
        for talk in talks:
            use = await used(model.chat(asking(memories(talk), talk)))
            assert use.at_holder is (turn > 0)
            assert (use.cached_tokens > 0) is (turn > 0)


async def loads(model: ModelHandle, subject: str, tokens: int) -> int:
    """Counts who loads a memory that many streams need at once."""
    shared = memories(subject)
    reference = await model.build_kv(shared, salt="acme")
    name = (await reference).manifest.name
    streams = []
    for _ in range(5 * REPLICAS):
        stream = model.chat(asking(shared, name, tokens=tokens), [reference])
        # The first word is awaited, so that the queues are known when the next one comes.
        await anext(stream)
        streams.append(stream)
    found = 0
    for stream in streams:
        async with aclosing(stream):
            found += (await used(stream)).loaded_tokens > 0
    return found


async def test_load_spills_over_to_those_who_hold_nothing(model: ModelHandle) -> None:
    # Nobody is far busier than another, so each has loaded it. On a slow machine the first streams
    # may end before the last ones begin: then they are too short.
    tokens = 200
    while (found := await loads(model, f"Bo {tokens}", tokens)) < REPLICAS and tokens < 800:
        tokens *= 2
    assert found == REPLICAS


async def test_what_replicas_report_reaches_the_routers_of_other_processes(
    model: ModelHandle,
) -> None:
    other: Any = ray.remote(num_cpus=0)(Elsewhere).remote("three")
    async with asyncio.timeout(240):
        while True:
            talks = [uuid4().hex for _ in range(TALKS)]
            for talk in talks:
                await used(model.chat(asking(memories(talk), talk)))
            await asyncio.sleep(2 * REPORT_S)
            # By chance alone, hardly ever all of them meet their replica.
            if all(await other.at_holders.remote(talks)):
                return


class Elsewhere:
    """Another process that asks."""

    def __init__(self, model: str) -> None:
        self._model = ModelHandle(model)

    async def at_holders(self, talks: list[str]) -> list[bool]:
        """Asks once for each conversation."""
        return [
            bool((await used(self._model.chat(asking(memories(talk), talk)))).at_holder)
            for talk in talks
        ]
