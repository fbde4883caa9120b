"""Conversations that are kept: they go on anywhere without computing what was said before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import itertools

from memos_ray.config import VaultSettings
from memos_ray.core.activation import KvManifest, SourceVersion
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import ChatRequest, GenerationPart
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer

MODEL = "hashing"
BLOCK = 32


class Replicas:
    """Two replicas, asked in turn. Implements `ModelPort` and `KvBuilderPort`."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        engines = (HashingEngine(), HashingEngine())
        self.replicas = [ModelReplica(one, tokenizer, context_tokens=2048) for one in engines]
        self._models = [ReplicaModel(one) for one in self.replicas]
        self._asked = 0
        self.requests: list[ChatRequest] = []
        self.extended: list[KvManifest] = []

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        self.requests.append(request)
        self._asked += 1
        async for part in self._models[self._asked % 2].chat(request, kv, weights):
            yield part

    async def build(
        self,
        model: str,
        shared: str,
        *,
        salt: str,
        sources: tuple[SourceVersion, ...],
        adapter: str = "",
        weights: object | None = None,
    ) -> tuple[KvManifest, object]:
        return await self._models[0].build(
            model, shared, salt=salt, sources=sources, adapter=adapter, weights=weights
        )

    async def extend(
        self,
        model: str,
        tokens: tuple[int, ...],
        *,
        salt: str,
        start: int,
        sources: tuple[SourceVersion, ...],
    ) -> tuple[KvManifest, object]:
        made = await self._models[self._asked % 2].extend(
            model, tokens, salt=salt, start=start, sources=sources
        )
        self.extended.append(made[0])
        return made

    async def close(self) -> None:
        """Nothing to close."""


class Talk:
    """One conversation, with everything that was said in it."""

    def __init__(self, memos: InProcess, model: Replicas, session: str | None = "s") -> None:
        self.memos = memos
        self.model = model
        self.session = session
        self.turns: list[Turn] = []

    async def say(self, text: str, caller: Caller | None = None, **changes: object) -> ChatAnswer:
        """Says something, and waits until what was computed is kept."""
        self.turns.append(Turn(role="user", content=text))
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": self.turns,
                "session": self.session,
                "max_tokens": 40,
                "temperature": 0.0,
                **changes,
            }
        )
        before = len(self.model.extended)
        answer = await self.memos.doorway.chats.chat(caller or self.memos.administrator, query)
        self.turns.append(Turn(role="assistant", content=answer.text))
        if self.session is not None and not changes:
            async with asyncio.timeout(60):
                while len(self.model.extended) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        return answer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
def model(tokenizer: ModelTokenizer) -> Replicas:
    return Replicas(tokenizer)


@pytest.fixture
async def memos(model: Replicas, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, models={MODEL: model}, kv_builder=model) as memos:
        facts = [NewMemory(text=f"Ana has {n} {what}.") for n, what in enumerate(WHAT)]
        await memos.service.add(memos.administrator, facts)
        yield memos


WHAT = ("cats", "boats", "hats", "keys", "coins", "books")


async def test_another_replica_goes_on_without_computing_what_was_said(
    memos: InProcess, model: Replicas
) -> None:
    talk = Talk(memos, model)
    said = 0
    for number, what in enumerate(WHAT):
        answer = await talk.say(f"How many {what} has Ana? Say it at length, number {number}.")
        usage = answer.usage
        # All but the new turn, and what does not fill a block.
        assert usage.cached_tokens >= said - BLOCK, (number, usage)
        said = usage.prompt_tokens + usage.completion_tokens
    spans = [(one.start, one.tokens) for one in model.extended]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans)), spans
    assert spans[0][0] == 0


async def test_the_answers_are_those_of_a_replica_without_any_cache(
    memos: InProcess, model: Replicas, tokenizer: ModelTokenizer
) -> None:
    talk = Talk(memos, model)
    for number in range(4):
        answer = await talk.say(f"What has Ana, number {number}?")
        fresh = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
        parts = [part async for part in fresh.chat(model.requests[-1])]
        assert "".join(part.text for part in parts) == answer.text


async def test_memories_stay_where_they_were_put_and_come_as_a_cache(
    memos: InProcess, model: Replicas
) -> None:
    talk = Talk(memos, model)
    first = await talk.say("How many cats?")
    second = await talk.say("And boats?")
    kept = {one.id for one in first.memories}
    forms = {one.id: one.form for one in second.memories if one.id in kept}
    assert forms and set(forms.values()) == {Form.ACTIVATION}


