"""Adapters over REST: models with one named, as OpenAI's clients write it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

pytest.importorskip("transformers")

from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.rest_door import RestDoor, problem_in, rest_door
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"
FACTS = ("The garden is kept by Ana.", "The archive is kept by Ben.")


@dataclass(frozen=True, slots=True)
class Taught:
    """A door, and an adapter behind it."""

    door: RestDoor
    ids: list[str]
    adapter: str

    @property
    def name(self) -> str:
        """The model with the adapter."""
        return f"{MODEL}:{self.adapter}"

    def asking(self, model: str, **more: object) -> dict[str, object]:
        turns = [{"role": "user", "content": "Who keeps the garden?"}]
        return {"model": model, "messages": turns, "max_tokens": 8, **more}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def taught(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Taught]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    async with rest_door(
        tmp_path_factory.mktemp("door"),
        models={MODEL: model},
        kv_builder=model,
        trainer=trainer,
    ) as door:
        ids = []
        for text in FACTS:
            written = await door.done("POST", "/v1/memories", {"text": text})
            ids.append(written["results"][0]["id"])
        lesson = await door.done("POST", "/v1/adapters", {"ids": ids, "model": MODEL})
        path = f"/v1/adapters/{lesson['id']}"
        async with asyncio.timeout(60):
            while (await door.done("GET", path))["state"] != "live":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield Taught(door, ids, lesson["id"])


@pytest.mark.asyncio(loop_scope="module")
class TestModels:
    async def test_a_model_with_an_adapter_is_a_model(self, taught: Taught) -> None:
        found = await taught.door.done("GET", "/v1/models")
        cards = {card["id"]: card for card in found["data"]}
        assert cards[MODEL]["parent"] is None
        assert cards[taught.name]["parent"] == MODEL
        assert await taught.door.done("GET", f"/v1/models/{taught.name}") == cards[taught.name]
        answer = await taught.door.done(
            "POST", "/v1/chat/completions", taught.asking(taught.name, memory="off")
        )
        bare = await taught.door.done(
            "POST", "/v1/chat/completions", taught.asking(f"{MODEL}:base", memory="off")
        )
        assert answer["model"] == taught.name
        said = [one["choices"][0]["message"]["content"] for one in (answer, bare)]
        assert said[0] != said[1]

    async def test_a_prompt_as_it_stands_has_the_adapter_as_well(self, taught: Taught) -> None:
        said = []
        for model in (taught.name, f"{MODEL}:base"):
            body = {"model": model, "prompt": "The garden", "max_tokens": 8, "memory": "off"}
            answer = await taught.door.done("POST", "/v1/completions", body)
            said.append(answer["choices"][0]["text"])
        assert said[0] != said[1]

    async def test_others_see_it_where_they_may_read_what_it_knows(self, taught: Taught) -> None:
        door = taught.door
        key = await door.key_of("user:reader")
        home = {"namespace": door.memos.administrator_id}
        found = await door.done("GET", "/v1/models", key=key)
        assert taught.name not in [card["id"] for card in found["data"]]
        found = await door.done("GET", "/v1/models", key=key, params=home)
        assert taught.name not in [card["id"] for card in found["data"]]
        body = {"visibility": "shared", "readers": ["user:reader"]}
        await door.done("POST", f"/v1/memories/{taught.ids[0]}/share", body)
        found = await door.done("GET", "/v1/models", key=key, params=home)
        assert taught.name not in [card["id"] for card in found["data"]]
        await door.done("POST", f"/v1/memories/{taught.ids[1]}/share", body)
        found = await door.done("GET", "/v1/models", key=key, params=home)
        assert taught.name in [card["id"] for card in found["data"]]

    async def test_one_that_is_not_there(self, taught: Taught) -> None:
        for name in (f"{MODEL}:absent", "absent:base", f"absent:{taught.adapter}"):
            for stream in (False, True):
                body = taught.asking(name, stream=stream)
                answer = await taught.door.call("POST", "/v1/chat/completions", body)
                problem_in(answer, NotFoundError)
                assert answer.json()["error"]["code"] == NotFoundError.code
            answer = await taught.door.call("GET", f"/v1/models/{name}")
            problem_in(answer, NotFoundError)

    async def test_one_that_is_named_and_not_wanted(self, taught: Taught) -> None:
        body = taught.asking(taught.name, adapters=False)
        answer = await taught.door.call("POST", "/v1/chat/completions", body)
        problem_in(answer, InvalidInputError)


@pytest.mark.asyncio(loop_scope="module")
class TestExternalising:
    async def test_an_adapter_becomes_text(self, taught: Taught) -> None:
        path = f"/v1/adapters/{taught.adapter}/externalise"
        found = await taught.door.done("POST", path, {"probe": False})
        assert (found["adapter"], found["probing"]) == (taught.adapter, "off")
        assert [one["source"]["id"] for one in found["memories"]] == taught.ids
        for made, text in zip(found["memories"], FACTS, strict=True):
            memory = await taught.door.done("GET", f"/v1/memories/{made['id']}")
            assert memory["text"] == text
        asked = await taught.door.done("POST", path)
        assert asked["probing"] == "done"
        assert asked["memories"] == found["memories"]

    async def test_what_is_no_adapter(self, taught: Taught) -> None:
        for id in ("absent", taught.ids[0]):
            answer = await taught.door.call("POST", f"/v1/adapters/{id}/externalise")
            problem_in(answer, NotFoundError)
        path = f"/v1/adapters/{taught.adapter}/externalise"
        problem_in(await taught.door.call("POST", path, {"how": "well"}), InvalidInputError)
