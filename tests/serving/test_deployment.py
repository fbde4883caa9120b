"""Replicas under Ray Serve: streams, limits, deaths, and caches that outlive who built them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import ray
from ray import serve

from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.activation import Refusal
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    FinishReason,
    GenerationPart,
    Sampling,
)
from memos_ray.errors import (
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from memos_ray.serving import deployment
from memos_ray.serving.deployment import application_of
from memos_ray.serving.handles import ModelHandle, ReplicaKvBuilder
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import DEADLY_SEED, HashingEngine
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.waiting import eventually

pytestmark = pytest.mark.cluster


class Owner:
    """Puts objects, and takes them along when it dies."""

    def put(self, values: list[object]) -> list[ray.ObjectRef]:
        return [ray.put(value) for value in values]

    def pid(self) -> int:
        return os.getpid()


def lost(reference: ray.ObjectRef) -> bool:
    try:
        ray.get(reference, timeout=10)
    except ray.exceptions.ObjectLostError:
        return True
    except ray.exceptions.GetTimeoutError:
        # Nobody has heard of its owner's death yet.
        return False
    return False


MEMORIES = "Memories:\n" + "".join(f"- Fact number {n} is remembered.\n" for n in range(20))


def request(question: str = "Who?", tokens: int = 4) -> ChatRequest:
    messages = (ChatMessage("system", MEMORIES), ChatMessage("user", question))
    return ChatRequest(uuid4().hex, messages, Sampling(max_tokens=tokens), "acme", MEMORIES)


async def whole(parts: AsyncIterator[GenerationPart]) -> tuple[str, GenerationPart]:
    text = ""
    async for part in parts:
        text += part.text
    return text, part


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def models(tokenizer: Path) -> tuple[ModelSettings, ...]:
    engines = "memos_ray.testing.engines"
    common = {"path": tokenizer, "engine": "custom", "context_tokens": 2048, "cpus": 0}
    return (
        ModelSettings.model_validate(
            {
                "name": "pair",
                "factory": f"{engines}:HashingEngine",
                "replicas_min": 2,
                "replicas_max": 2,
                **common,
            }
        ),
        ModelSettings.model_validate(
            {
                "name": "slow",
                "factory": f"{engines}:slow_engine",
                "sequences": 1,
                "waiting_max": 1,
                **common,
            }
        ),
        ModelSettings.model_validate(
            {
                "name": "mortal",
                "factory": f"{engines}:mortal_engine",
                **common,
            }
        ),
    )


@pytest.fixture(scope="module")
def cluster(
    models: tuple[ModelSettings, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    settings = Settings(data=tmp_path_factory.mktemp("memos"), vectors={"enabled": False})  # type: ignore[arg-type]
    with MemOS(data=settings.data, settings=settings):
        deployment.start(models)
        yield
        deployment.end()


@pytest.mark.usefixtures("cluster")
class TestReplicas:
    async def test_answers_stream_and_are_the_engines(self, tokenizer: Path) -> None:
        parts = [part async for part in ModelHandle("slow").chat(request())]
        assert len(parts) == 4
        local = ModelReplica(HashingEngine(), ModelTokenizer(tokenizer), 2048)
        text, last = await whole(local.chat(request()))
        assert "".join(part.text for part in parts) == text
        assert parts[-1].finish is last.finish is FinishReason.LENGTH

    async def test_bad_input_is_told_as_what_it_is(self) -> None:
        with pytest.raises(InvalidInputError, match="too long"):
            await whole(ModelHandle("pair").chat(request("why " * 3000)))

    async def test_a_cache_outlives_the_replica_that_built_it(self) -> None:
        model = ModelHandle("pair")
        reference = await model.build_kv(MEMORIES, salt="acme")
        payload = await reference
        before = await self._pids(model)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        text, last = await whole(model.chat(request("When?"), [reference]))
        assert last.kv is not None and last.kv.loaded_tokens == payload.manifest.tokens > 0
        async with asyncio.timeout(240):
            # Whether the router has heard of the second death already is chance.
            while (alive := await self._pid(model)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert alive not in before
        plain, _ = await whole(model.chat(request("When?")))
        assert text == plain

    async def test_a_conversation_is_extended_by_whoever_will_own_it(self) -> None:
        builder, tokens = ReplicaKvBuilder(["pair"]), tuple(range(200))
        first, whole_one = await builder.extend("pair", tokens[:100], salt="a", start=0, sources=())
        second, _ = await builder.extend("pair", tokens, salt="a", start=first.tokens, sources=())
        assert (first.tokens, second.start, second.tokens) == (96, 96, 192)
        payload = await whole_one  # type: ignore[misc]
        assert payload.manifest == first and payload.intact()
        with pytest.raises(InvalidInputError, match="block"):
            await builder.extend("pair", tokens, salt="a", start=192, sources=())
        with pytest.raises(NotFoundError):
            await builder.extend("another", tokens, salt="a", start=0, sources=())

    async def test_a_cache_that_died_with_its_owner_costs_only_time(self) -> None:
        # A salt of its own: nobody has computed anything under it.
        model, asked = ModelHandle("pair"), replace(request("Where?"), salt="lost")
        kept = await model.build_kv(MEMORIES, salt="lost")
        payload = await kept
        owner: Any = ray.remote(Owner).options(num_cpus=0).remote()
        (doomed,) = ray.get(owner.put.remote([payload]))
        os.kill(ray.get(owner.pid.remote()), signal.SIGKILL)
        await eventually(lambda: lost(doomed))
        text, last = await whole(model.chat(asked, [doomed, kept]))
        assert last.kv is not None and last.kv.refused == Refusal.LOST
        assert last.kv.loaded_tokens == payload.manifest.tokens
        alone, last = await whole(model.chat(replace(asked, id="again"), [doomed]))
        assert last.kv is not None and last.kv.refused == Refusal.LOST
        plain, _ = await whole(model.chat(request("Where?")))
        assert text == alone == plain

    async def test_what_there_is_no_room_for_is_refused(self) -> None:
        model = ModelHandle("slow")
        streams = [asyncio.create_task(whole(model.chat(request(tokens=40)))) for _ in range(8)]
        outcomes = await asyncio.gather(*streams, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, OverloadedError)]
        answered = [one for one in outcomes if not isinstance(one, BaseException)]
        assert refused and answered and len(refused) + len(answered) == 8, outcomes

    async def test_leaving_early_makes_room(self) -> None:
        model = ModelHandle("slow")
        for _ in range(6):
            parts = model.chat(request(tokens=1000))
            await anext(parts)
            await parts.aclose()
        text, _ = await whole(model.chat(request()))
        assert text

    async def test_an_answer_that_takes_too_long_is_ended(self) -> None:
        hasty = ModelHandle("slow", answer_s=0.5)
        for _ in range(4):
            # Each would go on for most of a minute; two of them would fill the replica.
            with pytest.raises(DeadlineExceededError):
                await whole(hasty.chat(request(tokens=1000)))
        text, _ = await whole(ModelHandle("slow").chat(request()))
        assert text

    async def test_waiting_for_a_replica_counts(self) -> None:
        model = ModelHandle("slow")
        busy = [model.chat(request(tokens=1000)) for _ in range(2)]
        for parts in busy:
            await anext(parts)
        with pytest.raises(DeadlineExceededError):
            await whole(ModelHandle("slow", answer_s=0.2).chat(request()))
        for parts in busy:
            await parts.aclose()
        text, _ = await whole(model.chat(request()))
        assert text

    async def test_a_dead_engine_ends_its_streams_and_is_replaced(self) -> None:
        model = ModelHandle("mortal")
        pid = (await model.status()).pid
        deadly = replace(request(), sampling=Sampling(seed=DEADLY_SEED))
        parts = model.chat(request(tokens=1000))
        await anext(parts)
        with pytest.raises(UnavailableError):
            await whole(model.chat(deadly))
        with pytest.raises(UnavailableError):
            await whole(parts)
        async with asyncio.timeout(240):
            while (await self._pid(model)) in (pid, None):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        text, _ = await whole(model.chat(request()))
        assert text

    async def test_a_death_in_the_middle_is_told(self) -> None:
        model = ModelHandle("slow")
        pid = (await model.status()).pid
        parts = model.chat(request(tokens=1000))
        await anext(parts)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await whole(parts)
        text, _ = await whole(model.chat(request()))
        assert text

    async def _pid(self, model: ModelHandle) -> int | None:
        try:
            return (await model.status()).pid
        except UnavailableError:
            return None

    async def _pids(self, model: ModelHandle) -> set[int]:
        found: set[int] = set()

        async def look() -> None:
            found.add((await model.status()).pid)

        for _ in range(200):
            await look()
            if len(found) == 2:
                return found
        raise AssertionError("only one replica answers")


@pytest.mark.usefixtures("cluster")
async def test_replicas_come_and_go_with_the_load(tokenizer: Path) -> None:
    settings = ModelSettings.model_validate(
        {
            "name": "elastic",
            "path": tokenizer,
            "engine": "custom",
            "factory": "memos_ray.testing.engines:slow_engine",
            "replicas_max": 2,
            "ongoing_target": 1,
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
            "cpus": 0,
        }
    )
    deployment.start([settings])

    async def running(expected: int) -> None:
        async with asyncio.timeout(240):
            while _running("elastic") != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def ask_without_end() -> None:
        while True:
            await whole(ModelHandle("elastic").chat(request(tokens=1900)))

    assert _running("elastic") == 1
    streams = [asyncio.create_task(ask_without_end()) for _ in range(4)]
    await running(2)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    await running(1)


def _running(model: str) -> int:
    (found,) = serve.status().applications[application_of(model)].deployments.values()
    return found.replica_states.get("RUNNING", 0)  # type: ignore[call-overload]


@pytest.mark.usefixtures("cluster")
class TestEnding:
    """A replica that is to end lets answers under way end first, for `drain_s`."""

    @pytest.fixture
    def ending(self, tokenizer: Path, request: pytest.FixtureRequest) -> ModelHandle:
        settings = ModelSettings.model_validate(
            {
                "name": "ending",
                "path": tokenizer,
                "engine": "custom",
                "factory": "memos_ray.testing.engines:slow_engine",
                "drain_s": request.param,
                "cpus": 0,
            }
        )
        deployment.start([settings])
        return ModelHandle("ending")

    @pytest.mark.parametrize("ending", [60.0], indirect=True)
    async def test_answers_under_way_end(self, ending: ModelHandle) -> None:
        parts = ending.chat(request(tokens=60))
        first = await anext(parts)
        gone = asyncio.create_task(asyncio.to_thread(serve.delete, application_of("ending")))
        text, last = await whole(parts)
        assert last.finish is FinishReason.LENGTH
        assert len(first.text + text) == 60
        await gone

    @pytest.mark.parametrize("ending", [0.1], indirect=True)
    async def test_but_not_for_longer_than_they_may(self, ending: ModelHandle) -> None:
        parts = ending.chat(request(tokens=1000))
        await anext(parts)
        await asyncio.to_thread(serve.delete, application_of("ending"))
        with pytest.raises(UnavailableError):
            await whole(parts)