async def test_a_changed_memory_ends_what_was_kept(memos: InProcess, model: Replicas) -> None:
    talk = Talk(memos, model)
    answer = await talk.say("How many cats?")
    changed = answer.memories[0].id
    change = MemoryChange(text="Ana has no pets at all.", mode="overwrite")
    await memos.service.update(memos.administrator, changed, change)
    again = await talk.say("And boats?")
    assert again.usage.cached_tokens == 0
    prompt = " ".join(message.text for message in model.requests[-1].messages)
    assert model.requests[-1].pieces == ()
    assert {one.version for one in again.memories if one.id == changed} <= {2}
    assert "no pets" in prompt or changed not in {one.id for one in again.memories}


@pytest.mark.parametrize("hard", [False, True])
async def test_a_deleted_memory_is_in_no_later_prompt(
    memos: InProcess, model: Replicas, hard: bool
) -> None:
    talk = Talk(memos, model)
    answer = await talk.say("How many cats?")
    gone = answer.memories[0]
    text = (await memos.service.get(memos.administrator, gone.id)).text
    await memos.service.delete(memos.administrator, gone.id, hard=hard)
    await talk.say("And boats?")
    prompt = " ".join(message.text for message in model.requests[-1].messages)
    assert text not in prompt


async def test_nobody_else_goes_on_with_it(memos: InProcess, model: Replicas) -> None:
    admin = memos.administrator
    talk = Talk(memos, model)
    home = [memos.administrator_id]
    await talk.say("How many cats?")
    stranger = await memos.caller("user:stranger")
    page = await memos.service.list(admin, limit=50)
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    for memory in page.memories:
        await memos.service.share(admin, memory.id, sharing)
    await talk.say("And boats?", namespaces=home)
    await talk.say("And hats?", stranger, namespaces=home)
    assert model.requests[-1].pieces == ()


async def test_without_a_session_nothing_is_kept(memos: InProcess, model: Replicas) -> None:
    talk = Talk(memos, model, session=None)
    await talk.say("How many cats?")
    await talk.say("And boats?")
    assert not any(request.keep or request.pieces for request in model.requests)
    talk.session = "s"
    for changes in ({"memory": "off"}, {"namespaces": [memos.administrator_id, "user:other"]}):
        await talk.say("And hats?", **changes)
        assert not model.requests[-1].keep


async def test_a_shared_beginning_is_not_kept_twice(memos: InProcess, model: Replicas) -> None:
    from memos_ray.gateway.activation.models import Conversion

    page = await memos.service.list(memos.administrator, limit=50)
    ids = [memory.id for memory in page.memories]
    made = await memos.doorway.activation.convert(
        memos.administrator, Conversion(ids=ids, model=MODEL)
    )
    cache = await memos.doorway.activation.cache(memos.administrator, made.results[0].id or "")
    talk = Talk(memos, model)
    await talk.say("How many cats?")
    assert model.extended[0].start == cache.tokens > 0
    answer = await talk.say("And boats?")
    assert {one.form for one in answer.memories} == {Form.ACTIVATION}
    assert answer.usage.cached_tokens >= model.extended[0].tokens


async def test_room_is_needed_only_for_what_is_not_shared(
    tokenizer: ModelTokenizer, tmp_path: Path
) -> None:
    """The shared block, which stays, has more than half of the budget."""
    from memos_ray.gateway.activation.models import Conversion

    budget = VaultSettings().kv_bytes
    for folder in ("measured", "tight"):
        model = Replicas(tokenizer)
        settings = VaultSettings(kv_bytes=budget)
        async with in_process(
            tmp_path / folder, models={MODEL: model}, kv_builder=model, settings=settings
        ) as memos:
            admin, activation = memos.administrator, memos.doorway.activation
            facts = [NewMemory(text=f"Ana has {n} {what}.") for n in range(4) for what in WHAT]
            await memos.service.add(admin, facts)
            ids = [memory.id for memory in (await memos.service.list(admin, limit=50)).memories]
            made = await activation.convert(admin, Conversion(ids=ids, model=MODEL))
            block = made.results[0].id or ""
            await activation.pin(admin, block)
            talk = Talk(memos, model)
            await talk.say("How many cats?")
            held, size = model.extended[0], (await activation.cache(admin, block)).size_bytes
            assert held.start > held.held_tokens > 0
            budget = size + held.size_bytes + held.size_bytes // 2
