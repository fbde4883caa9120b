"""Memories that every prompt begins with: their cache is used, and never when it is outdated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import KvUse
from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.serving.handles import ReplicaKvBuilder
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer

MODEL = "hashing"
TEAM = "team"


@dataclass
class Bench:
    """A MemOS with a model, and a block of memories that all of a team may read."""

    memos: InProcess
    model: ReplicaModel
    replica: ModelReplica
    ids: list[str]
    block: str

    async def chat(self, caller: Caller | None = None, **changes: object) -> ChatAnswer:
        """Asks the same question; the engine remembers nothing by itself."""
        assert await self.replica.forget()
        values = {"memories": 1, "memory_tokens": 1, "max_tokens": 4, **changes}
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content="Who?")],
                "namespaces": [TEAM],
                **values,
            }
        )
        return await self.memos.doorway.chats.chat(caller or self.memos.administrator, query)

    async def cached(self) -> ChatAnswer:
        """Returns the first answer for which the cache was there."""
        async with asyncio.timeout(60):
            while not (answer := await self.chat()).usage.cached_tokens:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return answer


def forms(answer: ChatAnswer) -> set[Form]:
    return {one.form for one in answer.memories}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
    model = ReplicaModel(replica)
    async with in_process(tmp_path, models={MODEL: model}, kv_builder=model) as memos:
        admin = memos.administrator
        await memos.namespace(TEAM)
        report = await memos.service.add(
            admin,
            [
                NewMemory(text=f"Rule {n} of the team is kept.", visibility=Visibility.SHARED)
                for n in range(12)
            ],
            TEAM,
        )
        ids = [result.id or "" for result in report.results]
        made = await memos.doorway.activation.convert(
            admin, Conversion(ids=ids, model=MODEL, namespace=TEAM)
        )
        yield Bench(memos, model, replica, ids, made.results[0].id or "")


async def test_the_block_stands_first_and_comes_as_a_cache(bench: Bench) -> None:
    answer = await bench.chat()
    assert forms(answer) == {Form.ACTIVATION}
    assert {one.id for one in answer.memories} == set(bench.ids)
    assert 0 < answer.usage.cached_tokens < answer.usage.prompt_tokens
    assert bench.model.built == 1
    plain = await bench.chat(memory="off")
    assert plain.usage.cached_tokens == 0 and plain.text != answer.text


async def test_requests_go_where_the_cache_is(bench: Bench) -> None:
    seen: list[tuple[str, KvUse]] = []
    bench.memos.doorway.chats.watch(lambda model, use: seen.append((model, use)))
    await bench.cached()
    await bench.chat()
    await bench.chat(memory="off")
    (_, cached), (model, plain) = seen[-2:]
    assert model == MODEL
    assert cached.at_holder is True and cached.loaded_tokens > 0
    assert plain.at_holder is None
    await bench.chat(memory="off", session="s1")
    await bench.chat(memory="off", session="s2")
    # The bench makes the engine forget before each question.
    assert [use.at_holder for _, use in seen[-2:]] == [False, False]


async def test_a_raw_prompt_has_it_as_text(bench: Bench) -> None:
    query = ChatQuery.model_validate(
        {"model": MODEL, "messages": [Turn(role="user", content="Who?")], "namespaces": [TEAM]}
    )
    assert await bench.replica.forget()
    chats, caller = bench.memos.doorway.chats, bench.memos.administrator
    seen: list[KvUse] = []
    chats.watch(lambda model, use: seen.append(use))
    events = [event async for event in chats.stream(caller, query, template=False)]
    (first, *_, last) = events
    assert {one.form for one in first.memories or []} == {Form.PLAINTEXT}
    assert last.memories is None, "nothing to put right"
    assert last.usage is not None and last.usage.cached_tokens == 0
    assert {one.id for one in first.memories or []} == set(bench.ids)
    assert seen[-1].at_holder is None, "it would not need the cache"


async def test_a_model_behind_an_endpoint_takes_none(tmp_path: Path) -> None:
    builder = ReplicaKvBuilder([], ["remote"])
    async with in_process(tmp_path, kv_builder=builder) as memos:
        added = await memos.service.add(memos.administrator, [NewMemory(text="Ana lives in Lima.")])
        wanted = Conversion(ids=[added.results[0].id or ""], model="remote")
        with pytest.raises(InvalidInputError, match="endpoint"):
            await memos.doorway.activation.convert(memos.administrator, wanted)
        page = await memos.service.list(memos.administrator)
        assert [memory.form for memory in page.memories] == [Form.PLAINTEXT]
    with pytest.raises(InvalidInputError, match="endpoint"):
        await builder.extend("remote", (1, 2, 3), salt="acme", start=0, sources=())


async def test_the_activation_memory_names_its_sources(bench: Bench) -> None:
    cube = await bench.memos.service.get(bench.memos.administrator, bench.block)
    assert cube.form is Form.ACTIVATION
    assert [source.memory_id for source in cube.sources] == bench.ids
    assert cube.attributes == {"model": MODEL}


async def test_it_counts_as_read(bench: Bench) -> None:
    await bench.chat()
    for shard in bench.memos.crew.shards.values():
        await shard.disown(range(4))
    found = await bench.memos.service.get(bench.memos.administrator, bench.ids[0])
    assert found.usage.access_count >= 1 and found.usage.cache_hits >= 1


async def test_only_texts_are_found(bench: Bench) -> None:
    query = SearchQuery(query="team", namespaces=[TEAM], limit=50)
    found = await bench.memos.service.search(bench.memos.administrator, query)
    assert {hit.memory.id for hit in found.hits} == set(bench.ids)
    page = await bench.memos.service.list(bench.memos.administrator, TEAM, limit=50)
    assert bench.block in {memory.id for memory in page.memories}


async def test_a_changed_memory_is_never_answered_from_the_old_cache(bench: Bench) -> None:
    before = await bench.chat()
    change = MemoryChange(text="Rule 3 of the team is void.", mode="overwrite")
    await bench.memos.service.update(bench.memos.administrator, bench.ids[3], change)
    answer = await bench.chat()
    assert answer.usage.cached_tokens == 0 and forms(answer) == {Form.PLAINTEXT}
    assert answer.text != before.text
    later = await bench.cached()
    assert later.text == answer.text and forms(later) == {Form.ACTIVATION}


@pytest.mark.parametrize("hard", [False, True])
async def test_a_deleted_memory_leaves_block_and_cache(bench: Bench, hard: bool) -> None:
    before = await bench.chat()
    await bench.memos.service.delete(bench.memos.administrator, bench.ids[0], hard=hard)
    answer = await bench.chat()
    assert answer.usage.cached_tokens == 0 and answer.text != before.text
    assert {one.id for one in answer.memories} == set(bench.ids[1:])


async def test_deleting_the_activation_memory_ends_the_block(bench: Bench) -> None:
    await bench.memos.service.delete(bench.memos.administrator, bench.block)
    answer = await bench.chat()
    assert (answer.usage.cached_tokens, answer.memories) == (0, [])


async def test_who_may_not_read_all_of_it_gets_none_of_it(bench: Bench) -> None:
    stranger = await bench.memos.caller("user:stranger")
    assert (await bench.chat(stranger)).memories == []
    sharing = Sharing(readers=["user:stranger"])
    for id in bench.ids[1:]:
        await bench.memos.service.share(bench.memos.administrator, id, sharing)
    partly = await bench.chat(stranger)
    assert partly.usage.cached_tokens == 0 and len(partly.memories) <= 1
    await bench.memos.service.share(bench.memos.administrator, bench.ids[0], sharing)
    # Sharing makes new versions of the memories, and so another cache.
    await bench.cached()
    answer = await bench.chat(stranger)
    assert forms(answer) == {Form.ACTIVATION}


async def test_a_new_shard_has_the_cache_again(bench: Bench) -> None:
    before = await bench.chat()
    bench.memos.crew.cut_off("shard-0")
    answer = await bench.chat()
    assert answer.text == before.text
    assert (await bench.cached()).text == before.text
    assert bench.model.built in (1, 2), "as long as it was not written, it is built again"


async def test_without_a_cache_the_text_does(bench: Bench) -> None:
    before = await bench.chat()
    bench.model.fail = UnavailableError("no replica answers")
    change = MemoryChange(text="Rule 3 of the team is kept.", mode="overwrite", tags=["x"])
    await bench.memos.service.update(bench.memos.administrator, bench.ids[3], change)
    for _ in range(3):
        answer = await bench.chat()
        assert (answer.usage.cached_tokens, answer.text) == (0, before.text)


async def test_bad_conversions(bench: Bench) -> None:
    convert, admin = bench.memos.doorway.activation.convert, bench.memos.administrator
    with pytest.raises(NotFoundError):
        await convert(admin, Conversion(ids=["absent"], model=MODEL, namespace=TEAM))
    stranger = await bench.memos.caller("user:stranger")
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await convert(stranger, Conversion(ids=bench.ids, model=MODEL, namespace=TEAM))
    report = await bench.memos.service.add(admin, [NewMemory(text="x")], TEAM)
    short = [report.results[0].id or ""]
    with pytest.raises(InvalidInputError, match="block"):
        await convert(admin, Conversion(ids=short, model=MODEL, namespace=TEAM))
