"""READ-3: every model that extracts, an endpoint elsewhere or replicas of this cluster."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.adapters.model_extractor import ModelExtractor
from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.core.extraction import ExtractionPrompt, prompt_of
from memos_ray.core.extraction.prompts import answer_schema
from memos_ray.core.generation import FinishReason
from memos_ray.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
    PayloadTooLargeError,
    UnavailableError,
)
from memos_ray.ports import ExtractorPort, ModelPort
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import SayingEngine
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.openai_endpoint import Endpoint, Reply, answer, openai_endpoint
from memos_ray.testing.random_models import write_tokenizer

PROMPT = prompt_of("r1", (), salt="acme", answer_tokens=64)
SECRET = "sk-walrus-key"


@dataclass(frozen=True, slots=True)
class Told:
    """A model that does what it is told, and what it was asked.

    Attributes:
        schema: returns the schema that came with the last request, if one did.
    """

    model: ModelPort
    say: Callable[[str, FinishReason], None]
    be_silent: Callable[[], None]
    die: Callable[[], None]
    schema: Callable[[], object]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def elsewhere(url: str, endpoint: Endpoint) -> Told:
    endpoint.reset()

    def scripted(reply: Reply) -> None:
        endpoint.script = [reply]

    def schema() -> object:
        form = endpoint.asked[-1][2].get("response_format")
        return form and form["json_schema"]["schema"]

    return Told(
        OpenAIModel(base_url=url, model="remote", api_key=SECRET, pause_s=0.001),
        lambda text, finish: scripted(answer(text, finish.value)),
        lambda: scripted(Reply([], "hang")),
        lambda: scripted(Reply(status=503)),
        schema,
    )


def replicas(tokenizer: ModelTokenizer) -> Told:
    engine = SayingEngine()

    def say(text: str, finish: FinishReason) -> None:
        engine.says, engine.finish = text, finish

    def be_silent() -> None:
        engine.silent = True

    def schema() -> object:
        held = engine.asked[-1].sampling.json_schema
        return json.loads(held) if held else None

    model = ReplicaModel(ModelReplica(engine, tokenizer, context_tokens=65_536))
    return Told(model, say, be_silent, engine.close, schema)


@pytest.fixture(params=["endpoint", "replicas"])
async def told(
    request: pytest.FixtureRequest, server: tuple[str, Endpoint], tokenizer: ModelTokenizer
) -> AsyncIterator[Told]:
    made = elsewhere(*server) if request.param == "endpoint" else replicas(tokenizer)
    yield made
    await made.model.close()


def extractor(told: Told, structured: bool = True, limit_s: float = 30.0) -> ExtractorPort:
    return ModelExtractor("reader", told.model, limit_s=limit_s, structured=structured)


async def test_READ_3_what_is_said_comes_back_with_its_price(told: Told) -> None:
    told.say('{"memories": []}', FinishReason.STOP)
    reader = extractor(told)
    found = await reader.extract(PROMPT)
    assert (reader.name, found.text) == ("reader", '{"memories": []}')
    assert found.prompt_tokens > 0 and found.answer_tokens > 0
    assert found.tokens == found.prompt_tokens + found.answer_tokens


@pytest.mark.parametrize("structured", [True, False])
async def test_READ_3_the_schema_goes_along(told: Told, structured: bool) -> None:
    told.say("{}", FinishReason.STOP)
    await extractor(told, structured).extract(PROMPT)
    assert told.schema() == (answer_schema() if structured else None)


@pytest.mark.parametrize("finish", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
async def test_READ_3_an_answer_that_was_cut_is_none(told: Told, finish: FinishReason) -> None:
    told.say('{"memories": [', finish)
    with pytest.raises(InvalidInputError) as cut:
        await extractor(told).extract(PROMPT)
    assert cut.value.details["reason"] == finish.value


async def test_READ_3_an_endless_answer_is_left(told: Told) -> None:
    told.say("x" * 10_000_000, FinishReason.STOP)
    with pytest.raises(PayloadTooLargeError):
        await extractor(told).extract(PROMPT)


async def test_READ_3_a_silent_model_is_left(told: Told) -> None:
    told.be_silent()
    with pytest.raises(DeadlineExceededError):
        await extractor(told, limit_s=0.1).extract(PROMPT)


async def test_READ_3_a_model_that_is_away_says_so(told: Told) -> None:
    told.die()
    with pytest.raises(UnavailableError):
        await extractor(told).extract(PROMPT)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=429, headers={"retry-after": "7"}), OverloadedError),
        (Reply(status=401), ConfigurationError),
        (Reply(status=404), ConfigurationError),
        (Reply(status=400), InvalidInputError),
        (Reply(["no JSON", "[DONE]"]), UnavailableError),
        (Reply([{"choices": []}], "break"), UnavailableError),
    ],
)
async def test_READ_3_an_endpoint_that_refuses(
    server: tuple[str, Endpoint], reply: Reply, expected: type[Exception]
) -> None:
    told = elsewhere(*server)
    server[1].script = [reply]
    with pytest.raises(expected) as refused:
        await extractor(told).extract(PROMPT)
    assert SECRET not in repr(refused.value)
    if isinstance(refused.value, OverloadedError):
        assert refused.value.details["retry_after_s"] == 7
    await told.model.close()


def test_READ_3_the_same_question_in_the_language_of_the_turns() -> None:
    assert isinstance(PROMPT, ExtractionPrompt)
    system, user = PROMPT.messages
    assert (system.role, user.role, user.text) == ("system", "user", "[]")
    assert json.loads(PROMPT.schema) == answer_schema()
    assert PROMPT.schema in system.text


def test_READ_3_no_secret_is_in_a_settings_dump(tmp_path: Path) -> None:
    from memos_ray.cluster import assembly
    from memos_ray.config import Settings

    settings = Settings.model_validate(
        {
            "data": tmp_path,
            "models": [
                {
                    "name": "reader",
                    "engine": "openai",
                    "base_url": "https://host/v1",
                    "api_key": SECRET,
                }
            ],
            "extraction": {"model": "reader"},
        }
    )
    assert SECRET not in repr(settings)
    made = assembly.extraction_parts(settings)
    assert made.extractor is not None and made.extractor.name == "reader"
    assert SECRET not in repr(made)
