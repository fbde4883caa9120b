"""Raw prompts over REST, with OpenAI's own client: memory above the prompt, and no template."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.rest_door import RestDoor, problem_in, rest_door

MODEL = "quoting"
PATH = "/v1/completions"


def asking(prompt: object, **more: object) -> dict[str, object]:
    return {"model": MODEL, "prompt": prompt, "max_tokens": 100, **more}


@pytest.fixture(scope="module")
def model() -> QuotingModel:
    return QuotingModel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(
    model: QuotingModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestDoor]:
    async with rest_door(tmp_path_factory.mktemp("door"), models={MODEL: model}) as opened:
        await opened.done("POST", "/v1/memories", {"text": "Ana lives in Lima."})
        yield opened


@pytest.mark.asyncio(loop_scope="module")
class TestCompletions:
    async def test_memories_stand_above_the_prompt(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        answer = await door.done("POST", PATH, asking("Ana lives in"))
        (choice,) = answer["choices"]
        expected = "Memories: - Ana lives in Lima. Ana lives in "
        assert (choice["text"], choice["finish_reason"]) == (expected, "stop")
        assert answer["object"] == "text_completion"
        (used,) = answer["memory"]["used"]
        assert (used["form"], used["version"]) == ("plaintext", 1)
        assert answer["usage"]["completion_tokens"] == 9
        request = model.requests[-1]
        assert request.template is False
        assert [one.role for one in request.messages] == ["system", "user"]

    async def test_without_memory_the_prompt_is_all_there_is(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        answer = await door.done("POST", PATH, asking(["Ana lives in"], memory="off"))
        assert answer["choices"][0]["text"] == "Ana lives in "
        assert answer["memory"].pop("response")
        assert answer["memory"] == {
            "used": [],
            "stored": [],
            "store_error": None,
            "explanation": None,
        }
        assert [one.text for one in model.requests[-1].messages] == ["Ana lives in"]

    async def test_an_answer_is_short_unless_more_is_asked_for(self, door: RestDoor) -> None:
        body = {"model": MODEL, "prompt": "word " * 40, "memory": "off"}
        answer = await door.done("POST", PATH, body)
        assert answer["usage"]["completion_tokens"] == 16
        assert answer["choices"][0]["finish_reason"] == "length"

    async def test_what_was_said_is_remembered_when_that_is_asked_for(self, door: RestDoor) -> None:
        key = await door.key_of("user:bo")
        body = asking("My boat is green.", memory="read_write", session="s1", user="Bo")
        answer = await door.done("POST", PATH, body, key=key)
        said, answered = [
            await door.done("GET", f"/v1/memories/{id}", key=key)
            for id in answer["memory"]["stored"]
        ]
        assert (said["text"], said["speaker"], said["conversation"]) == (
            "My boat is green.",
            "Bo",
            "s1",
        )
        assert answered["role"] == "assistant"

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            (asking([1, 2, 3]), "prompt"),
            (asking([[1, 2], [3]]), "prompt"),
            (asking(["one", "two"]), "prompt"),
            (asking([]), "prompt"),
            (asking(""), "prompt"),
            (asking(None), "prompt"),
            (asking("x", n=2), "n"),
            (asking("x", best_of=3), "best_of"),
            (asking("x", echo=True), "echo"),
            (asking("x", suffix="y"), "suffix"),
            (asking("x", logprobs=0), "logprobs"),
            (asking("x", logit_bias={"50256": -100}), "logit_bias"),
            (asking("x", stop=[""]), "stop"),
            (asking("x", stop=["a"] * 17), "stop"),
            (asking("x", max_tokens=0), "max_tokens"),
            (asking("x", messages=[]), "messages"),
        ],
    )
    async def test_what_is_not_understood_is_refused_by_name(
        self, door: RestDoor, body: object, place: str
    ) -> None:
        answer = await door.call("POST", PATH, body)
        problem_in(answer, InvalidInputError)
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert (error["type"], error["param"]) == ("invalid_request_error", place)

    async def test_other_errors(self, door: RestDoor) -> None:
        absent = await door.call("POST", PATH, {**asking("x"), "model": "absent"})
        problem_in(absent, NotFoundError)
        problem_in(await door.call("POST", PATH, asking("x"), key=""), UnauthenticatedError)

    async def test_an_error_under_way_is_the_last_event(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        model.error = (2, UnavailableError("the replica has died"))
        try:
            answer = await door.call("POST", PATH, asking("one two three", stream=True))
        finally:
            model.error = None
        *_, last, end = answer.text.split("\n\n")
        assert end == "" and '"code":"unavailable"' in last
        assert "[DONE]" not in answer.text


@pytest.fixture(scope="module")
def served() -> QuotingModel:
    return QuotingModel()


@pytest.fixture(scope="module")
def socket(served: QuotingModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    with http_door(tmp_path_factory.mktemp("http"), {MODEL: served}) as opened:
        yield opened


@pytest.fixture
def client(socket: HttpDoor) -> Iterator[openai.OpenAI]:
    url = f"{socket.url}/v1"
    with openai.OpenAI(base_url=url, api_key=socket.admin_key, max_retries=0) as made:
        yield made


class TestOpenAIsClient:
    def test_it_completes_prompts(self, client: openai.OpenAI) -> None:
        answer = client.completions.create(
            model=MODEL, prompt="The boat is green.", extra_body={"memory": "read_write"}
        )
        (choice,) = answer.choices
        assert (choice.text, choice.finish_reason) == ("The boat is green. ", "stop")
        assert answer.usage is not None and answer.usage.total_tokens == 8
        chunks = list(
            client.completions.create(
                model=MODEL,
                prompt="What is green?",
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(one.choices[0].text for one in chunks if one.choices)
        assert text.startswith("Memories: ") and text.endswith("green. What is green? ")
        finishes = [one.choices[0].finish_reason for one in chunks if one.choices]
        assert finishes == [None] * (len(finishes) - 1) + ["stop"]
        assert chunks[-1].usage is not None and chunks[-1].choices == []
        memory = (chunks[0].model_extra or {})["memory"]
        assert {one["form"] for one in memory["used"]} == {"plaintext"}

    def test_it_raises_what_it_should(
        self, client: openai.OpenAI, socket: HttpDoor, served: QuotingModel
    ) -> None:
        for ask in (
            lambda **more: client.completions.create(prompt="x", **more),
            lambda **more: client.chat.completions.create(
                messages=[{"role": "user", "content": "x"}], **more
            ),
        ):
            with pytest.raises(openai.NotFoundError) as absent:
                ask(model="absent")
            assert absent.value.code == "not_found"
            with pytest.raises(openai.BadRequestError) as bad:
                ask(model=MODEL, temperature=9)
            assert (bad.value.param, bad.value.type) == ("temperature", "invalid_request_error")
            assert "less than or equal to 2" in str(bad.value)
            served.error = (0, OverloadedError("too many requests wait", retry_after_s=7))
            with pytest.raises(openai.RateLimitError) as busy:
                ask(model=MODEL)
            assert busy.value.response.headers["retry-after"] == "7"
            served.error = (1, UnavailableError("the replica has died"))
            with pytest.raises(openai.APIError, match="the replica has died"):
                list(ask(model=MODEL, stream=True))
            with pytest.raises(openai.InternalServerError):
                ask(model=MODEL)
            served.error = None
        with openai.OpenAI(base_url=client.base_url, api_key="mk_no", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                stranger.completions.create(model=MODEL, prompt="x")
