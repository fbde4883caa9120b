"""Memories that are found again and again become a KV cache, and plaintext again when that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.personas import PersonaTemplate
from memos_ray.core.scheduling import Promoting
from memos_ray.core.scheduling.policies import HALF_LIFE_S
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import Memory, NewMemory, Sharing
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer

MODEL = "hashing"
RULES = Promoting(enter=3.0, leave=0.5, carry=0.05, tokens_max=400, tokens_min=40)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    def __init__(self, memos: InProcess, replica: ModelReplica, clock: ManualClock) -> None:
        self.memos = memos
        self.replica = replica
        self.clock = clock

    async def ask(
        self, question: str, caller: Caller | None = None, **changes: object
    ) -> ChatAnswer:
        assert await self.replica.forget()
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content=question)],
                "memories": 2,
                "max_tokens": 4,
                **changes,
            }
        )
        answer = await self.memos.doorway.chats.chat(caller or self.memos.administrator, query)
        await self.memos.doorway.chats.settle()
        self.clock.advance(1.0)
        return answer

    async def automatic(self) -> list[Memory]:
        page = await self.memos.service.list(self.memos.administrator, limit=100)
        return [one for one in page.memories if one.form is Form.ACTIVATION]

    async def until(self, blocks: int, members: int) -> list[str]:
        """Waits for a decision, and returns what is in the cache."""
        async with asyncio.timeout(60):
            while True:
                found = await self.automatic()
                if len(found) == blocks and (not blocks or len(found[0].sources) == members):
                    return [one.memory_id or "" for block in found for one in block.sources]
                await asyncio.sleep(0.01)


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
    model = ReplicaModel(replica)
    clock = ManualClock()
    async with in_process(
        tmp_path,
        models={MODEL: model},
        kv_builder=model,
        promoting={MODEL: RULES},
        clock=clock,
    ) as memos:
        facts = [
            NewMemory(text=f"The {what} of the office in the north is kept by {who}, every day.")
            for what, who in (("garden", "Ana"), ("archive", "Ben"), ("kitchen", "Cleo"))
        ]
        await memos.service.add(memos.administrator, facts)
        yield Bench(memos, replica, clock)


async def test_SCHED_1_what_soon_expires_is_not_promoted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "memos_ray.actors.activation.promoting")
    soon = bench.clock.now() + timedelta(hours=2)
    notice = NewMemory(text="The lift of the office in the south is out of order.", expires_at=soon)
    stored = await bench.memos.service.add(bench.memos.administrator, [notice])
    async with asyncio.timeout(60):
        while not (blocks := await bench.automatic()):
            await bench.ask("Who keeps the garden, and the lift?", memories=4)
    members = {source.memory_id for source in blocks[0].sources}
    (lift,) = (result.id for result in stored.results)
    assert lift not in members
    assert f"{lift} is not promoted: plaintext: time_sensitive" in caplog.text


async def test_what_is_found_again_and_again_becomes_a_cache(bench: Bench) -> None:
    first = await bench.ask("Who keeps the garden?")
    assert {one.form for one in first.memories} == {Form.PLAINTEXT}
    for _ in range(3):
        await bench.ask("Who keeps the garden?")
    members = await bench.until(1, 2)
    assert set(members) == {one.id for one in first.memories}
    answer = await bench.ask("Who keeps the garden?")
    assert {one.form for one in answer.memories} == {Form.ACTIVATION}
    (block,) = await bench.automatic()
    assert block.attributes == {"model": MODEL, "automatic": True}
    assert block.origin is Origin.CONVERSION
    history = await bench.memos.service.history(bench.memos.administrator, block.id)
    assert history.versions[0].reason == "use: 2 memories entered, 0 left"


async def test_what_is_asked_for_seldom_stays_text(bench: Bench) -> None:
    for _ in range(5):
        await bench.ask("Who keeps the garden?")
        bench.clock.advance(HALF_LIFE_S)
    assert await bench.automatic() == []


async def test_it_is_text_again_when_nobody_asks_any_more(bench: Bench) -> None:
    for _ in range(5):
        await bench.ask("Who keeps the garden?")
    await bench.until(1, 2)
    bench.clock.advance(6 * HALF_LIFE_S)
    await bench.ask("Who keeps the kitchen?", memories=1)
    await bench.until(0, 0)


async def test_a_restart_forgets_the_uses_but_takes_nothing_out(bench: Bench) -> None:
    for _ in range(5):
        await bench.ask("Who keeps the garden?")
    before = await bench.until(1, 2)
    bench.memos.crew.cut_off("shard-0")
    for _ in range(3):
        await bench.ask("Who keeps the garden?")
    assert await bench.until(1, 2) == before


async def test_a_conversion_that_was_asked_for_stands(bench: Bench) -> None:
    page = await bench.memos.service.list(bench.memos.administrator, limit=10)
    ids = [memory.id for memory in page.memories]
    wanted = Conversion(ids=ids, model=MODEL)
    made = await bench.memos.doorway.activation.convert(bench.memos.administrator, wanted)
    for _ in range(6):
        await bench.ask("Who keeps the garden?")
    (block,) = await bench.automatic()
    assert block.id == made.results[0].id


async def test_SCHED_2_APP_4_a_personas_stream_is_a_home(bench: Bench) -> None:
    memos, admin = bench.memos, bench.memos.administrator
    await memos.doorway.personas.put(admin, "diary", PersonaTemplate(name="diary"))
    diarist = replace(admin, role="diary")
    facts = [
        NewMemory(text=f"The {what} of the office in the south is kept by {who}, every day.")
        for what, who in (("cellar", "Dora"), ("roof", "Emil"), ("gate", "Fay"))
    ]
    assert not (await memos.service.add(diarist, facts)).failed

    async def blocks() -> list[Memory]:
        page = await memos.service.list(diarist, "user:admin/diary", limit=100)
        return [one for one in page.memories if one.form is Form.ACTIVATION]

    async with asyncio.timeout(60):
        while not await blocks():
            await bench.ask("Who keeps the cellar, the roof and the gate?", diarist, memories=3)
    assert await bench.automatic() == []


async def test_private_memories_of_a_common_place_are_not_promoted(bench: Bench) -> None:
    await bench.memos.namespace("team")
    admin = bench.memos.administrator
    texts = [f"Rule {n} of the team says that the door {n} is closed at night." for n in range(2)]
    private = [NewMemory(text=text) for text in texts]
    report = await bench.memos.service.add(admin, private, "team")
    for _ in range(5):
        await bench.ask("Which door is closed?", namespaces=["team"])
    activation = bench.memos.doorway.activation
    assert (await activation.caches(admin, "team")).caches == []
    for result in report.results:
        sharing = Sharing(visibility=Visibility.SHARED)
        await bench.memos.service.share(admin, result.id or "", sharing)
    async with asyncio.timeout(60):
        while not (await activation.caches(admin, "team")).caches:
            await bench.ask("Which door is closed?", namespaces=["team"])
    (cache,) = (await activation.caches(admin, "team")).caches
    assert len(cache.sources) == 2


async def test_who_may_not_convert_there_promotes_nothing(bench: Bench) -> None:
    admin = bench.memos.administrator
    home = bench.memos.administrator_id
    page = await bench.memos.service.list(admin, limit=10)
    stranger = await bench.memos.caller("user:stranger")
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    for memory in page.memories:
        await bench.memos.service.share(admin, memory.id, sharing)
    for _ in range(6):
        answer = await bench.ask("Who keeps the garden?", stranger, namespaces=[home])
        assert answer.memories
    assert await bench.automatic() == []
    async with asyncio.timeout(60):
        # A decision that is under way for the stranger leaves this one to the next prompt.
        while not await bench.automatic():
            await bench.ask("Who keeps the garden?")
    await bench.until(1, 2)
