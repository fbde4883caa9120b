"""What is understood of a question, over REST and with OpenAI's messages (READ-1, READ-2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from memos_ray.errors import InvalidInputError, UnauthenticatedError
from memos_ray.gateway.memories.turn_models import MOST_TURNS, MOST_TURNS_BYTES
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.rest_door import RestDoor, problem_in, rest_door

PATH = "/v1/understand"
SAID = [
    {"role": "system", "content": "Be brief about Zoe."},
    {"role": "user", "content": [{"type": "text", "text": "Where does Clara live?"}]},
    {"role": "assistant", "content": "In Lisbon."},
]


@pytest.fixture(scope="module")
def model() -> QuotingModel:
    return QuotingModel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(
    model: QuotingModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestDoor]:
    folder = tmp_path_factory.mktemp("door")
    async with rest_door(folder, models={"quoting": model}) as opened:
        yield opened


@pytest.mark.asyncio(loop_scope="module")
class TestUnderstanding:
    async def test_READ_1_every_slot_is_there_with_its_reason(self, door: RestDoor) -> None:
        question = (
            "Please list the top 3 preferences of Clara about tea since May 2023 as a table in "
            "namespace team/a, as we said in our last meeting"
        )
        found = await door.done("POST", PATH, {"query": question})
        assert found["intent"] == "list" and 0 < found["confidence"] <= 1
        assert found["time_range"]["start"].startswith("2023-05-01")
        assert "Clara" in [one["text"] for one in found["entities"]]
        assert found["topics"] and found["anchors"] and found["reasons"]
        assert "preference" in found["semantic_types"]
        assert (found["limit"], found["target"], found["namespaces"]) == (3, "table", ["team/a"])
        assert found["question"] == question and not found["rewritten"]

    async def test_READ_2_messages_of_openai_fill_the_gaps(self, door: RestDoor) -> None:
        asked = {"query": "What does she do there?", "turns": SAID}
        found = await door.done("POST", PATH, asked)
        assert found["rewritten"]
        assert found["question"] == "What does Clara do in Lisbon?"
        assert [one["slot"] for one in found["fillings"]] == ["person", "place"]

    async def test_READ_2_a_search_takes_them_as_well(self, door: RestDoor) -> None:
        await door.done("POST", "/v1/memories", {"text": "Clara teaches in Lisbon."})
        asked = {"query": "What does she do there?", "turns": SAID, "explain": True}
        found = await door.done("POST", "/v1/search", asked)
        assert found["understood"]["question"] == "What does Clara do in Lisbon?"
        counted = (await door.call("GET", "/metrics")).text
        assert 'memos_questions_read_total{outcome="filled"' in counted

    @pytest.mark.parametrize(
        "turns",
        [
            [{"role": "narrator", "content": "x"}],
            [{"role": "user", "content": 5}],
            [{"role": "user", "content": "x", "mood": "bad"}],
            [{"role": "user", "content": "\x00"}],
            [{"role": "user", "content": "x"}] * (MOST_TURNS + 1),
            [{"role": "user", "content": "x" * (MOST_TURNS_BYTES // 2 + 1)}] * 2,
            [{"role": "user", "content": "\u754c" * (MOST_TURNS_BYTES // 3 + 1)}],
            "Where?",
        ],
    )
    async def test_READ_2_turns_are_bounded_and_checked(
        self, door: RestDoor, turns: object
    ) -> None:
        for path in (PATH, "/v1/search"):
            refused = await door.call("POST", path, {"query": "Why?", "turns": turns})
            problem_in(refused, InvalidInputError)

    async def test_a_question_needs_words_and_a_credential(self, door: RestDoor) -> None:
        for blank in ("", " \n\t"):
            empty = await door.call("POST", PATH, {"query": blank})
            problem_in(empty, InvalidInputError)
        unknown = await door.call("POST", PATH, {"query": "Why?"}, key="mk_none")
        problem_in(unknown, UnauthenticatedError)

    async def test_READ_2_a_chat_looks_for_what_its_turns_mean(
        self, door: RestDoor, model: QuotingModel
    ) -> None:
        for n in range(6):
            await door.done("POST", "/v1/memories", {"text": f"Bruno plays song {n} in Porto."})
        wanted = await door.done("POST", "/v1/memories", {"text": "Clara has a cello in Lisbon."})
        body: dict[str, Any] = {
            "model": "quoting",
            "messages": [*SAID[1:], {"role": "user", "content": "What does she play there?"}],
            "memories": 2,
        }
        answer = await door.done("POST", "/v1/chat/completions", body)
        (result,) = wanted["results"]
        assert result["id"] in [one["id"] for one in answer["memory"]["used"]]
        alone = {**body, "messages": body["messages"][-1:]}
        answer = await door.done("POST", "/v1/chat/completions", alone)
        assert result["id"] not in [one["id"] for one in answer["memory"]["used"]]
        # The model reads what was said, not what was made of it.
        assert model.requests[-1].messages[-1].text.endswith("What does she play there?")
