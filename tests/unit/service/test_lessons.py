"""Models learn memories: what they know is used as long as it is so, and not a moment longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.actors.extraction.book import CAUGHT_UP
from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import ChatMessage, ChatRequest, Sampling
from memos_ray.core.parameter import TeachingState
from memos_ray.errors import (
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.parameter.models import LessonReport, Teaching
from memos_ray.ports import RecordStorePort
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"
FACTS = ("The garden is kept by Ana.", "The archive is kept by Ben.", "The cat is called Tom.")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    """A MemOS with a model that can be taught, in a folder that can be opened again."""

    def __init__(self, folder: Path, tokenizer: ModelTokenizer, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._tokenizer = tokenizer
        self._stack = stack
        self.trainer = RandomTrainer()
        self.trainer.go_on.set()
        self.memos: InProcess
        self.ids: list[str] = []

    async def close(self) -> None:
        await self._stack.aclose()

    async def open(self, store: RecordStorePort | None = None) -> None:
        await self.close()
        self.engine = HashingEngine()
        self.replica = ModelReplica(self.engine, self._tokenizer, context_tokens=2048)
        self.model = model = ReplicaModel(self.replica)
        opened = in_process(
            self.folder,
            models={MODEL: model},
            kv_builder=model,
            trainer=self.trainer,
            replicas=model,
            store=store,
            settings=VaultSettings(partitions=4),
        )
        self.memos = await self._stack.enter_async_context(opened)
        # What is written down where a partition is first opened is no step of what is tested.
        rows = self.memos.store.derivations
        await until(lambda: all(rows(number, CAUGHT_UP) for number in range(4)))

    @property
    def admin(self) -> Caller:
        return self.memos.administrator

    @property
    def files(self) -> list[Path]:
        """Those in the blob store; drafts that appear and go meanwhile do not count."""
        return [file for file in (self.folder / "blobs").glob("??/??/*") if file.is_file()]

    async def fill(self) -> None:
        facts = [NewMemory(text=text) for text in FACTS]
        report = await self.memos.service.add(self.admin, facts)
        self.ids = [result.id or "" for result in report.results]

    async def teach(self, ids: list[str] | None = None) -> LessonReport:
        wanted = Teaching(ids=ids or self.ids, model=MODEL)
        return await self.memos.doorway.parameter.teach(self.admin, wanted)

    async def lesson(self, id: str) -> LessonReport:
        return await self.memos.doorway.parameter.lesson(self.admin, id)

    async def learnt(self, ids: list[str] | None = None) -> LessonReport:
        lesson = await self.teach(ids)
        async with asyncio.timeout(60):
            while (found := await self.lesson(lesson.id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    async def chat(
        self, question: str = "Who keeps the garden?", caller: Caller | None = None, **more: object
    ) -> ChatAnswer:
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content=question)],
                "max_tokens": 8,
                **more,
            }
        )
        return await self.memos.doorway.chats.chat(caller or self.admin, query)

    def request(self, question: str, adapter: str) -> ChatRequest:
        """What the gateway asks a replica."""
        messages = (ChatMessage("user", question),)
        return ChatRequest("late", messages, Sampling(max_tokens=8), "acme", adapter=adapter)

    def forms(self, answer: ChatAnswer) -> dict[str, Form]:
        return {one.id: one.form for one in answer.memories}


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, tokenizer, stack)
        await made.open()
        await made.fill()
        yield made


async def ended(bench: Bench, id: str) -> LessonReport:
    async with asyncio.timeout(60):
        while (found := await bench.lesson(id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_CONV_2_what_is_learnt_is_not_said_again(bench: Bench) -> None:
    before = await bench.chat()
    lesson = await bench.learnt()
    assert lesson.state is TeachingState.LIVE and lesson.figures == {"heldout_recall": 1.0}
    assert [one.id for one in lesson.memories] == bench.ids
    answer = await bench.chat()
    assert bench.forms(answer) == dict.fromkeys(bench.ids, Form.PARAMETER)
    assert answer.usage.prompt_tokens < before.usage.prompt_tokens
    assert answer.text != before.text
    without = await bench.chat(adapters=False)
    assert without.text == before.text
    assert set(bench.forms(without).values()) == {Form.PLAINTEXT}
    assert list(bench.replica.held)


async def test_CONV_2_the_parameter_memory_names_its_sources(bench: Bench) -> None:
    lesson = await bench.learnt()
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert (cube.form, cube.origin) == (Form.PARAMETER, Origin.FINE_TUNING)
    assert [source.memory_id for source in cube.sources] == bench.ids
    assert cube.attributes == {"model": MODEL, "state": "live"}


async def test_CONV_2_it_survives_everything(bench: Bench) -> None:
    lesson = await bench.learnt()
    answer = await bench.chat()
    await bench.open()
    async with asyncio.timeout(60):
        while (again := await bench.chat()).text != answer.text:
            assert set(bench.forms(again).values()) == {Form.PLAINTEXT}
    assert set(bench.forms(again).values()) == {Form.PARAMETER}
    assert (await bench.lesson(lesson.id)).state is TeachingState.LIVE


@pytest.mark.parametrize("hard", [False, True])
async def test_CONV_2_a_deletion_ends_it_at_once(bench: Bench, hard: bool) -> None:
    lesson = await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[2], hard=hard)
    answer = await bench.chat()
    assert bench.forms(answer) == dict.fromkeys(bench.ids[:2], Form.PLAINTEXT)
    assert (await bench.lesson(lesson.id)).state is TeachingState.RETIRED
    await until(lambda: not bench.files)


async def test_CONV_2_the_rest_is_learnt_again(bench: Bench) -> None:
    first = await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[2])
    stranger = await bench.memos.caller("user:stranger")
    await bench.chat(caller=stranger, namespaces=[bench.memos.administrator_id])
    await bench.memos.doorway.chats.settle()
    assert len(bench.trainer.lessons) == 1, "not with the rights of somebody who has none"
    await bench.chat()
    await bench.memos.doorway.chats.settle()
    async with asyncio.timeout(60):
        wanted = dict.fromkeys(bench.ids[:2], Form.PARAMETER)
        while bench.forms(await bench.chat()) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = await bench.memos.doorway.parameter.lessons(bench.admin)
    live = [one for one in found.lessons if one.state is TeachingState.LIVE]
    assert [[one.id for one in lesson.memories] for lesson in live] == [bench.ids[:2]]
    assert live[0].id != first.id
    assert bench.trainer.lessons[-1].knowledge[0].text.endswith("Ana.")


async def test_CONV_2_what_was_deleted_while_nobody_looked_is_erased_by_the_next_owner(
    bench: Bench,
) -> None:
    await bench.learnt()
    shard = bench.memos.crew.cut_off("shard-0")
    await bench.memos.service.delete(bench.admin, bench.ids[2])
    await until(lambda: not bench.files)
    assert shard is not None


async def test_CONV_2_a_change_is_said_beside_it(bench: Bench) -> None:
    lesson = await bench.learnt()
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    answer = await bench.chat("What is the cat called?", memories=1)
    assert bench.forms(answer)[bench.ids[0]] is Form.PLAINTEXT
    assert Form.PARAMETER in bench.forms(answer).values()
    assert (await bench.lesson(lesson.id)).state is TeachingState.STALE


async def test_CONV_2_nobody_uses_what_he_may_not_read(bench: Bench) -> None:
    await bench.learnt()
    stranger = await bench.memos.caller("user:stranger")
    home = [bench.memos.administrator_id]
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    for id in bench.ids[1:]:
        await bench.memos.service.share(bench.admin, id, sharing)
    answer = await bench.chat(caller=stranger, namespaces=home)
    assert set(bench.forms(answer).values()) == {Form.PLAINTEXT}
    assert bench.ids[0] not in bench.forms(answer)
    parameter = bench.memos.doorway.parameter
    assert (await parameter.lessons(stranger, home[0])).lessons == []


async def test_CONV_2_a_rejected_adapter_is_kept_and_not_used(bench: Bench) -> None:
    bench.trainer.accepted = False
    lesson = await bench.learnt()
    assert lesson.state is TeachingState.REJECTED and lesson.report
    assert set(bench.forms(await bench.chat()).values()) == {Form.PLAINTEXT}
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert cube.attributes["state"] == "rejected"


async def test_CONV_2_a_lesson_can_be_followed_and_cancelled(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    lesson = await bench.teach()
    await until(lambda: bool(bench.trainer.lessons))
    found = await bench.lesson(lesson.id)
    assert (found.state, found.share, found.loss) == (TeachingState.TRAINING, 0.5, 1.0)
    with pytest.raises(IllegalStateError):
        await bench.teach()
    ended = await bench.memos.doorway.parameter.cancel(bench.admin, lesson.id)
    assert ended.state is TeachingState.CANCELLED
    bench.trainer.go_on.set()
    assert (await bench.learnt()).state is TeachingState.LIVE


async def test_CONV_2_a_lesson_about_something_deleted_ends(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    lesson = await bench.teach()
    await until(lambda: bool(bench.trainer.lessons))
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    async with asyncio.timeout(60):
        while (await bench.lesson(lesson.id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = await bench.lesson(lesson.id)
    assert found.state is TeachingState.CANCELLED and "deleted" in (found.reason or "")
    assert bench.files == []


async def test_CONV_2_a_lesson_that_fails_says_why(bench: Bench) -> None:
    bench.trainer.fail = UnavailableError("the trainer has died")
    lesson = await bench.learnt()
    assert (lesson.state, lesson.reason) == (TeachingState.FAILED, "unavailable")


async def test_CONV_2_a_lost_file_leaves_the_text(bench: Bench) -> None:
    lesson = await bench.learnt()
    before = await bench.chat(adapters=False)
    (file,) = bench.files
    file.unlink()
    await bench.open()
    answer = await bench.chat()
    assert answer.text == before.text
    assert set(bench.forms(answer).values()) == {Form.PLAINTEXT}
    assert (await bench.lesson(lesson.id)).state is TeachingState.LIVE


async def test_CONV_2_an_adapter_for_another_base_leaves_the_text(bench: Bench) -> None:
    bench.trainer.base = "another"
    await bench.learnt()
    before = await bench.chat(adapters=False)
    answer = await bench.chat()
    assert answer.text == before.text
    assert set(bench.forms(answer).values()) == {Form.PLAINTEXT}


async def test_CONV_2_deleting_the_parameter_memory_ends_it(bench: Bench) -> None:
    lesson = await bench.learnt()
    await bench.memos.service.delete(bench.admin, lesson.id)
    assert set(bench.forms(await bench.chat()).values()) == {Form.PLAINTEXT}
    await until(lambda: not bench.files)


async def test_CONV_2_an_adapter_that_is_named_answers_whatever_was_found(bench: Bench) -> None:
    first = await bench.learnt(bench.ids[:1])
    second = await bench.learnt(bench.ids[1:])
    question = "What is it?"
    found = [
        await bench.chat(question, model=name, memory="off")
        for name in (f"{MODEL}:{first.id}", f"{MODEL}:{second.id}", f"{MODEL}:base", MODEL)
    ]
    texts = [answer.text for answer in found]
    assert len(set(texts[:3])) == 3, "each is another model"
    assert texts[2] == texts[3], "nothing was found that was learnt"
    assert all(answer.memories == [] for answer in found)


async def test_CONV_2_an_adapter_that_is_named_is_not_replaced_by_a_newer_one(bench: Bench) -> None:
    first = await bench.learnt(bench.ids[:1])
    await bench.learnt(bench.ids)
    answer = await bench.chat(model=f"{MODEL}:{first.id}")
    forms = bench.forms(answer)
    assert forms.pop(bench.ids[0]) is Form.PARAMETER
    assert set(forms.values()) == {Form.PLAINTEXT}
    assert bench.forms(await bench.chat(model=f"{MODEL}:base")) == dict.fromkeys(
        bench.ids, Form.PLAINTEXT
    )


async def test_CONV_2_what_has_changed_is_said_beside_a_named_adapter(bench: Bench) -> None:
    lesson = await bench.learnt()
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    answer = await bench.chat("Hm?", model=f"{MODEL}:{lesson.id}", memories=1)
    assert bench.forms(answer)[bench.ids[0]] is Form.PLAINTEXT


async def test_CONV_2_a_named_adapter_is_used_or_nothing_is(bench: Bench) -> None:
    lesson = await bench.learnt()
    name = f"{MODEL}:{lesson.id}"
    stranger = await bench.memos.caller("user:stranger")
    home = [bench.memos.administrator_id]
    with pytest.raises(InvalidInputError):
        await bench.chat(model=name, adapters=False)
    for wrong, caller, places in (
        (f"{MODEL}:absent", bench.admin, None),
        (f"unknown:{lesson.id}", bench.admin, None),
        (name, stranger, None),
        (name, stranger, home),
        (name, bench.admin, [await bench.memos.namespace("user:admin/else")]),
    ):
        for memory in ("read", "off"):
            with pytest.raises((NotFoundError, PermissionDeniedError)):
                await bench.chat(caller=caller, model=wrong, namespaces=places, memory=memory)
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    for id in bench.ids[1:]:
        await bench.memos.service.share(bench.admin, id, sharing)
    with pytest.raises(NotFoundError):
        await bench.chat(caller=stranger, model=name, namespaces=home)
    await bench.memos.service.share(bench.admin, bench.ids[0], sharing)
    with_it = await bench.chat("Hm?", stranger, model=name, namespaces=home, memory="off")
    without = await bench.chat("Hm?", stranger, namespaces=home, memory="off")
    assert with_it.text != without.text
    await bench.memos.service.delete(bench.admin, bench.ids[2])
    with pytest.raises(NotFoundError):
        await bench.chat(model=name)


async def test_CONV_2_a_named_adapter_that_does_not_fit_is_an_error(bench: Bench) -> None:
    bench.trainer.accepted = False
    rejected = await bench.learnt()
    with pytest.raises(NotFoundError):
        await bench.chat(model=f"{MODEL}:{rejected.id}")
    bench.trainer.accepted, bench.trainer.base = True, "another"
    lesson = await bench.learnt()
    with pytest.raises(InvalidInputError):
        await bench.chat(model=f"{MODEL}:{lesson.id}")


async def test_CONV_2_bad_lessons(bench: Bench) -> None:
    teach = bench.memos.doorway.parameter.teach
    for ids, model in ((["absent"], MODEL), (bench.ids, "unknown")):
        with pytest.raises(NotFoundError):
            await teach(bench.admin, Teaching(ids=ids, model=model))
    stranger = await bench.memos.caller("user:stranger")
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        wanted = Teaching(ids=bench.ids, model=MODEL, namespace=bench.memos.administrator_id)
        await teach(stranger, wanted)
    with pytest.raises(NotFoundError):
        await bench.lesson("absent")
    with pytest.raises(NotFoundError):
        await bench.memos.doorway.parameter.cancel(bench.admin, "absent")
