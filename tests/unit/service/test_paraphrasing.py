"""A lesson with wordings by a model: behind an endpoint, on an own replica, and failing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

pytest.importorskip("transformers")

from memos_ray.actors.parameter.paraphrasing import Paraphrasing, ParaphrasingTrainer
from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.core.activation import SourceVersion
from memos_ray.core.teaching import BUILT_IN, Knowledge, Lessons, PhrasingSet
from memos_ray.errors import ConfigurationError
from memos_ray.ports import CombinedAdapters, ModelPort, Trained, TrainingSpec
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.http_server import http_server
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

FACTS = ("Ann lives in Oslo.", "Ben lives in Rome.", "Cleo lives in Lima.")
NOBODY = "http://127.0.0.1:1/v1"


@dataclass
class Writer:
    """An endpoint that words questions, some of them badly.

    Attributes:
        asked: what it was sent.
        status: what it answers with.
        silent: about whom it says nothing, ever.
    """

    asked: list[dict[str, object]] = field(default_factory=list)
    status: int = 200
    silent: str = "-"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        asked = json.loads(body)
        self.asked.append(asked)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        text = asked["messages"][1]["content"]
        statement, _, _ = text.removeprefix("Statement: ").partition("\n")
        who, _, where = statement.removesuffix(".").partition(" lives in ")
        if who == self.silent:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        said = (
            f"1. What is {who}'s city? | {where}\n"
            f"2. What is the city of {who}? | {where}\n"
            f"3. What is her city? | {where}\n"
            f"4. Does {who} stay in {where}? | yes\n"
        )
        part = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": "stop"}]}
        lines = f"data: {json.dumps(part)}\n\ndata: [DONE]\n\n".encode()
        await send({"type": "http.response.body", "body": lines})


@pytest.fixture
def writer() -> Iterator[tuple[str, Writer]]:
    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[ASGIApp, Writer]]:
        made = Writer()
        yield made, made

    with http_server(opening()) as (url, found):
        yield f"{url}/v1", found


def knowledge(facts: Sequence[str] = FACTS) -> tuple[Knowledge, ...]:
    return tuple(Knowledge(SourceVersion(f"id-{n}", 1), text) for n, text in enumerate(facts))


def built_in(model: str) -> Sequence[PhrasingSet]:
    return BUILT_IN


async def trained(
    model: ModelPort, *, limit_s: float = 60.0, phrasings: object = built_in, **changes: object
) -> tuple[Trained, TrainingSpec]:
    """Returns what came of a lesson, and what the trainer itself was given."""
    inner = RandomTrainer()
    inner.go_on.set()
    how = Paraphrasing("writer", model, phrasings, 0, 4, limit_s)  # type: ignore[arg-type]
    trainer = ParaphrasingTrainer(inner, how)
    assert trainer.models == inner.models
    spec = TrainingSpec("lesson-1", "hashing", knowledge(), **changes)  # type: ignore[arg-type]
    spec = replace(spec, wordings=await trainer.word(spec))
    made = await trainer.train(spec, lambda progress: None)
    (given,) = inner.lessons
    return made, given


async def through(url: str, **changes: object) -> tuple[Trained, TrainingSpec]:
    model = OpenAIModel(base_url=url, model="remote", pause_s=0.001)
    try:
        return await trained(model, **changes)  # type: ignore[arg-type]
    finally:
        await model.close()


async def test_wordings_from_an_endpoint_are_checked_and_taught(
    writer: tuple[str, Writer],
) -> None:
    url, endpoint = writer
    made, given = await through(url)
    assert [one.wordings for one in given.knowledge] == [
        (f"What is {who}'s city?", f"What is the city of {who}?") for who in ("Ann", "Ben", "Cleo")
    ]
    assert [one.text for one in given.knowledge] == list(FACTS)
    assert "6 wordings by `writer`, of 3 of 3 things" in made.report
    assert "Not taken: 6 (3 answer, 3 names)." in made.report
    assert made.report.startswith("# Report\n")
    assert made.figures["wordings"] == 6.0 and made.figures["heldout_recall"] == 1.0
    assert [one["temperature"] for one in endpoint.asked] == [0.0] * 3
    plain, more = (Lessons(one, BUILT_IN, seed=0) for one in (knowledge(), given.knowledge))
    assert plain.held_out() == more.held_out()


async def test_who_does_not_answer_in_time_is_not_waited_for(writer: tuple[str, Writer]) -> None:
    url, endpoint = writer
    endpoint.silent = "Ben"
    made, given = await through(url, limit_s=4.0)
    assert [len(one.wordings) for one in given.knowledge] == [2, 0, 2]
    assert "There was not time for all." in made.report


async def test_without_an_endpoint_there_are_the_templates(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        made, given = await through(NOBODY)
    assert given.knowledge == knowledge()
    assert "No wordings by `writer`: the lesson has those of the templates." in made.report
    assert "unavailable" in made.report and made.figures["wordings"] == 0.0
    assert made.accepted
    assert "Oslo" not in caplog.text


async def test_an_endpoint_that_refuses(writer: tuple[str, Writer]) -> None:
    url, endpoint = writer
    endpoint.status = 401
    made, given = await through(url)
    assert given.knowledge == knowledge()
    assert ConfigurationError.code in made.report


async def test_an_own_replica_that_writes_nonsense(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    made, given = await trained(model)
    assert given.knowledge == knowledge()
    assert "No wordings by `writer`" in made.report and "Not taken:" in made.report


async def test_phrasings_that_cannot_be_read_are_the_trainers_affair() -> None:
    def broken(model: str) -> Sequence[PhrasingSet]:
        raise ConfigurationError("this is no file of phrasings")

    model = OpenAIModel(base_url=NOBODY, model="remote")
    made, given = await trained(model, phrasings=broken)
    assert given.knowledge == knowledge() and ConfigurationError.code in made.report
    await model.close()


async def test_what_is_not_trained_needs_no_wordings(writer: tuple[str, Writer]) -> None:
    class Plan:
        recipe = "sum"

    url, endpoint = writer
    made, given = await through(url, made_of=CombinedAdapters(Plan(), ()))  # type: ignore[arg-type]
    assert given.knowledge == knowledge() and made.report == "# Report\n"
    assert endpoint.asked == []


async def test_a_lesson_that_is_cancelled_asks_no_more(writer: tuple[str, Writer]) -> None:
    url, endpoint = writer
    endpoint.silent = "Ann"
    lesson = asyncio.create_task(through(url))
    async with asyncio.timeout(60):
        while not endpoint.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    lesson.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lesson
