"""Adapters that no lesson has trained: combined of others, or brought in files; and taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.parameter import FusionMethod, TeachingState
from memos_ray.core.parameter.peft_format import from_peft, to_peft
from memos_ray.errors import (
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.parameter.models import LessonReport, Merging, Teaching
from memos_ray.gateway.parameter.service import ParameterService
from memos_ray.ports import AdapterRoom, CombinedAdapters
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HASHING_SHAPES, HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_adapters import random_adapter
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"
FACTS = ("The garden is kept by Ana.", "The archive is kept by Ben.", "The cat is called Tom.")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    """A MemOS whose model knows the first fact by one adapter, and the others by another."""

    def __init__(self, memos: InProcess, trainer: RandomTrainer) -> None:
        self.memos = memos
        self.trainer = trainer
        self.ids: list[str] = []
        self.parents: list[str] = []

    @property
    def admin(self) -> Caller:
        return self.memos.administrator

    @property
    def parameter(self) -> ParameterService:
        return self.memos.doorway.parameter

    async def fill(self) -> None:
        facts = [NewMemory(text=text) for text in FACTS]
        report = await self.memos.service.add(self.admin, facts)
        self.ids = [result.id or "" for result in report.results]
        await self.learn()

    async def learn(self) -> None:
        self.parents = []
        for ids in (self.ids[:1], self.ids[1:]):
            lesson = await self.parameter.teach(self.admin, Teaching(ids=ids, model=MODEL))
            assert (await self.ended(lesson)).state is TeachingState.LIVE
            self.parents.append(lesson.id)

    async def ended(self, lesson: LessonReport) -> LessonReport:
        async with asyncio.timeout(60):
            while (found := await self.lesson(lesson.id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    async def lesson(self, id: str) -> LessonReport:
        return await self.parameter.lesson(self.admin, id)

    async def merge(self, **more: object) -> LessonReport:
        wanted = Merging.model_validate({"ids": self.parents, **more})
        return await self.parameter.merge(self.admin, wanted)

    async def merged(self, **more: object) -> LessonReport:
        return await self.ended(await self.merge(**more))

    async def bring(
        self, config: bytes, tensors: bytes, ids: Sequence[str] | None = None
    ) -> LessonReport:
        about = Teaching(ids=list(ids or self.ids), model=MODEL)
        return await self.parameter.bring(self.admin, about, config, tensors)

    async def exported(self, id: str, caller: Caller | None = None) -> tuple[bytes, bytes]:
        home = self.memos.administrator_id
        files = await self.parameter.files(caller or self.admin, id, home)
        tensors = b"".join([piece async for piece in files.tensors])
        assert len(tensors) == files.size_bytes
        return files.config, tensors

    async def chat(self) -> ChatAnswer:
        turn = Turn(role="user", content="Who keeps the garden?")
        query = ChatQuery.model_validate({"model": MODEL, "messages": [turn], "max_tokens": 8})
        return await self.memos.doorway.chats.chat(self.admin, query)

    async def forms(self) -> dict[str, Form]:
        return {one.id: one.form for one in (await self.chat()).memories}


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    trainer = RandomTrainer()
    trainer.go_on.set()
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    async with AsyncExitStack() as stack:
        memos = await stack.enter_async_context(
            in_process(
                tmp_path,
                models={MODEL: model},
                kv_builder=model,
                trainer=trainer,
                settings=VaultSettings(partitions=4),
            )
        )
        made = Bench(memos, trainer)
        await made.fill()
        yield made


def foreign(rank: int = 4) -> tuple[bytes, bytes]:
    """The files of an adapter that fits the model."""
    files = to_peft(random_adapter("hashing", HASHING_SHAPES, seed=5, rank=rank))
    return files.config, files.part(0, files.size_bytes)


async def test_CONV_7_a_merged_adapter_knows_what_its_parents_do(bench: Bench) -> None:
    assert set((await bench.forms()).values()) == {Form.PLAINTEXT, Form.PARAMETER}
    lesson = await bench.merged(method="ties", weights=[1.0, 0.5], density=0.3)
    assert lesson.state is TeachingState.LIVE and lesson.report
    assert [one.id for one in lesson.memories] == bench.ids
    assert await bench.forms() == dict.fromkeys(bench.ids, Form.PARAMETER)
    given = bench.trainer.lessons[-1]
    assert [one.source.cube_id for one in given.knowledge] == bench.ids
    assert isinstance(given.made_of, CombinedAdapters)
    plan = given.made_of.plan
    assert (plan.method, plan.weights, plan.density) == (FusionMethod.TIES, (1.0, 0.5), 0.3)
    digests = [(await bench.lesson(id)).adapter for id in bench.parents]
    assert [one.manifest.digest for one in given.made_of.references] == digests  # type: ignore[attr-defined]
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert (cube.form, cube.origin) == (Form.PARAMETER, Origin.FINE_TUNING)
    assert [source.memory_id for source in cube.sources] == bench.ids
    assert cube.attributes["merged_from"] == " ".join(bench.parents)


async def test_CONV_7_it_is_as_open_as_the_narrowest_of_its_sources(bench: Bench) -> None:
    reader, home = await bench.memos.caller("user:reader"), bench.memos.administrator_id
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:reader"])
    for id in bench.ids[1:]:
        await bench.memos.service.share(bench.admin, id, sharing)
    # Another version of a memory is another thing to learn.
    await bench.learn()
    lesson = await bench.merged()
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert cube.visibility is Visibility.PRIVATE
    seen = {one.id for one in (await bench.parameter.lessons(reader, home)).lessons}
    assert bench.parents[1] in seen and not seen & {bench.parents[0], lesson.id}
    await bench.exported(bench.parents[1], reader)
    for id in (bench.parents[0], lesson.id):
        with pytest.raises(NotFoundError):
            await bench.exported(id, reader)


async def test_CONV_7_nobody_merges_what_he_may_not_read(bench: Bench) -> None:
    stranger = await bench.memos.caller("user:stranger")
    wanted = Merging(ids=bench.parents, namespace=bench.memos.administrator_id)
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await bench.parameter.merge(stranger, wanted)
    with pytest.raises(NotFoundError):
        await bench.parameter.merge(stranger, Merging(ids=bench.parents))


@pytest.mark.parametrize("place", [0, 2])
async def test_CONV_7_a_deletion_ends_it_at_once(bench: Bench, place: int) -> None:
    lesson = await bench.merged()
    await bench.memos.service.delete(bench.admin, bench.ids[place])
    assert (await bench.lesson(lesson.id)).state is TeachingState.RETIRED
    with pytest.raises(NotFoundError):
        await bench.exported(lesson.id)
    assert bench.ids[place] not in await bench.forms()


async def test_CONV_7_a_deletion_meanwhile_ends_the_merge(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    lesson = await bench.merge()
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    ended = await bench.ended(lesson)
    assert ended.state is TeachingState.CANCELLED and "deleted" in (ended.reason or "")


async def test_CONV_7_a_merge_can_be_cancelled(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    lesson = await bench.merge()
    with pytest.raises(IllegalStateError):
        await bench.merge()
    ended = await bench.parameter.cancel(bench.admin, lesson.id)
    assert ended.state is TeachingState.CANCELLED
    bench.trainer.go_on.set()
    assert (await bench.merged()).state is TeachingState.LIVE


async def test_CONV_7_a_merge_that_the_gate_rejects_is_not_used(bench: Bench) -> None:
    bench.trainer.accepted = False
    assert (await bench.merged()).state is TeachingState.REJECTED
    assert Form.PLAINTEXT in (await bench.forms()).values()
    bench.trainer.fail = UnavailableError("the trainer has died")
    lesson = await bench.merged(method="dare")
    assert (lesson.state, lesson.reason) == (TeachingState.FAILED, "unavailable")


async def test_CONV_7_only_live_adapters_are_merged(bench: Bench) -> None:
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    with pytest.raises(IllegalStateError, match="stale"):
        await bench.merge()
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    with pytest.raises(NotFoundError):
        await bench.merge()


@pytest.mark.parametrize(
    "bad",
    [
        {"weights": [1.0]},
        {"method": "svd", "density": 0.5},
    ],
)
async def test_CONV_7_bad_merges(bench: Bench, bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        await bench.merge(**bad)


async def test_CONV_7_adapters_that_do_not_go_together(bench: Bench) -> None:
    with pytest.raises(InvalidInputError, match="itself"):
        await bench.merge(ids=[bench.parents[0]] * 2)
    with pytest.raises(NotFoundError):
        await bench.merge(ids=[bench.parents[0], "absent"])
    with pytest.raises(NotFoundError):
        await bench.merge(ids=bench.ids[:2])
    bench.trainer.room = AdapterRoom(rank_max=4, bytes_max=1 << 20)
    with pytest.raises(InvalidInputError, match="rank"):
        await bench.merge(method="linear")
    bench.trainer.base = "another"
    about = Teaching(ids=bench.ids, model=MODEL)
    other = await bench.ended(await bench.parameter.teach(bench.admin, about))
    with pytest.raises(InvalidInputError, match="different models"):
        await bench.merge(ids=[bench.parents[0], other.id])


async def test_CONV_7_what_is_exported_can_be_imported(bench: Bench) -> None:
    before = await bench.lesson(bench.parents[1])
    config, tensors = await bench.exported(before.id)
    again = await bench.ended(await bench.bring(config, tensors, bench.ids[1:]))
    assert again.state is TeachingState.LIVE and again.adapter == before.adapter
    assert again.memories == before.memories
    cube = await bench.memos.service.get(bench.admin, again.id)
    assert (cube.form, cube.origin) == (Form.PARAMETER, Origin.IMPORT)


async def test_CONV_7_an_imported_adapter_goes_with_its_sources(bench: Bench) -> None:
    lesson = await bench.ended(await bench.bring(*foreign()))
    assert await bench.forms() == dict.fromkeys(bench.ids, Form.PARAMETER)
    await bench.memos.service.delete(bench.admin, bench.ids[1])
    assert (await bench.lesson(lesson.id)).state is TeachingState.RETIRED


async def test_CONV_7_an_import_that_the_gate_rejects_is_not_used(bench: Bench) -> None:
    bench.trainer.accepted = False
    lesson = await bench.ended(await bench.bring(*foreign()))
    assert lesson.state is TeachingState.REJECTED
    assert Form.PLAINTEXT in (await bench.forms()).values()


async def test_CONV_7_bad_imports(bench: Bench) -> None:
    config, tensors = foreign()
    pickled = b"PK\x03\x04" + b"\0" * 100
    for bad in ((config, pickled), (b"{}", tensors), (config.replace(b"LORA", b"LOHA"), tensors)):
        with pytest.raises(InvalidInputError):
            await bench.bring(*bad)
    for ids in (["absent"], [*bench.ids, "absent"]):
        with pytest.raises(NotFoundError):
            await bench.bring(config, tensors, ids)
    with pytest.raises(InvalidInputError):
        await bench.bring(config, tensors, [*bench.ids, bench.parents[0]])
    bench.trainer.room = AdapterRoom(rank_max=16, bytes_max=len(tensors) - 1)
    with pytest.raises(PayloadTooLargeError):
        await bench.bring(config, tensors)
    stranger = await bench.memos.caller("user:stranger")
    about = Teaching(ids=bench.ids, model=MODEL, namespace=bench.memos.administrator_id)
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await bench.parameter.bring(stranger, about, config, tensors)


async def test_CONV_7_an_import_that_does_not_fit_says_why(bench: Bench) -> None:
    lesson = await bench.ended(await bench.bring(*foreign(rank=32)))
    assert lesson.state is TeachingState.FAILED
    assert "rank is too large" in (lesson.reason or "")


async def test_CONV_7_a_file_in_many_parts(bench: Bench) -> None:
    files = to_peft(random_adapter("hashing", HASHING_SHAPES, seed=1))
    whole = files.part(0, files.size_bytes)
    assert np.array_equal(np.frombuffer(whole, np.uint8)[-files.body.size :], files.body)
    for length in (1, 7, len(files.head), files.size_bytes - 1):
        starts = range(0, files.size_bytes, length)
        assert b"".join(files.part(start, length) for start in starts) == whole
    assert files.part(files.size_bytes, 10) == b""


async def test_CONV_7_a_large_file_comes_in_parts_as_long_as_its_sources_are_there(
    bench: Bench,
) -> None:
    bench.trainer.room = AdapterRoom(rank_max=1 << 15, bytes_max=1 << 25)
    config, tensors = foreign(rank=20_000)
    lesson = await bench.ended(await bench.bring(config, tensors))
    assert lesson.state is TeachingState.LIVE
    found, again = await bench.exported(lesson.id)
    payload = from_peft(found, np.frombuffer(again, np.uint8), base="hashing")
    assert payload.manifest.digest == lesson.adapter
    pieces = (await bench.parameter.files(bench.admin, lesson.id)).tensors
    assert 0 < len(await anext(pieces)) < len(again)
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    with pytest.raises(NotFoundError):
        await anext(pieces)
