"""KV caches that rest as files, and how operators see and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from memos_ray.actors.activation.kv_rest import KvRest
from memos_ray.config import VaultSettings
from memos_ray.core.activation import CacheState
from memos_ray.core.cube.metadata import Visibility
from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.activation.models import Cache, Conversion
from memos_ray.gateway.activation.service import ActivationService
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


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    """A MemOS with a model, in a folder that can be opened again."""

    def __init__(self, folder: Path, tokenizer: ModelTokenizer, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
        self.model = ReplicaModel(self.replica)
        self._stack = stack
        self.memos: InProcess

    async def open(self, **settings: int) -> None:
        await self._stack.aclose()
        vault = VaultSettings(partitions=4, **settings)  # type: ignore[arg-type]
        opened = in_process(
            self.folder,
            models={MODEL: self.model},
            kv_builder=self.model,
            settings=vault,
        )
        self.memos = await self._stack.enter_async_context(opened)

    @property
    def admin(self) -> Caller:
        return self.memos.administrator

    @property
    def activation(self) -> ActivationService:
        return self.memos.doorway.activation

    @property
    def files(self) -> list[Path]:
        """Those in the blob store; drafts that appear and go meanwhile do not count."""
        return [file for file in (self.folder / "blobs").glob("??/??/*") if file.is_file()]

    async def team(self, name: str, visibility: Visibility = Visibility.SHARED) -> list[str]:
        await self.memos.namespace(name)
        rules = [
            NewMemory(text=f"Rule {n} of {name} is kept.", visibility=visibility) for n in range(12)
        ]
        report = await self.memos.service.add(self.admin, rules, name)
        return [result.id or "" for result in report.results]

    async def convert(self, name: str, ids: list[str]) -> str:
        wanted = Conversion(ids=ids, model=MODEL, namespace=name)
        made = await self.activation.convert(self.admin, wanted)
        return made.results[0].id or ""

    async def chat(self, name: str) -> ChatAnswer:
        assert await self.replica.forget()
        query = ChatQuery(
            model=MODEL,
            messages=[Turn(role="user", content="Who?")],
            namespaces=[name],
            memories=1,
            memory_tokens=1,
            max_tokens=4,
        )
        return await self.memos.doorway.chats.chat(self.admin, query)

    async def cache(self, block: str) -> Cache:
        return await self.activation.cache(self.admin, block)


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, tokenizer, stack)
        await made.open()
        yield made


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_cache_survives_everything(bench: Bench) -> None:
    ids = await bench.team("team")
    block = await bench.convert("team", ids)
    before = await bench.chat("team")
    await until(lambda: len(bench.files) == 1)
    await bench.open()
    assert (await bench.cache(block)).state in (CacheState.RESTING, CacheState.ABSENT)
    await until_state(bench, block, CacheState.RESTING)
    bench.model.fail = UnavailableError("no replica answers")
    answer = await bench.chat("team")
    assert answer.text == before.text
    await until_state(bench, block, CacheState.HOT)
    answer = await bench.chat("team")
    assert answer.usage.cached_tokens == before.usage.cached_tokens > 0
    assert answer.text == before.text
    assert bench.model.built == 1


async def test_what_is_to_rest_is_there_when_its_shard_has_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, save, settle = asyncio.Event(), KvRest._save, KvRest.settle

    async def late(self: KvRest, *given: Any) -> None:
        await closing.wait()
        await save(self, *given)

    async def settled(self: KvRest) -> None:
        closing.set()
        await settle(self)

    monkeypatch.setattr(KvRest, "_save", late)
    monkeypatch.setattr(KvRest, "settle", settled)
    await bench.convert("team", await bench.team("team"))
    assert bench.files == []
    await bench.open()
    assert len(bench.files) == 1


async def until_state(bench: Bench, block: str, state: CacheState) -> None:
    async with asyncio.timeout(60):
        while (await bench.cache(block)).state is not state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("hard", [False, True])
async def test_what_is_outdated_is_erased(bench: Bench, hard: bool) -> None:
    ids = await bench.team("team")
    await bench.convert("team", ids)
    await until(lambda: len(bench.files) == 1)
    await bench.memos.service.delete(bench.admin, ids[0], hard=hard)
    await until(lambda: not bench.files)


async def test_what_became_outdated_while_nobody_looked_is_erased_by_the_next_owner(
    bench: Bench,
) -> None:
    ids = await bench.team("team")
    block = await bench.convert("team", ids)
    await until(lambda: len(bench.files) == 1)
    # Without a place to rest, the change cannot erase the file.
    await bench.open(kv_rest_bytes=0)
    change = MemoryChange(text="Rule 3 is void.", mode="overwrite")
    await bench.memos.service.update(bench.admin, ids[3], change)
    assert len(bench.files) == 1
    old = bench.files
    await bench.open()
    await until(lambda: not set(old) & set(bench.files))
    answer = await bench.chat("team")
    assert answer.usage.cached_tokens == 0, "the old cache is never used"
    await until_state(bench, block, CacheState.HOT)


async def test_a_lost_or_damaged_file_is_built_again(bench: Bench) -> None:
    ids = await bench.team("team")
    block = await bench.convert("team", ids)
    await until(lambda: len(bench.files) == 1)
    (file,) = bench.files
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    await bench.open()
    await until_state(bench, block, CacheState.RESTING)
    await bench.chat("team")
    await until_state(bench, block, CacheState.HOT)
    assert bench.model.built == 2
    await until(lambda: len(bench.files) == 1 and bench.files[0].read_bytes() != damaged)
    bench.files[0].unlink()
    await bench.open()
    await until_state(bench, block, CacheState.RESTING)
    await bench.chat("team")
    await until_state(bench, block, CacheState.HOT)
    assert bench.model.built == 3


async def test_the_budget_of_the_object_store_lets_the_file_stay(bench: Bench) -> None:
    first = await bench.convert("one", await bench.team("one"))
    size = (await bench.cache(first)).size_bytes
    await bench.open(kv_bytes=size + size // 2)
    await until_state(bench, first, CacheState.RESTING)
    await bench.chat("one")
    await until_state(bench, first, CacheState.HOT)
    second = await bench.convert("two", await bench.team("two"))
    assert (await bench.cache(second)).state is CacheState.HOT
    assert (await bench.cache(first)).state is CacheState.RESTING
    await until(lambda: len(bench.files) == 2)


async def test_a_pinned_cache_stays_whatever_else_comes(bench: Bench) -> None:
    first = await bench.convert("one", await bench.team("one"))
    size = (await bench.cache(first)).size_bytes
    await bench.open(kv_bytes=size + size // 2)
    await bench.activation.pin(bench.admin, first)
    await until_state(bench, first, CacheState.RESTING)
    await bench.chat("one")
    await until_state(bench, first, CacheState.HOT)
    assert (await bench.cache(first)).pinned
    second = await bench.convert("two", await bench.team("two"))
    assert (await bench.cache(first)).state is CacheState.HOT
    assert (await bench.cache(second)).state is not CacheState.HOT
    await bench.activation.pin(bench.admin, first, pinned=False)
    assert not (await bench.cache(first)).pinned


async def test_the_budget_at_rest_erases_the_oldest(bench: Bench) -> None:
    first = await bench.convert("one", await bench.team("one"))
    size = (await bench.cache(first)).size_bytes
    await bench.open(kv_rest_bytes=size + size // 2)
    await until_state(bench, first, CacheState.RESTING)
    oldest = list(bench.files)
    second = await bench.convert("two", await bench.team("two"))
    await until(lambda: len(bench.files) == 1 and list(bench.files) != oldest)
    await bench.open(kv_rest_bytes=size + size // 2)
    await until_state(bench, second, CacheState.RESTING)
    assert (await bench.cache(first)).state is CacheState.ABSENT


async def test_an_evicted_cache_is_gone_and_comes_back_at_the_next_prompt(bench: Bench) -> None:
    block = await bench.convert("team", await bench.team("team"))
    before = await bench.chat("team")
    await until(lambda: len(bench.files) == 1)
    cache = await bench.activation.evict(bench.admin, block)
    assert cache.state is CacheState.ABSENT
    await until(lambda: not bench.files)
    answer = await bench.chat("team")
    assert (answer.usage.cached_tokens, answer.text) == (0, before.text)
    await until_state(bench, block, CacheState.HOT)


async def test_an_explanation_names_what_has_changed(bench: Bench) -> None:
    ids = await bench.team("team")
    block = await bench.convert("team", ids)
    cache = await bench.cache(block)
    assert [(one.id, one.converted, one.current) for one in cache.sources] == [
        (cube_id, 1, 1) for cube_id in ids
    ]
    assert cache.state is CacheState.HOT and cache.build_s is not None and cache.worth is not None
    change = MemoryChange(text="Rule 3 is void.", mode="overwrite")
    await bench.memos.service.update(bench.admin, ids[3], change)
    await bench.memos.service.delete(bench.admin, ids[4])
    cache = await bench.cache(block)
    assert (cache.sources[3].current, cache.sources[4].current) == (2, None)
    assert cache.state is CacheState.ABSENT
    bench.model.fail = UnavailableError("no replica answers")
    await bench.chat("team")
    await until_state(bench, block, CacheState.FAILED)
    assert (await bench.cache(block)).reason == "unavailable"
    for cube_id in ids:
        if cube_id != ids[4]:
            await bench.memos.service.delete(bench.admin, cube_id)
    assert (await bench.cache(block)).state is CacheState.EMPTY


async def test_all_caches_of_a_namespace_are_listed(bench: Bench) -> None:
    ids = await bench.team("team")
    blocks = {await bench.convert("team", ids), await bench.convert("team", ids[:10])}
    found = await bench.activation.caches(bench.admin, "team")
    assert {cache.id for cache in found.caches} == blocks
    assert (await bench.activation.caches(bench.admin)).caches == []


async def test_who_may_see_it_may_not_change_it(bench: Bench) -> None:
    block = await bench.convert("team", await bench.team("team"))
    await bench.memos.service.share(bench.admin, block, Sharing(readers=["user:stranger"]))
    stranger = await bench.memos.caller("user:stranger")
    assert (await bench.activation.cache(stranger, block)).state is CacheState.HOT
    for call in (bench.activation.evict, bench.activation.pin):
        with pytest.raises(PermissionDeniedError):
            await call(stranger, block)
    assert (await bench.cache(block)).state is CacheState.HOT


async def test_who_may_not_see_it_learns_nothing(bench: Bench) -> None:
    ids = await bench.team("team", Visibility.PRIVATE)
    block = await bench.convert("team", ids)
    stranger = await bench.memos.caller("user:stranger")
    for call in (bench.activation.cache, bench.activation.evict, bench.activation.pin):
        with pytest.raises(NotFoundError):
            await call(stranger, block)
    assert (await bench.activation.caches(stranger, "team")).caches == []


async def test_other_memories_have_no_cache(bench: Bench) -> None:
    ids = await bench.team("team")
    for call in (bench.activation.cache, bench.activation.evict, bench.activation.pin):
        with pytest.raises(InvalidInputError, match="activation"):
            await call(bench.admin, ids[0], "team")
        with pytest.raises(NotFoundError):
            await call(bench.admin, "absent", "team")
