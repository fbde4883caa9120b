"""An adapter and a KV cache together: prompts begin with what was not learnt, computed with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

pytest.importorskip("transformers")

from memos_ray.config import VaultSettings
from memos_ray.core.activation import CacheState
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import KvUse
from memos_ray.core.parameter import TeachingState
from memos_ray.errors import UnavailableError
from memos_ray.gateway.activation.models import AdaptedCache, Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.parameter.models import Teaching
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer
from memos_ray.testing.waiting import eventually

MODEL, TEAM = "hashing", "team"
LEARNT = 4
T = TypeVar("T")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


async def first(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """Asks until an answer is the wanted one."""
    async with asyncio.timeout(60):
        while not wanted(found := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


class Bench:
    """A MemOS whose model can be taught; a block of memories, of which it has learnt some."""

    def __init__(self, folder: Path, tokenizer: ModelTokenizer, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
        self.model = ReplicaModel(self.replica)
        self.trainer = RandomTrainer()
        self.trainer.go_on.set()
        self.memos: InProcess
        self.ids: list[str] = []
        self.block = ""
        self.uses: list[KvUse] = []

    async def open(self, **settings: int) -> None:
        await self._stack.aclose()
        opened = in_process(
            self.folder,
            models={MODEL: self.model},
            kv_builder=self.model,
            trainer=self.trainer,
            settings=VaultSettings(partitions=4, **settings),  # type: ignore[arg-type]
        )
        self.memos = await self._stack.enter_async_context(opened)
        self.memos.doorway.chats.watch(lambda model, use: self.uses.append(use))

    async def fill(self) -> None:
        await self.memos.namespace(TEAM)
        rules = [
            NewMemory(text=f"Rule {n} of the team is kept.", visibility=Visibility.SHARED)
            for n in range(12)
        ]
        report = await self.memos.service.add(self.admin, rules, TEAM)
        self.ids = [result.id or "" for result in report.results]
        self.block = await self.convert(self.ids)

    async def convert(self, ids: list[str]) -> str:
        wanted = Conversion(ids=ids, model=MODEL, namespace=TEAM)
        made = await self.memos.doorway.activation.convert(self.admin, wanted)
        return made.results[0].id or ""

    @property
    def admin(self) -> Caller:
        return self.memos.administrator

    @property
    def learnt(self) -> list[str]:
        return self.ids[:LEARNT]

    @property
    def files(self) -> set[Path]:
        return {file for file in (self.folder / "blobs").glob("??/??/*") if file.is_file()}

    async def teach(self, ids: list[str] | None = None) -> str:
        parameter = self.memos.doorway.parameter
        wanted = Teaching(ids=ids or self.learnt, model=MODEL, namespace=TEAM)
        lesson = await parameter.teach(self.admin, wanted)
        await first(
            lambda: parameter.lesson(self.admin, lesson.id, TEAM),
            lambda found: found.state is not TeachingState.TRAINING,
        )
        return lesson.id

    async def chat(self, caller: Caller | None = None, **more: object) -> ChatAnswer:
        """Asks for all rules, as the engine remembers nothing by itself."""
        assert await self.replica.forget()
        values = {"memories": 12, "memory_tokens": 1, "max_tokens": 8, **more}
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content="Which rule of the team is kept?")],
                "namespaces": [TEAM],
                **values,
            }
        )
        return await self.memos.doorway.chats.chat(caller or self.admin, query)

    async def cached(self, caller: Caller | None = None, **more: object) -> ChatAnswer:
        """Returns the first answer for which the cache was there."""
        return await first(
            lambda: self.chat(caller, **more), lambda answer: answer.usage.cached_tokens > 0
        )

    async def adapted(self, caller: Caller | None = None) -> list[AdaptedCache]:
        activation = self.memos.doorway.activation
        return (await activation.cache(caller or self.admin, self.block, TEAM)).adapted

    async def until_adapted(self, state: CacheState) -> AdaptedCache:
        (found,) = await first(self.adapted, lambda found: [one.state for one in found] == [state])
        return found


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, tokenizer, stack)
        await made.open()
        await made.fill()
        yield made


def forms(answer: ChatAnswer) -> dict[str, Form]:
    return {one.id: one.form for one in answer.memories}


def mixed(bench: Bench, rest: Form) -> dict[str, Form]:
    return {id: Form.PARAMETER if id in bench.learnt else rest for id in bench.ids}


async def test_what_was_not_learnt_comes_as_a_cache_of_the_adapter(bench: Bench) -> None:
    base = await bench.cached()
    assert forms(base) == dict.fromkeys(bench.ids, Form.ACTIVATION)
    await bench.teach()
    text = await bench.chat()
    assert text.usage.cached_tokens == 0, "the cache of the base is not for it"
    assert forms(text) == mixed(bench, Form.PLAINTEXT)
    assert bench.uses[-1].refused is None, "it was not even offered"
    cache = await bench.cached()
    assert cache.text == text.text != base.text
    assert forms(cache) == mixed(bench, Form.ACTIVATION)
    assert cache.usage.prompt_tokens == text.usage.prompt_tokens < base.usage.prompt_tokens
    assert bench.uses[-1].at_holder is True and bench.uses[-1].refused is None
    assert bench.model.built == 2


async def test_each_prompt_gets_the_cache_that_is_its_own(bench: Bench) -> None:
    base = await bench.cached()
    older = await bench.teach()
    first = await bench.cached()
    newer = await bench.teach(bench.ids[2:6])
    second = await bench.cached()
    assert len({base.text, first.text, second.text}) == 3
    for name, wanted in (
        (f"{MODEL}:base", base),
        (f"{MODEL}:{older}", first),
        (f"{MODEL}:{newer}", second),
        (MODEL, second),
    ):
        answer = await bench.cached(model=name)
        assert (answer.text, answer.usage) == (wanted.text, wanted.usage)
        assert bench.uses[-1].refused is None
    assert (await bench.chat(adapters=False)).usage == base.usage
    assert bench.model.built == 3


async def test_a_prompt_that_the_adapter_is_not_worth_has_the_cache_of_the_base(
    bench: Bench,
) -> None:
    before = await bench.cached(memory_tokens=64)
    (other,) = (
        await bench.memos.service.add(bench.admin, [NewMemory(text="Tom is a cat.")], TEAM)
    ).results
    await bench.teach([other.id or ""])
    answer = await bench.chat(memories=1, memory_tokens=64)
    assert Form.PARAMETER not in forms(answer).values()
    assert (answer.text, answer.usage) == (before.text, before.usage)
    assert answer.usage.cached_tokens > 0


async def test_an_adapter_that_cannot_be_used_leaves_the_cache_of_the_base(bench: Bench) -> None:
    before = await bench.cached()
    bench.trainer.base = "another"
    await bench.teach()
    answer = await bench.chat()
    assert (answer.text, answer.usage) == (before.text, before.usage)
    assert forms(answer) == dict.fromkeys(bench.ids, Form.ACTIVATION)


async def test_all_of_a_block_learnt_needs_no_cache(bench: Bench) -> None:
    await bench.teach(bench.ids)
    for _ in range(2):
        answer = await bench.chat()
        assert forms(answer) == dict.fromkeys(bench.ids, Form.PARAMETER)
        assert answer.usage.cached_tokens == 0
    assert (await bench.adapted(), bench.model.built) == ([], 1)


async def test_no_word_of_the_block_comes_where_memory_is_off(bench: Bench) -> None:
    lesson = await bench.teach()
    await bench.cached()
    answer = await bench.chat(model=f"{MODEL}:{lesson}", memory="off")
    assert (answer.memories, answer.usage.cached_tokens) == ([], 0)
    assert bench.uses[-1].refused is None


@pytest.mark.parametrize("hard", [False, True])
async def test_a_deletion_ends_the_caches_of_the_adapter_before_it_is_acknowledged(
    bench: Bench, hard: bool
) -> None:
    await bench.teach()
    await bench.cached()
    await bench.until_adapted(CacheState.HOT)
    # Block, adapter, and the adapter's cache.
    await eventually(lambda: len(bench.files) == 3)
    # The rest would be learnt again.
    bench.trainer.go_on.clear()
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=hard)
    assert await bench.adapted() == []
    answer = await bench.chat()
    assert answer.usage.cached_tokens == 0
    assert forms(answer) == dict.fromkeys(bench.ids[1:], Form.PLAINTEXT)
    # Only the base's, of what is left, is there again.
    await bench.cached()
    await eventually(lambda: len(bench.files) == 1)
    assert await bench.adapted() == []


async def test_what_was_learnt_may_lie_outside_the_block(bench: Bench) -> None:
    added = await bench.memos.service.add(bench.admin, [NewMemory(text="Rule 99 holds.")], TEAM)
    other = added.results[0].id or ""
    await bench.teach([*bench.learnt, other])
    before = await bench.cached()
    assert forms(before)[bench.ids[-1]] is Form.ACTIVATION
    await bench.until_adapted(CacheState.HOT)
    await bench.memos.service.delete(bench.admin, other)
    assert await bench.adapted() == [], "it is in the numbers all the same"


async def test_deleting_the_adapter_ends_its_caches(bench: Bench) -> None:
    lesson = await bench.teach()
    await bench.cached()
    await eventually(lambda: len(bench.files) == 3)
    await bench.memos.service.delete(bench.admin, lesson)
    assert await bench.adapted() == []
    assert forms(await bench.chat()) == dict.fromkeys(bench.ids, Form.ACTIVATION)
    await eventually(lambda: len(bench.files) == 1)


async def test_what_has_changed_is_said_in_the_cache(bench: Bench) -> None:
    await bench.teach()
    before = await bench.cached()
    change = MemoryChange(text="Rule 0 of the team is void.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    assert await bench.adapted() == [], "its numbers knew the old rule"
    answer = await bench.chat()
    assert answer.usage.cached_tokens == 0 and answer.text != before.text
    again = await bench.cached()
    assert again.text == answer.text
    assert forms(again)[bench.ids[0]] is Form.ACTIVATION
    assert forms(again)[bench.ids[1]] is Form.PARAMETER


async def test_it_survives_everything(bench: Bench) -> None:
    await bench.teach()
    before = await bench.cached()
    await eventually(lambda: len(bench.files) == 3)
    await bench.open()
    await bench.until_adapted(CacheState.RESTING)
    bench.model.fail = UnavailableError("no replica answers")
    answer = await first(bench.chat, lambda answer: answer.usage == before.usage)
    assert answer.text == before.text
    assert bench.model.built == 2


async def test_what_was_deleted_while_nobody_looked_is_erased_by_the_next_owner(
    bench: Bench,
) -> None:
    lesson = await bench.teach()
    await bench.cached()
    await eventually(lambda: len(bench.files) == 3)
    before = bench.files
    # Without a place to rest, the deletion cannot erase the file.
    await bench.open(kv_rest_bytes=0)
    await bench.memos.service.delete(bench.admin, lesson)
    await eventually(lambda: len(bench.files) == 2)
    await bench.open()
    await eventually(lambda: len(bench.files) == 1 and bench.files < before)
    assert await bench.adapted() == []


async def test_reports_name_the_adapter_to_who_may_know_of_it(bench: Bench) -> None:
    secret = NewMemory(text="Rule 13 is a secret.", visibility=Visibility.PRIVATE)
    added = await bench.memos.service.add(bench.admin, [secret], TEAM)
    lesson = await bench.teach([*bench.learnt, added.results[0].id or ""])
    await bench.cached()
    cache = await bench.until_adapted(CacheState.HOT)
    found = await bench.memos.doorway.parameter.lesson(bench.admin, lesson, TEAM)
    assert (cache.adapter_id, cache.adapter) == (lesson, found.adapter)
    assert cache.memories == len(bench.ids) - LEARNT
    assert cache.size_bytes > 0 and cache.heat > 0 and cache.worth is not None
    listed = await bench.memos.doorway.activation.caches(bench.admin, TEAM)
    assert [[one.adapter_id for one in block.adapted] for block in listed.caches] == [[lesson]]
    stranger = await bench.memos.caller("user:stranger")
    await bench.memos.service.share(bench.admin, bench.block, Sharing(readers=["user:stranger"]))
    assert await bench.adapted(stranger) == []


async def test_evicting_a_block_lets_go_of_all_its_caches(bench: Bench) -> None:
    await bench.teach()
    before = await bench.cached()
    await eventually(lambda: len(bench.files) == 3)
    cache = await bench.memos.doorway.activation.evict(bench.admin, bench.block, TEAM)
    assert (cache.state, cache.adapted) == (CacheState.ABSENT, [])
    await eventually(lambda: len(bench.files) == 1)
    assert (await bench.cached()).text == before.text


async def test_who_may_not_read_what_was_learnt_gets_the_cache_of_the_base(bench: Bench) -> None:
    secret = NewMemory(text="Rule 13 is a secret.", visibility=Visibility.PRIVATE)
    added = await bench.memos.service.add(bench.admin, [secret], TEAM)
    await bench.teach([*bench.learnt, added.results[0].id or ""])
    stranger = await bench.memos.caller("user:stranger")
    for id in bench.ids:
        await bench.memos.service.share(bench.admin, id, Sharing(readers=["user:stranger"]))
    answer = await bench.cached(stranger)
    assert forms(answer) == dict.fromkeys(bench.ids, Form.ACTIVATION)


async def test_a_conversation_with_an_adapter_is_not_kept(bench: Bench) -> None:
    await bench.teach()
    first = await bench.cached(session="s")
    assert forms(first) == mixed(bench, Form.ACTIVATION)
    await bench.memos.doorway.chats.settle()
    answer = await bench.chat(session="s")
    assert (answer.text, answer.usage) == (first.text, first.usage)
