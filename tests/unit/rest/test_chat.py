"""Conversations over REST, with OpenAI's own client: memory before the question, or none at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from memos_ray.core.access.administration import CreateTenant
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
PATH = "/v1/chat/completions"
_IMAGE = {"role": "user", "content": [{"type": "image_url"}]}


def asking(text: str, **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def model() -> QuotingModel:
    return QuotingModel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(
    model: QuotingModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestDoor]:
    async with rest_door(tmp_path_factory.mktemp("door"), models={MODEL: model}) as opened:
        await opened.done("POST", "/v1/memories", {"text": "Ana lives in Lima."})
        await opened.done(
            "POST",
            "/v1/memories",
            {"text": "I moved to Quito.", "speaker": "Bo", "event_time": "2026-03-02T10:00:00Z"},
        )
        yield opened


@pytest.mark.asyncio(loop_scope="module")
class TestChat:
    async def test_memories_stand_before_the_question(self, door: RestDoor) -> None:
        answer = await door.done("POST", PATH, asking("Where does Ana live?"))
        (choice,) = answer["choices"]
        assert choice["finish_reason"] == "stop"
        text = choice["message"]["content"]
        assert text.startswith("Memories: - ")
        assert "- [2026-03-02] Bo: I moved to Quito." in text
        assert text.index("Ana lives in Lima.") < text.index("Where does Ana live?")
        used = answer["memory"]["used"]
        assert {one["form"] for one in used} == {"plaintext"}
        found = [await door.done("GET", f"/v1/memories/{one['id']}") for one in used]
        assert {one["text"] for one in found} == {"Ana lives in Lima.", "I moved to Quito."}
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    async def test_memory_can_be_off(self, door: RestDoor) -> None:
        answer = await door.done("POST", PATH, asking("Where does Ana live?", memory="off"))
        assert answer["choices"][0]["message"]["content"].strip() == "Where does Ana live?"
        assert answer["memory"]["used"] == []

    async def test_memories_have_a_budget_of_tokens(self, door: RestDoor) -> None:
        answer = await door.done("POST", PATH, asking("Where does Ana live?", memory_tokens=10))
        assert len(answer["memory"]["used"]) == 1
        none = await door.done("POST", PATH, asking("Where does Ana live?", memory_tokens=1))
        assert none["memory"]["used"] == []

    async def test_nobody_reads_what_is_not_theirs(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        stranger = await door.key_of("user:stranger")
        answer = await door.done("POST", PATH, asking("Where does Ana live?"), key=stranger)
        assert "Lima" not in answer["choices"][0]["message"]["content"]
        refused = await door.call(
            "POST",
            PATH,
            asking("Where does Ana live?", namespaces=["user:admin"]),
            key=stranger,
        )
        assert refused.status_code in (403, 404) or "Lima" not in refused.text
        assert "Lima" not in str(model.requests[-1])

    async def test_tenants_have_salts_of_their_own(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        made = await door.memos.admin.change(door.memos.administrator, _tenant("rival"))
        await door.done("POST", PATH, asking("Who?"))
        await door.done("POST", PATH, asking("Who?"), key=made.secret or "")
        one, other = model.requests[-2:]
        assert one.salt != other.salt and one.id != other.id

    async def test_a_turn_is_remembered_when_that_is_asked_for(self, door: RestDoor) -> None:
        body = asking("My boat is green.", memory="read_write", session="s1", user="Ana")
        answer = await door.done("POST", PATH, {**body, "max_tokens": 2})
        assert answer["choices"][0]["finish_reason"] == "length"
        stored = [await door.done("GET", f"/v1/memories/{id}") for id in answer["memory"]["stored"]]
        said, answered = stored
        assert (said["text"], said["speaker"], said["role"]) == ("My boat is green.", "Ana", "user")
        assert (answered["role"], answered["conversation"]) == ("assistant", "s1")
        later = await door.done("POST", PATH, asking("What colour is my boat?"))
        assert "My boat is green." in later["choices"][0]["message"]["content"]

    async def test_a_conversation_has_a_name_that_tells_nothing(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        stranger = await door.key_of("user:another")
        for session, key in (
            ("visit", None),
            ("visit", None),
            ("other", None),
            ("visit", stranger),
        ):
            body = asking("Who?", memory="off", session=session)
            await door.done("POST", PATH, body, key=key)
        await door.done("POST", PATH, asking("Who?", memory="off"))
        first, again, other, theirs, none = (one.affinity for one in model.requests[-5:])
        assert first == again and len({first, other, theirs}) == 3
        assert none == () and "visit" not in str((first, theirs))

    async def test_metrics_count_what_was_not_computed(self, door: RestDoor) -> None:
        answer = await door.done("POST", PATH, asking("Who?", memory="off"))
        text = (await door.call("GET", "/metrics", key="")).text
        counted = 'memos_prompt_tokens_total{kind="all",model="quoting",replica="0"} '
        (line,) = [line for line in text.splitlines() if line.startswith(counted)]
        assert float(line.removeprefix(counted)) >= answer["usage"]["prompt_tokens"] > 0

    async def test_bad_requests(self, door: RestDoor) -> None:
        for body, expected in (
            ({**asking("x"), "model": "absent"}, NotFoundError),
            ({**asking("x"), "messages": []}, InvalidInputError),
            (asking("x", temperature=9), InvalidInputError),
            (asking("x", tools=[{}]), InvalidInputError),
            (asking("x", n=2), InvalidInputError),
            (asking("x", memory="always"), InvalidInputError),
            ({"model": MODEL, "messages": [{"role": "robot", "content": "x"}]}, InvalidInputError),
            ({**asking("x"), "messages": [_IMAGE]}, InvalidInputError),
        ):
            problem_in(await door.call("POST", PATH, body), expected)
        problem_in(await door.call("POST", PATH, asking("x"), key=""), UnauthenticatedError)
        problem_in(await door.call("GET", "/v1/models", key=""), UnauthenticatedError)

    @pytest.mark.parametrize(
        ("more", "place"),
        [
            ({"tools": [{"type": "function"}]}, "tools"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"functions": [{"name": "f"}]}, "functions"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
            ({"n": 2}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"top_logprobs": 2}, "top_logprobs"),
            ({"logit_bias": {"1": 2}}, "logit_bias"),
            ({"modalities": ["text", "audio"]}, "modalities"),
            ({"audio": {"voice": "x"}}, "audio"),
            ({"prediction": {"type": "content"}}, "prediction"),
            ({"reasoning_effort": "high"}, "reasoning_effort"),
            ({"store": True}, "store"),
            ({"stop": ""}, "stop"),
            ({"max_completion_tokens": 0}, "max_completion_tokens"),
            ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
            ({"messages": [{"role": "user", "content": None}]}, "messages"),
            ({"messages": [{"role": "user", "content": []}]}, "messages"),
            ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages"),
        ],
    )
    async def test_what_is_not_supported_is_refused_by_name(
        self, door: RestDoor, more: dict[str, object], place: str
    ) -> None:
        answer = await door.call("POST", PATH, {**asking("x"), **more})
        problem_in(answer, InvalidInputError)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, place)
        assert error["type"] == "invalid_request_error" and place in error["message"]

    async def test_what_says_nothing_is_no_hindrance(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        body = {
            "model": MODEL,
            "memory": "off",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "Ana"},
                {"role": "assistant", "content": None, "refusal": None, "tool_calls": None},
                {"role": "assistant", "content": "", "annotations": [], "function_call": None},
                {"role": "user", "content": "b"},
            ],
            "tools": [],
            "tool_choice": "none",
            "response_format": {"type": "text"},
            "modalities": ["text"],
            "n": 1,
            "logprobs": False,
            "logit_bias": {},
            "stream": None,
            "service_tier": "auto",
            "stop": ["x", "y"],
            "max_tokens": 1,
            "max_completion_tokens": 50,
        }
        answer = await door.done("POST", PATH, body)
        assert answer["choices"][0]["message"]["content"] == "Be brief. a b "
        asked = model.requests[-1]
        assert [one.role for one in asked.messages] == [
            "system",
            "user",
            "assistant",
            "assistant",
            "user",
        ]
        assert (asked.sampling.max_tokens, asked.sampling.stop) == (50, ("x", "y"))

    async def test_a_busy_model_says_when_to_come_again(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        model.error = (0, OverloadedError("too many requests wait for the model"))
        try:
            for stream in (False, True):
                answer = await door.call("POST", PATH, asking("x", stream=stream))
                problem_in(answer, OverloadedError)
                assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
        finally:
            model.error = None

    async def test_an_error_under_way_is_the_last_event(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        model.error = (2, UnavailableError("the replica has died"))
        try:
            answer = await door.call("POST", PATH, asking("one two three", stream=True))
            problem_in(await door.call("POST", PATH, asking("one two three")), UnavailableError)
        finally:
            model.error = None
        *_, last, end = answer.text.split("\n\n")
        assert end == "" and '"code":"unavailable"' in last
        assert "[DONE]" not in answer.text


def _tenant(name: str) -> CreateTenant:
    return CreateTenant(name)


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    with http_door(tmp_path_factory.mktemp("http"), {MODEL: QuotingModel()}) as opened:
        yield opened


class TestOpenAIsClient:
    def test_it_speaks_to_this_service(self, socket: HttpDoor) -> None:
        with openai.OpenAI(base_url=f"{socket.url}/v1", api_key=socket.admin_key) as client:
            assert MODEL in [model.id for model in client.models.list()]
            answer = client.chat.completions.create(
                model=MODEL,
                messages=[
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Hello there"}]},
                ],
                extra_body={"memory": "read_write", "session": "s"},
            )
            assert answer.choices[0].message.content == "Be brief. Hello there "
            assert answer.usage is not None and answer.usage.completion_tokens == 4
            chunks = list(
                client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "What did I say?"}],
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )
        text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        assert "Hello there" in text
        assert chunks[-1].usage is not None
        assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
        memory = (chunks[0].model_extra or {})["memory"]
        assert [one["form"] for one in memory["used"]] == ["plaintext"] * len(memory["used"])

    def test_it_understands_our_errors(self, socket: HttpDoor) -> None:
        with openai.OpenAI(base_url=f"{socket.url}/v1", api_key="mk_no", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
