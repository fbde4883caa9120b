"""SCHED-1: a prompt takes the form that costs least, says why, and is answered the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import ChatRequest, GenerationPart
from memos_ray.core.scheduling.forms import Reason
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Explanation, Turn
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer

MODEL = "hashing"
TEAM = "team"


class TimedModel(ReplicaModel):
    """A replica whose first word takes so many seconds for each token, by a clock of its own."""

    def __init__(self, replica: ModelReplica, clock: ManualClock) -> None:
        super().__init__(replica)
        self._clock = clock
        self.computed_s = 1e-3
        self.loaded_s = 1e-5

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        parts = [part async for part in super().chat(request, kv, weights)]
        use = parts[-1].kv
        assert use is not None
        computed = use.prompt_tokens - use.cached_tokens
        self._clock.advance(self.computed_s * computed + self.loaded_s * use.loaded_tokens)
        for part in parts:
            yield part


@dataclass
class Bench:
    memos: InProcess
    model: TimedModel
    replica: ModelReplica
    ids: list[str]

    async def chat(self, question: str = "Who?", **changes: object) -> ChatAnswer:
        """Asks; the engine remembers nothing by itself."""
        assert await self.replica.forget()
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content=question)],
                "namespaces": [TEAM],
                "memories": 1,
                "memory_tokens": 1,
                "max_tokens": 4,
                "explain": True,
                **changes,
            }
        )
        return await self.memos.doorway.chats.chat(self.memos.administrator, query)

    async def learn(self) -> None:
        """Asks enough, in different lengths, with memories and without, to know the costs."""
        for number in range(24):
            await self.chat("Who? " * (1 + 40 * (number % 5)), memory="off")
            await self.chat("Who? " * (1 + 30 * (number % 3)))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
    clock = ManualClock()
    model = TimedModel(replica, clock)
    async with in_process(tmp_path, models={MODEL: model}, kv_builder=model, clock=clock) as memos:
        admin = memos.administrator
        await memos.namespace(TEAM)
        rules = [
            NewMemory(text=f"Rule {n} of the team is kept.", visibility=Visibility.SHARED)
            for n in range(12)
        ]
        report = await memos.service.add(admin, rules, TEAM)
        ids = [result.id or "" for result in report.results]
        wanted = Conversion(ids=ids, model=MODEL, namespace=TEAM)
        await memos.doorway.activation.convert(admin, wanted)
        yield Bench(memos, model, replica, ids)


def explained(answer: ChatAnswer) -> Explanation:
    assert answer.explanation is not None
    return answer.explanation


async def test_SCHED_1_until_costs_are_known_what_is_there_is_used(bench: Bench) -> None:
    why = explained(await bench.chat())
    assert why.computed_token_s is None
    inside = [one for one in why.memories if one.id in bench.ids and one.form is not None]
    assert {(one.form, one.reason) for one in inside} == {
        (Form.ACTIVATION, Reason.NOT_MEASURED.value)
    }
    assert all(one.refused[Form.PARAMETER] == Reason.NO_ADAPTERS.value for one in inside)
    assert (await bench.chat(explain=False)).explanation is None


async def test_SCHED_1_a_cache_that_is_cheap_to_bring_is_brought(bench: Bench) -> None:
    await bench.learn()
    answer = await bench.chat()
    why = explained(answer)
    assert why.computed_token_s is not None and why.loaded_token_s is not None
    assert answer.usage.cached_tokens > 0
    (one, *_) = why.memories
    assert (one.form, one.reason) == (Form.ACTIVATION, "cheapest")
    assert one.costs_s[Form.ACTIVATION] < one.costs_s[Form.PLAINTEXT]


async def test_SCHED_1_one_that_is_dear_to_bring_is_computed_and_answered_the_same(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "memos_ray.gateway.chat.service")
    bench.model.loaded_s = 5e-3
    first = await bench.chat()
    assert first.usage.cached_tokens > 0
    await bench.learn()
    answer = await bench.chat()
    why = explained(answer)
    assert why.caches == Reason.DEARER.value
    assert answer.usage.cached_tokens == 0
    assert answer.text == first.text, "the tokens are the same"
    assert {one.form for one in answer.memories} == {Form.PLAINTEXT}
    used = [one for one in why.memories if one.form is not None]
    assert {one.refused[Form.ACTIVATION] for one in used} == {Reason.DEARER.value}
    assert "plaintext: cheapest" in caplog.text
    assert "Rule" not in caplog.text


async def test_SCHED_1_forms_are_counted_by_their_reasons(bench: Bench) -> None:
    seen: dict[tuple[str, str], int] = {}
    bench.memos.doorway.chats.watch_forms(lambda model, forms: seen.update(forms))
    await bench.chat()
    assert seen[Form.ACTIVATION.value, Reason.NOT_MEASURED.value] == len(bench.ids)
    await bench.chat(memory="off")
    assert seen[Form.ACTIVATION.value, Reason.NOT_MEASURED.value] == len(bench.ids)
