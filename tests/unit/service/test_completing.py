"""READ-2: questions in a dialogue that a model completes; the model is real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from memos_ray.adapters.model_extractor import ModelExtractor
from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.config import DialogueSettings
from memos_ray.gateway.memories.completing import Attempt, Completing
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.gateway.memories.turn_models import EarlierTurn
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.openai_endpoint import Endpoint, Reply, answer, openai_endpoint

CHOSEN = DialogueSettings(model="reader", answer_s=60.0, pause_s=10.0, at_once=1)
TURNS = [
    EarlierTurn(role="user", content="Who sewed the curtains?"),
    EarlierTurn(role="assistant", content="Dolores did. Her sister Lucia plays the harp."),
]
ASKED = "What does she play?"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture
def endpoint(server: tuple[str, Endpoint]) -> Endpoint:
    server[1].reset()
    return server[1]


def saying(question: str) -> Reply:
    return answer(json.dumps({"question": question}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def completing(
    server: tuple[str, Endpoint], endpoint: Endpoint, clock: ManualClock
) -> AsyncIterator[Completing]:
    model = OpenAIModel(base_url=server[0], model="remote", api_key="sk-key", pause_s=0.001)
    yield Completing(ModelExtractor("reader", model, limit_s=60.0), CHOSEN, clock)
    await model.close()


@pytest.fixture
async def memos(tmp_path: Path, completing: Completing) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, completing=completing) as memos:
        yield memos


async def understood(memos: InProcess, question: str = ASKED) -> Understanding:
    asked = Question(query=question, turns=TURNS)
    return await memos.service.understand(memos.administrator, asked)


async def test_READ_2_a_model_completes_what_leans_on_the_dialogue(
    memos: InProcess, endpoint: Endpoint
) -> None:
    endpoint.script = [saying("What does Lucia play?")]
    found = await understood(memos)
    assert (found.question, found.rewritten, found.model) == (
        *("What does Lucia play?", True, Attempt.USED),
    )
    assert [one.reason for one in found.fillings] == ["a model"]
    (asked,) = endpoint.asked
    assert asked[2]["response_format"]["json_schema"]["strict"] is True
    new = [NewMemory(text="Lucia plays the harp."), NewMemory(text="Dolores plays chess.")]
    await memos.service.add(memos.administrator, new)
    query = SearchQuery(query=ASKED, turns=TURNS, explain=True)
    result = await memos.service.search(memos.administrator, query)
    assert result.hits[0].memory.text == "Lucia plays the harp."
    assert result.understood["model"] == "used"
    assert result.understood["question"] == "What does Lucia play?"


async def test_READ_2_no_model_is_asked_about_what_stands_alone(
    memos: InProcess, endpoint: Endpoint
) -> None:
    found = await understood(memos, "What does Lucia play?")
    assert (found.question, found.model, endpoint.asked) == ("What does Lucia play?", None, [])


@pytest.mark.parametrize(
    ("reply", "attempt"),
    [
        (saying("What does Ignacio play?"), Attempt.REFUSED),
        (saying(ASKED), Attempt.UNCHANGED),
        (answer("She plays the harp."), Attempt.REFUSED),
        (answer('{"question": "What', "length"), Attempt.REFUSED),
        (Reply(status=500, body={}), Attempt.AWAY),
    ],
)
async def test_READ_2_the_rules_complete_what_a_model_does_not(
    memos: InProcess, endpoint: Endpoint, reply: Reply, attempt: Attempt
) -> None:
    endpoint.script = [reply]
    steps: list[tuple[str, str]] = []
    memos.service.watch(lambda step, outcome: steps.append((step, outcome)))
    found = await understood(memos)
    assert (found.model, found.rewritten) == (attempt, True)
    assert found.question in ("What does Dolores play?", "What does Lucia play?")
    assert all(one.reason != "a model" for one in found.fillings)
    assert steps == [("rewriting", "filled"), ("model", attempt.value)]


async def test_READ_2_a_model_that_is_late_or_away_is_left_alone_for_a_while(
    memos: InProcess, endpoint: Endpoint, completing: Completing, clock: ManualClock
) -> None:
    completing.settings = CHOSEN.model_copy(update={"answer_s": 0.05})
    endpoint.script = [Reply([], then="hang"), saying("What does Lucia play?")]
    assert (await understood(memos)).model is Attempt.LATE
    completing.settings = CHOSEN
    assert (await understood(memos)).model is Attempt.AWAY
    assert len(endpoint.asked) == 1
    clock.advance(CHOSEN.pause_s + 1)
    assert (await understood(memos)).model is Attempt.USED
