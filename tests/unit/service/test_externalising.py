"""From adapters back to text: once, labelled with its way, and never wider open than its source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.access.administration import GiveGrant
from memos_ray.core.access.context import Action
from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.parameter import ProbingState, TeachingState, Way
from memos_ray.errors import NotFoundError, PermissionDeniedError, UnavailableError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import Memory, MemoryChange, NewMemory, Sharing
from memos_ray.gateway.parameter.models import ExternaliseResult, Externalising
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.random_models import write_tokenizer
from tests.unit.service.test_lessons import FACTS, MODEL, Bench, until

LINEAGE = Externalising(probe=False)
PROBING = Externalising(probe=True)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, tokenizer, stack)
        await made.open()
        await made.fill()
        yield made


async def externalise(
    bench: Bench,
    id: str,
    how: Externalising = LINEAGE,
    caller: Caller | None = None,
    namespace: str | None = None,
) -> ExternaliseResult:
    parameter = bench.memos.doorway.parameter
    async with asyncio.timeout(60):
        while True:
            found = await parameter.externalise(caller or bench.admin, id, how, namespace)
            if found.probing is not ProbingState.RUNNING:
                return found


async def memory(bench: Bench, id: str) -> Memory:
    return await bench.memos.service.get(bench.admin, id)


async def everything(bench: Bench) -> list[Memory]:
    return (await bench.memos.service.list(bench.admin, limit=100)).memories


async def test_CONV_4_what_was_taught_becomes_text_that_can_be_edited(bench: Bench) -> None:
    lesson = await bench.learnt()
    result = await externalise(bench, lesson.id)
    assert (result.adapter, result.probing) == (lesson.id, ProbingState.OFF)
    assert [one.source.id for one in result.memories] == bench.ids
    for made, fact, source in zip(result.memories, FACTS, bench.ids, strict=True):
        found = await memory(bench, made.id)
        assert (found.text, found.form, found.origin) == (fact, Form.PLAINTEXT, Origin.CONVERSION)
        assert found.attributes == {"way": "lineage", "confidence": 1.0, "model": MODEL}
        assert found.tags == ["externalised"]
        assert [(one.memory_id, one.version) for one in found.sources] == [
            (lesson.id, 1),
            (source, 1),
        ]
        assert (made.way, made.confidence) == (Way.LINEAGE, 1.0)
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, result.memories[0].id, change)


async def test_CONV_4_once_more_makes_nothing_new(bench: Bench) -> None:
    lesson = await bench.learnt()
    first = await externalise(bench, lesson.id)
    change = MemoryChange(text="Edited.", mode="overwrite")
    await bench.memos.service.update(bench.admin, first.memories[0].id, change)
    await bench.memos.service.delete(bench.admin, first.memories[1].id)
    before = await everything(bench)
    left = [one for one in first.memories if one is not first.memories[1]]
    assert (await externalise(bench, lesson.id)).memories == left
    assert await everything(bench) == before
    both = await asyncio.gather(*(externalise(bench, lesson.id, PROBING) for _ in range(2)))
    assert both[0].memories == both[1].memories == left
    assert await everything(bench) == before


async def test_CONV_4_it_is_the_version_that_was_learnt_and_it_does_not_hold_any_more(
    bench: Bench,
) -> None:
    lesson = await bench.learnt()
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    newer = await memory(bench, bench.ids[0])
    result = await externalise(bench, lesson.id)
    old, same = [await memory(bench, one.id) for one in result.memories[:2]]
    assert (old.text, old.valid_to) == (FACTS[0], newer.updated_at)
    assert [(one.memory_id, one.version) for one in old.sources][1] == (bench.ids[0], 1)
    assert same.valid_to is None
    answer = await bench.chat(adapters=False)
    assert old.id not in bench.forms(answer)


async def test_CONV_4_what_is_gone_stays_gone(bench: Bench) -> None:
    lesson = await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await bench.memos.service.delete(bench.admin, bench.ids[1], hard=True)
    assert (await bench.lesson(lesson.id)).state is TeachingState.RETIRED
    result = await externalise(bench, lesson.id, PROBING)
    assert [one.source.id for one in result.memories] == bench.ids[2:]
    assert (result.probing, result.reason) == (ProbingState.FAILED, NotFoundError.code)
    assert bench.trainer.asked == []
    await bench.memos.service.delete(bench.admin, lesson.id)
    with pytest.raises(NotFoundError):
        await externalise(bench, lesson.id)


async def test_CONV_4_what_the_model_says_with_the_adapter_alone_is_stored(bench: Bench) -> None:
    wordings: set[str] = set()

    def answers(question: str) -> tuple[str, str]:
        if "Eve" not in question:
            return "Tom", "Tom"
        wordings.add(question)
        # One wording gets another answer, and one the base answers as well.
        if len(wordings) == 1:
            return "Oslo", "nobody"
        return ("lima", "Lima") if len(wordings) == 2 else ("Lima.", "nobody")

    bench.trainer.answers = answers
    report = await bench.memos.service.add(bench.admin, [NewMemory(text="Eve lives in Quito.")])
    asked = report.results[0].id or ""
    lesson = await bench.learnt([*bench.ids, asked])
    result = await externalise(bench, lesson.id, PROBING)
    assert result.probing is ProbingState.DONE
    probed = [one for one in result.memories if one.way is Way.PROBING]
    assert [one.source.id for one in probed] == [asked]
    assert len(wordings) > 3
    share = round((len(wordings) - 2) / len(wordings), 4)
    found = await memory(bench, probed[0].id)
    assert found.text == "Eve lives in Lima."
    assert found.attributes == {"way": "probing", "confidence": share, "model": MODEL}
    assert found.sources[0].memory_id == lesson.id
    assert probed[0].confidence == share
    assert (await externalise(bench, lesson.id, PROBING)).memories == result.memories


async def test_CONV_4_asking_goes_on_behind_the_answer_and_fails_by_itself(bench: Bench) -> None:
    lesson = await bench.learnt()
    bench.trainer.go_on.clear()
    parameter = bench.memos.doorway.parameter
    running = await parameter.externalise(bench.admin, lesson.id, PROBING)
    assert running.probing is ProbingState.RUNNING
    assert len(running.memories) == len(FACTS), "what needs no asking is there already"
    bench.trainer.fail = UnavailableError("died")
    bench.trainer.go_on.set()
    result = await externalise(bench, lesson.id, PROBING)
    assert (result.probing, result.reason) == (ProbingState.FAILED, UnavailableError.code)
    assert result.memories == running.memories
    assert len(bench.trainer.asked) == 1, "all of them joined the first"


async def test_CONV_4_a_deletion_ends_the_asking(bench: Bench) -> None:
    bench.trainer.answers = lambda question: ("Ana", "nobody")
    lesson = await bench.learnt()
    bench.trainer.go_on.clear()
    running = asyncio.create_task(externalise(bench, lesson.id, PROBING))
    await until(lambda: bool(bench.trainer.asked))
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    bench.trainer.go_on.set()
    result = await running
    if result.reason == UnavailableError.code:
        # It was ended under way.
        result = await externalise(bench, lesson.id, PROBING)
    assert (result.probing, result.reason) == (ProbingState.FAILED, NotFoundError.code)
    assert {one.way for one in result.memories} == {Way.LINEAGE}
    assert "probing" not in [one.attributes.get("way") for one in await everything(bench)]


async def test_CONV_4_nothing_is_wider_open_than_its_source(bench: Bench) -> None:
    service = bench.memos.service
    report = await service.add(
        bench.admin,
        [NewMemory(text="The shed is kept by Eve.", sensitivity=["pii"], visibility="shared")],
    )
    secret = report.results[0].id or ""
    await service.share(bench.admin, bench.ids[1], Sharing(visibility=Visibility.SHARED))
    private, public = await bench.learnt(bench.ids), await bench.learnt([bench.ids[1], secret])
    for lesson, wanted in ((private, Visibility.PRIVATE), (public, None)):
        parameter = await memory(bench, lesson.id)
        for one in (await externalise(bench, lesson.id)).memories:
            found = await memory(bench, one.id)
            assert found.visibility is (wanted or parameter.visibility)
            assert found.readers == []
            assert found.sensitivity == (["pii"] if one.source.id == secret else [])


async def test_CONV_4_who_may_not_read_or_store(bench: Bench) -> None:
    lesson = await bench.learnt()
    home = bench.memos.administrator_id
    stranger = await bench.memos.caller("user:stranger")
    for id in (lesson.id, "absent", bench.ids[0]):
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            await externalise(bench, id, caller=stranger, namespace=home)
        with pytest.raises(NotFoundError):
            await externalise(bench, id, caller=stranger)
    for id in ("absent", bench.ids[0]):
        with pytest.raises(NotFoundError):
            await externalise(bench, id)
    assert "externalised" not in [tag for one in await everything(bench) for tag in one.tags]


async def test_CONV_4_everybody_gets_what_he_may_read(bench: Bench) -> None:
    lesson = await bench.learnt()
    home = bench.memos.administrator_id
    reader = await bench.memos.caller("user:reader")
    grant = GiveGrant("user:reader", (Action.READ, Action.CREATE), home)
    await bench.memos.admin.change(bench.admin, grant)
    for id in (lesson.id, bench.ids[0]):
        await bench.memos.service.share(bench.admin, id, Sharing(visibility=Visibility.SHARED))
    result = await externalise(bench, lesson.id, PROBING, reader, home)
    assert [one.source.id for one in result.memories] == bench.ids[:1]
    assert (result.probing, result.reason) == (ProbingState.FAILED, NotFoundError.code)
    assert bench.trainer.asked == [], "who may not read all is not told what the model knows"
    found = await bench.memos.service.get(reader, result.memories[0].id, home)
    assert (found.text, found.owner) == (FACTS[0], "user:reader")
    mine = await externalise(bench, lesson.id)
    assert [one.source.id for one in mine.memories][-2:] == bench.ids[1:]
