"""No lesson is lost: whoever owns the partition next goes on with it, or says why not."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.access.administration import PutPrincipal
from memos_ray.core.access.model import PrincipalRecord
from memos_ray.core.cube.payload import Form
from memos_ray.core.parameter import TeachingState
from memos_ray.errors import MemosError, StoreError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.memories.models import MemoryChange, NewMemory
from memos_ray.gateway.parameter.models import LessonReport, Teaching
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from tests.unit.service.test_lessons import MODEL, Bench, bench, ended, tokenizer, until

__all__ = ["bench", "tokenizer"]


async def begun(bench: Bench) -> LessonReport:
    """A lesson that waits for its trainer."""
    bench.trainer.go_on.clear()
    lesson = await bench.teach()
    await until(lambda: bool(bench.trainer.lessons))
    return lesson


async def test_it_goes_on_after_a_restart(bench: Bench) -> None:
    lesson = await begun(bench)
    await bench.open()
    assert (await bench.lesson(lesson.id)).state is TeachingState.TRAINING
    await until(lambda: len(bench.trainer.lessons) == 2)
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE
    first, second = bench.trainer.lessons
    assert first == second, "under the same id, from the same memories"
    assert bench.trainer.forgotten == []
    assert set(bench.forms(await bench.chat()).values()) == {Form.PARAMETER}


def written(bench: Bench) -> str:
    """All that is at rest of lessons."""
    rows = [row for one in range(4) for row in bench.memos.store.derivations(one, "lesson")]
    return " ".join(row.body.decode() for row in rows)


async def test_it_goes_on_with_the_same_wordings(bench: Bench) -> None:
    asked = itertools.count()
    bench.trainer.words = lambda text: f"Question {next(asked)} about {len(text)} letters?"
    lesson = await begun(bench)
    assert "Question 0" in written(bench)
    change = MemoryChange(text="The archive is kept by Bo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[1], change)
    await bench.open()
    await bench.lesson(lesson.id)
    await until(lambda: len(bench.trainer.lessons) == 2)
    first, second = bench.trainer.lessons
    assert first.wordings == second.wordings and first.wordings is not None
    assert [one.source in first.wordings.questions for one in second.knowledge] == [
        True,
        False,
        True,
    ]
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE
    await until(lambda: "Question" not in written(bench))


@pytest.mark.parametrize("hard", [False, True])
async def test_wordings_go_with_a_memory_that_is_deleted(bench: Bench, hard: bool) -> None:
    bench.trainer.words = lambda text: f"Question about {len(text)} letters?"
    lesson = await begun(bench)
    assert "Question" in written(bench)
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=hard)
    assert (await ended(bench, lesson.id)).state is TeachingState.CANCELLED
    await until(lambda: "Question" not in written(bench))


async def test_wordings_that_cannot_be_written_are_written_again(
    bench: Bench, tmp_path: Path
) -> None:
    store = SqlRecordStore.embedded(tmp_path / "records")
    plan = FaultPlan()
    faulty = FaultyRecordStore(store, plan)
    await bench.open(faulty)
    # The first row says that it has begun, the second one has the wordings.
    call = faulty.calls["save_derivation"] + 2
    plan.faults = [Fault("save_derivation", call, StoreError("the disk is slow"))]
    bench.trainer.words = lambda text: f"Question about {len(text)} letters?"
    lesson = await begun(bench)
    assert "Question" not in written(bench) and faulty.struck
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE


async def test_a_late_owner_leaves_the_lesson_to_the_next_one(bench: Bench) -> None:
    lesson = await begun(bench)
    bench.memos.crew.cut_off("shard-0")
    assert (await bench.lesson(lesson.id)).state is TeachingState.TRAINING
    await until(lambda: len(bench.trainer.lessons) == 2)
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE
    await until(lambda: len(bench.files) == 1)
    assert bench.trainer.forgotten == [], "its checkpoint is the next owner's"


async def test_CONV_3_one_about_an_activation_memory_goes_on(bench: Bench) -> None:
    made = await bench.memos.doorway.activation.convert(
        bench.admin, Conversion(ids=bench.ids, model=MODEL)
    )
    block = made.results[0].id or ""
    bench.trainer.go_on.clear()
    parameter = bench.memos.doorway.parameter
    lesson = await parameter.teach(bench.admin, Teaching(ids=[block], model=MODEL))
    await until(lambda: bool(bench.trainer.lessons))
    await bench.open()
    await bench.lesson(lesson.id)
    await until(lambda: len(bench.trainer.lessons) == 2)
    bench.trainer.go_on.set()
    found = await ended(bench, lesson.id)
    assert found.state is TeachingState.LIVE, found.reason
    memory = await bench.memos.service.get(bench.admin, lesson.id)
    assert {one.memory_id for one in memory.sources} == {block, *bench.ids}


async def test_what_no_longer_holds_is_not_asked_for_again(bench: Bench, tmp_path: Path) -> None:
    store = SqlRecordStore.embedded(tmp_path / "records")
    await bench.open(store)
    await bench.learnt()
    ended_at = datetime(2020, 1, 1, tzinfo=UTC)
    for id in bench.ids[1:]:
        change = MemoryChange(valid_to=ended_at)
        await bench.memos.service.update(bench.admin, id, change)
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await until(lambda: not bench.files)
    kept = NewMemory(text="Nobody keeps the garden now.")
    await bench.memos.service.add(bench.admin, [kept])
    await bench.chat()
    await bench.memos.doorway.chats.settle()
    await until(lambda: not [row for one in range(4) for row in store.derivations(one, "relearn")])


async def test_the_next_owner_goes_on_beside_a_zombie(bench: Bench) -> None:
    lesson = await begun(bench)
    bench.memos.crew.cut_off("shard-0")
    assert (await bench.lesson(lesson.id)).state is TeachingState.TRAINING
    await until(lambda: len(bench.trainer.lessons) == 2)
    bench.trainer.go_on.set()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE
    await until(lambda: len(bench.files) == 1)
    await bench.open()
    assert (await ended(bench, lesson.id)).state is TeachingState.LIVE


async def test_rights_are_judged_anew(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    ann = await bench.memos.caller("user:ann")
    report = await bench.memos.service.add(ann, [NewMemory(text="The fox is called Ida.")])
    parameter = bench.memos.doorway.parameter
    wanted = Teaching(ids=[report.results[0].id or ""], model=MODEL)
    lesson = await parameter.teach(ann, wanted)
    await until(lambda: bool(bench.trainer.lessons))
    gone = PutPrincipal(PrincipalRecord("user:ann", disabled=True))
    await bench.memos.admin.change(bench.admin, gone)
    await bench.open()
    await bench.chat()
    await until(lambda: bench.trainer.forgotten == [lesson.id])
    assert len(bench.trainer.lessons) == 1, "nothing of it was taught any more"
    assert bench.files == []


async def test_one_that_ends_its_shards_is_given_up(bench: Bench) -> None:
    lesson = await begun(bench)
    for count in range(2, 6):
        await bench.open()
        await bench.lesson(lesson.id)
        await until(lambda wanted=count: len(bench.trainer.lessons) == wanted)  # type: ignore[misc]
    await bench.open()
    found = await ended(bench, lesson.id)
    assert found.state is TeachingState.FAILED and "too often" in (found.reason or "")
    assert len(bench.trainer.lessons) == 5
    assert bench.trainer.forgotten == [lesson.id]


async def test_what_has_ended_is_still_told_after_a_restart(bench: Bench) -> None:
    cancelled = await begun(bench)
    await bench.memos.doorway.parameter.cancel(bench.admin, cancelled.id)
    bench.trainer.go_on.set()
    bench.trainer.fail = StoreError("the disk is gone")
    failed = await bench.learnt()
    await bench.open()
    states = {id: (await ended(bench, id)).state for id in (cancelled.id, failed.id)}
    assert states == {cancelled.id: TeachingState.CANCELLED, failed.id: TeachingState.FAILED}
    assert (await bench.lesson(failed.id)).reason == failed.reason
    assert len(bench.trainer.lessons) == 2


async def test_what_is_to_be_learnt_again_survives_a_restart(bench: Bench) -> None:
    await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[2])
    await until(lambda: not bench.files)
    await bench.open()
    async with asyncio.timeout(60):
        while len(bench.trainer.lessons) < 2:
            await bench.chat()
            await bench.memos.doorway.chats.settle()
    wanted = dict.fromkeys(bench.ids[:2], Form.PARAMETER)
    async with asyncio.timeout(60):
        while bench.forms(await bench.chat()) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
@pytest.mark.parametrize(
    ("method", "call"),
    [("save_derivation", 1), ("save_derivation", 2), ("commit", 1), ("forget_derivations", 1)],
)
async def test_a_fault_at_any_step_leaves_all_or_nothing(
    bench: Bench, method: str, call: int, moment: Moment, tmp_path: Path
) -> None:
    """The shard fails at one step and is then cut off: the next one tells the whole story."""
    plan = FaultPlan()
    store = FaultyRecordStore(SqlRecordStore.embedded(tmp_path / "records"), plan)
    await bench.open(store)
    await bench.chat()
    plan.faults = [Fault(method, store.calls[method] + call, StoreError("no disk"), moment)]
    lesson = None
    try:
        lesson = await bench.teach()
        await ended(bench, lesson.id)
    except MemosError:
        assert call == 1 and method == "save_derivation"
    await until(lambda: bool(store.struck))
    await bench.open()
    if lesson is not None:
        found = await ended(bench, lesson.id)
        assert found.state in (TeachingState.LIVE, TeachingState.FAILED)
        live = found.state is TeachingState.LIVE
        await until(lambda: len(bench.files) == int(live))
        forms = set(bench.forms(await bench.chat()).values())
        assert forms == {Form.PARAMETER if live else Form.PLAINTEXT}
