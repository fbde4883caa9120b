"""Embeddings and the list of models over REST, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from memos_ray.config import Settings
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.errors import (
    DimensionMismatchError,
    EmbedderError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnauthenticatedError,
)
from memos_ray.gateway.app import create_app
from memos_ray.ports import Vectors
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.in_process import in_process
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.rest_door import RestDoor, problem_in
from memos_ray.testing.waiting import eventually

PATH = "/v1/embeddings"
MODEL = "hashing-384"


def asking(texts: object, **more: object) -> dict[str, object]:
    return {"model": MODEL, "input": texts, **more}


@pytest.mark.asyncio(loop_scope="module")
class TestEmbeddings:
    async def test_vectors_are_the_models_in_order(self, door: RestDoor) -> None:
        texts = [f"text number {n}" for n in range(70)]
        answer = await door.done("POST", PATH, asking(texts))
        assert [one["index"] for one in answer["data"]] == list(range(70))
        found = np.array([one["embedding"] for one in answer["data"]], np.float32)
        assert np.array_equal(found, HashingEmbedder().embed(texts))
        assert (answer["object"], answer["model"]) == ("list", MODEL)
        usage = answer["usage"]
        assert usage["estimated"] is True
        assert usage["prompt_tokens"] == usage["total_tokens"] > 70

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            (asking([1, 2, 3]), "input"),
            (asking([[1, 2], [3]]), "input"),
            (asking([]), "input"),
            (asking(""), "input"),
            (asking(["a", ""]), "input"),
            (asking(["a", None]), "input"),
            (asking(7), "input"),
            (asking("x" * 32_769), "input"),
            (asking(["x"] * 2049), "input"),
            (asking("nul \0"), "input"),
            (asking("x", encoding_format="hex"), "encoding_format"),
            (asking("x", dimensions=0), "dimensions"),
            (asking("x", colour="blue"), "colour"),
            ({"input": "x"}, "model"),
        ],
    )
    async def test_what_does_not_fit_is_refused_by_name(
        self, door: RestDoor, body: object, place: str
    ) -> None:
        answer = await door.call("POST", PATH, body)
        problem_in(answer, InvalidInputError)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == place

    async def test_other_errors(self, door: RestDoor) -> None:
        other = await door.call("POST", PATH, asking("x", dimensions=256))
        assert problem_in(other, DimensionMismatchError).details == {"expected": 384, "found": 256}
        absent = await door.call("POST", PATH, {"model": "absent", "input": "x"})
        assert problem_in(absent, NotFoundError).details["known"] == [MODEL]
        problem_in(await door.call("POST", PATH, asking("x"), key=""), UnauthenticatedError)
        problem_in(await door.call("POST", PATH, asking("x"), key="mk_no"), UnauthenticatedError)

    async def test_the_models_are_listed(self, door: RestDoor) -> None:
        (card,) = (await door.done("GET", "/v1/models"))["data"]
        assert (card["id"], card["kind"]) == (MODEL, "embedding")
        assert await door.done("GET", f"/v1/models/{MODEL}") == card
        problem_in(await door.call("GET", "/v1/models/some/other"), NotFoundError)
        problem_in(await door.call("GET", f"/v1/models/{MODEL}", key=""), UnauthenticatedError)


class _Gated(HashingEmbedder):
    """Embeds when it is let."""

    def __init__(self) -> None:
        super().__init__(8)
        self.gate = threading.Semaphore(0)
        self.batches: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        assert self.gate.acquire(timeout=60)
        return super().embed(texts)


class _Moody(HashingEmbedder):
    """Goes away when it is told to."""

    away = False

    @property
    def space(self) -> EmbeddingSpace:
        if self.away:
            raise EmbedderError("the model is away")
        return super().space


async def test_calls_take_turns_and_too_many_are_refused(tmp_path: Path) -> None:
    embedder = _Gated()
    async with in_process(tmp_path, embedder=embedder) as memos:
        service, caller = memos.doorway.embeddings, memos.administrator
        long = asyncio.create_task(service.embed(caller, "hashing-8", ["long"] * 65))
        await eventually(lambda: len(embedder.batches) == 1)
        short = [
            asyncio.create_task(service.embed(caller, "hashing-8", ["short"])) for _ in range(70)
        ]
        await eventually(lambda: sum(task.done() for task in short) == 7)
        assert len(embedder.batches) == 1, "one batch is under way at a time"
        embedder.gate.release(66)
        vectors = await long
        outcomes = await asyncio.gather(*short, return_exceptions=True)
    assert vectors.shape == (65, 8)
    assert sum(isinstance(one, OverloadedError) for one in outcomes) == 7
    assert sum(isinstance(one, np.ndarray) for one in outcomes) == 63
    turns = [place for place, batch in enumerate(embedder.batches) if batch[0] == "long"]
    assert turns == [0, 64, 65], "the short ones do not wait for all of the long one"


async def test_an_embedder_that_is_away_hides_no_model(tmp_path: Path) -> None:
    embedder = _Moody()
    models = {"quoting": QuotingModel()}
    async with in_process(tmp_path, embedder=embedder, models=models) as memos:
        app = create_app(memos.doorway, Settings(data=tmp_path))
        key = {"Authorization": f"Bearer {memos.administrator.credential}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            for away, expected in ((False, ["quoting", MODEL]), (True, ["quoting"])):
                embedder.away = away
                answer = await client.get("/v1/models", headers=key)
                assert [one["id"] for one in answer.json()["data"]] == expected
            failed = await client.post(PATH, json=asking("x"), headers=key)
            problem_in(failed, EmbedderError)
            embedder.away = False


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    with http_door(tmp_path_factory.mktemp("http"), {"quoting": QuotingModel()}) as opened:
        yield opened


def test_openais_client_embeds(socket: HttpDoor) -> None:
    expected = HashingEmbedder().embed(["a red boat", "a hill"])
    with openai.OpenAI(base_url=f"{socket.url}/v1", api_key=socket.admin_key) as client:
        # By itself it asks for base64.
        packed = client.embeddings.create(model=MODEL, input=["a red boat", "a hill"])
        plain = client.embeddings.create(
            model=MODEL, input="a hill", encoding_format="float", dimensions=384
        )
        assert [one.id for one in client.models.list()] == ["quoting", MODEL]
        assert client.models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("absent")
        with pytest.raises(openai.BadRequestError, match="tokens"):
            client.embeddings.create(model=MODEL, input=[1, 2, 3])
    rows = np.array([one.embedding for one in packed.data], np.float32)
    assert np.array_equal(rows, expected)
    assert np.array_equal(np.array(plain.data[0].embedding, np.float32), expected[1])
    assert plain.usage.total_tokens > 0
