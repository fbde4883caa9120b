"""A model behind an endpoint, against real HTTP servers: one that misbehaves, and our own door."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    FinishReason,
    GenerationPart,
    Sampling,
)
from memos_ray.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidInputError,
    MemosError,
    OverloadedError,
    UnavailableError,
)
from memos_ray.testing.http_door import http_door
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.openai_endpoint import (
    OPENING,
    Endpoint,
    Reply,
    openai_endpoint,
    said,
)
from memos_ray.testing.rest_door import problem_in, rest_door
from memos_ray.testing.waiting import eventually

SECRET = "sk-walrus-key"
CANARY = "walrus"
NOBODY = "http://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture
def endpoint(server: tuple[str, Endpoint]) -> Endpoint:
    server[1].reset()
    return server[1]


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[OpenAIModel]:
    settings = {"base_url": url, "model": "remote", "api_key": SECRET, "pause_s": 0.001}
    model = OpenAIModel(**{**settings, **changes})
    try:
        yield model
    finally:
        await model.close()


@pytest.fixture
async def model(server: tuple[str, Endpoint]) -> AsyncIterator[OpenAIModel]:
    async with opened(server[0]) as made:
        yield made


def request(text: str = f"Where is the {CANARY}?", **changes: Any) -> ChatRequest:
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", text))
    values = {"sampling": Sampling(max_tokens=9), "salt": "acme", **changes}
    return ChatRequest("r1", messages, **values)


async def whole(parts: AsyncIterator[GenerationPart]) -> tuple[str, GenerationPart]:
    text = ""
    async for part in parts:
        text += part.text
    return text, part


async def test_an_answer_streams(endpoint: Endpoint, model: OpenAIModel) -> None:
    parts = [part async for part in model.chat(request())]
    assert [part.text for part in parts] == ["one ", "two", ""]
    last = parts[-1]
    assert last.kv is not None
    assert (last.finish, last.answer_tokens) == (FinishReason.STOP, 5)
    assert (last.kv.prompt_tokens, last.kv.cached_tokens, last.kv.refused) == (11, 4, None)
    ((path, headers, body),) = endpoint.asked
    assert (path, headers["authorization"]) == ("/v1/chat/completions", f"Bearer {SECRET}")
    assert body == {
        "model": "remote",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"Where is the {CANARY}?"},
        ],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }, "what has its default is left out"


async def test_what_is_asked_for_is_passed_on(
    server: tuple[str, Endpoint], endpoint: Endpoint
) -> None:
    sampling = Sampling(
        max_tokens=7,
        temperature=0.0,
        top_p=0.5,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        stop=("a", "b"),
        seed=3,
    )
    async with opened(f"{server[0]}/", limit_field="max_completion_tokens") as model:
        await whole(model.chat(request(sampling=sampling)))
        await whole(model.chat(request(sampling=sampling, template=False)))
        with pytest.raises(InvalidInputError, match="top_k"):
            await whole(model.chat(request(sampling=Sampling(top_k=3))))
    (path, _, chat), (other, _, raw) = endpoint.asked
    assert (path, other) == ("/v1/chat/completions", "/v1/completions")
    assert (chat["max_completion_tokens"], raw["max_tokens"]) == (7, 7)
    assert raw["prompt"] == f"Be brief.\nWhere is the {CANARY}?"
    for body in (chat, raw):
        assert (body["temperature"], body["top_p"], body["seed"]) == (0.0, 0.5, 3)
        assert (body["presence_penalty"], body["frequency_penalty"]) == (1.0, -1.0)
        assert body["stop"] == ["a", "b"]


async def test_a_schema_of_the_answer_is_passed_on(endpoint: Endpoint, model: OpenAIModel) -> None:
    sampling = Sampling(max_tokens=9, json_schema='{"type": "object"}')
    await whole(model.chat(request(sampling=sampling)))
    ((_, _, body),) = endpoint.asked
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


async def test_ends_of_answers(endpoint: Endpoint, model: OpenAIModel) -> None:
    for finish, expected in (
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("something_new", FinishReason.STOP),
    ):
        endpoint.script = [Reply([said("word", finish), "[DONE]"])]
        text, last = await whole(model.chat(request(), ["a cache"]))
        assert (text, last.finish) == ("word", expected)
        # Nobody counted: estimates from above.
        assert last.kv is not None and last.answer_tokens == 2
        assert (last.kv.prompt_tokens, last.kv.refused) == (11, "engine")


async def test_what_may_pass_is_tried_again_while_there_is_no_text(
    endpoint: Endpoint, model: OpenAIModel
) -> None:
    endpoint.script = [Reply(status=503), Reply([OPENING], "break"), Reply()]
    text, _ = await whole(model.chat(request()))
    assert (text, len(endpoint.asked)) == ("one two", 3)
    endpoint.asked.clear()
    endpoint.script = [Reply(status=500, body={"error": {"message": CANARY}})]
    with pytest.raises(UnavailableError) as failing:
        await whole(model.chat(request()))
    assert failing.value.details == {"model": "remote", "status": 500}
    assert len(endpoint.asked) == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply([OPENING, said("one ")], "break"),
        Reply([OPENING, said("one ")], "end"),
        Reply([said("one "), {"error": {"message": CANARY, "code": 500}}]),
        Reply([said("one "), CANARY]),
        Reply([said("one "), {"choices": CANARY}]),
    ],
)
async def test_what_breaks_off_is_told_and_not_asked_again(
    endpoint: Endpoint, model: OpenAIModel, reply: Reply
) -> None:
    endpoint.script = [reply]
    parts = model.chat(request())
    assert (await anext(parts)).text == "one "
    with pytest.raises(UnavailableError) as broken:
        await whole(parts)
    assert CANARY not in str(broken.value)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("reply", "expected", "details"),
    [
        (
            Reply(status=429, headers={"retry-after": "6.2"}),
            OverloadedError,
            {"model": "remote", "retry_after_s": 7},
        ),
        (
            Reply(status=429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            OverloadedError,
            {"model": "remote", "retry_after_s": 1},
        ),
        (
            Reply(
                status=400, body={"error": {"message": CANARY, "code": "context_length_exceeded"}}
            ),
            InvalidInputError,
            {"model": "remote", "status": 400, "reason": "context_length_exceeded"},
        ),
        (
            Reply(status=422, body={"error": {"message": CANARY, "code": CANARY}}),
            InvalidInputError,
            {"model": "remote", "status": 422, "reason": None},
        ),
        (
            Reply(status=413, body=b"<html>walrus"),
            InvalidInputError,
            {"model": "remote", "status": 413, "reason": None},
        ),
        (
            Reply(status=401, body={"error": {"message": f"Incorrect key: {SECRET}"}}),
            ConfigurationError,
            {"model": "remote", "status": 401, "reason": None},
        ),
        (
            Reply(status=404, body={"error": {"code": "model_not_found"}}),
            ConfigurationError,
            {"model": "remote", "status": 404, "reason": "model_not_found"},
        ),
        (
            Reply(status=307, headers={"location": "http://elsewhere.invalid/"}),
            ConfigurationError,
            {"model": "remote", "status": 307, "reason": None},
        ),
    ],
)
async def test_refusals_have_names_and_quote_nothing(
    endpoint: Endpoint,
    model: OpenAIModel,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    expected: type[MemosError],
    details: dict[str, object],
) -> None:
    endpoint.script = [reply]
    with caplog.at_level(logging.DEBUG), pytest.raises(MemosError) as refused:
        await whole(model.chat(request()))
    assert type(refused.value) is expected
    assert refused.value.details == details
    assert CANARY not in str(refused.value)
    assert CANARY not in caplog.text
    assert len(endpoint.asked) == 1


async def test_nobody_there() -> None:
    async with opened(NOBODY) as model:
        with pytest.raises(UnavailableError) as away:
            await whole(model.chat(request()))
        assert away.value.details == {"reason": "ConnectError"}


async def test_leaving_closes_the_endpoints_stream(endpoint: Endpoint, model: OpenAIModel) -> None:
    endpoint.script = [Reply([said("one ")], "hang")]
    parts = model.chat(request())
    assert (await anext(parts)).text == "one "
    await parts.aclose()
    await eventually(lambda: endpoint.left == 1)
    endpoint.script = [Reply([OPENING], "hang")]
    waiting = asyncio.create_task(whole(model.chat(request())))
    await eventually(lambda: len(endpoint.asked) == 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: endpoint.left == 2)
    endpoint.script = [Reply()]
    assert (await whole(model.chat(request())))[0] == "one two"


@pytest.mark.parametrize("limit", ["silence_s", "answer_s"])
@pytest.mark.parametrize("events", [[], [said("one ")]])
async def test_nobody_waits_for_ever(
    server: tuple[str, Endpoint], endpoint: Endpoint, limit: str, events: list[Any]
) -> None:
    endpoint.script = [Reply(events, "hang")]
    async with opened(server[0], **{limit: 1.0}) as model:
        with pytest.raises(DeadlineExceededError):
            await whole(model.chat(request()))
        await eventually(lambda: endpoint.left == 1)
    assert len(endpoint.asked) == 1


async def test_there_is_room_for_so_many(server: tuple[str, Endpoint], endpoint: Endpoint) -> None:
    endpoint.script = [Reply([said("one ")], "hang"), Reply()]
    async with opened(server[0], at_once=1, waiting=1) as model:
        first = model.chat(request())
        await anext(first)
        second = asyncio.create_task(whole(model.chat(request())))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await whole(model.chat(request()))
        assert len(endpoint.asked) == 1, "the second waits for its turn"
        await first.aclose()
        assert (await second)[0] == "one two"
        assert (await whole(model.chat(request())))[0] == "one two"


async def test_waiting_for_a_turn_counts(server: tuple[str, Endpoint], endpoint: Endpoint) -> None:
    endpoint.script = [Reply([said("one ")], "hang"), Reply()]
    async with opened(server[0], at_once=1, waiting=1, answer_s=1.0) as model:
        first = model.chat(request())
        await anext(first)
        with pytest.raises(DeadlineExceededError):
            await whole(model.chat(request()))
        assert len(endpoint.asked) == 1
        await first.aclose()
        assert (await whole(model.chat(request())))[0] == "one two"


async def test_a_memory_system_can_be_the_model_of_another(tmp_path: Path) -> None:
    with http_door(tmp_path / "upstream", {"quoting": QuotingModel()}) as upstream:
        model = OpenAIModel(
            base_url=f"{upstream.url}/v1", model="quoting", api_key=upstream.admin_key
        )
        async with rest_door(tmp_path / "own", models={"remote": model}) as door:
            await door.done("POST", "/v1/memories", {"text": "Ana lives in Lima."})
            asked = {"role": "user", "content": "Where does Ana live?"}
            body = {"model": "remote", "messages": [asked]}
            answer = await door.done("POST", "/v1/chat/completions", body)
            said = "Memories: - Ana lives in Lima. Where does Ana live? "
            assert answer["choices"][0]["message"]["content"] == said
            assert [one["form"] for one in answer["memory"]["used"]] == ["plaintext"]
            assert answer["usage"]["prompt_tokens"] == 10 == answer["usage"]["completion_tokens"]
            raw = {"model": "remote", "prompt": "Where does Ana live?", "max_tokens": 5}
            answer = await door.done("POST", "/v1/completions", raw)
            assert answer["choices"][0]["text"] == "Memories: - Ana lives in "
            assert answer["choices"][0]["finish_reason"] == "length"
            streamed = await door.call("POST", "/v1/chat/completions", {**body, "stream": True})
            assert streamed.text.endswith("data: [DONE]\n\n") and "Lima." in streamed.text


async def test_the_endpoints_wish_for_a_pause_reaches_the_caller(
    server: tuple[str, Endpoint], endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.script = [Reply(status=429, headers={"retry-after": "42"})]
    model = OpenAIModel(base_url=server[0], model="remote")
    async with rest_door(tmp_path, models={"remote": model}) as door:
        body = {"model": "remote", "messages": [{"role": "user", "content": "x"}]}
        answer = await door.call("POST", "/v1/chat/completions", body)
        problem_in(answer, OverloadedError)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "42")
    ((_, headers, _),) = endpoint.asked
    assert "authorization" not in headers
