"""What is retired leaves the replicas as well, however long they do not answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

pytest.importorskip("transformers")

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.parameter import TeachingState
from memos_ray.errors import MemosError, StoreError, UnavailableError
from memos_ray.gateway.memories.models import MemoryChange
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore
from tests.unit.service.test_lessons import Bench, bench, tokenizer, until

__all__ = ["bench", "tokenizer"]


def rows(bench: Bench) -> list[str]:
    partitions = range(4)
    found = [bench.memos.store.derivations(number, "adapter") for number in partitions]
    return [row.name for part in found for row in part]


async def in_use(bench: Bench) -> str:
    lesson = await bench.learnt()
    await bench.chat()
    assert lesson.adapter and lesson.adapter in bench.replica.held
    return lesson.adapter


@pytest.mark.parametrize("hard", [False, True])
async def test_a_deletion_takes_the_weights_out_of_the_replicas(bench: Bench, hard: bool) -> None:
    digest = await in_use(bench)
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=hard)
    await until(lambda: digest not in bench.replica.held)
    await until(lambda: not rows(bench))
    assert not bench.files


@pytest.mark.parametrize("error", [UnavailableError("away"), StoreError("the disk says no")])
async def test_what_is_to_be_learnt_again_is_written_before_the_adapter_is_forgotten(
    bench: Bench, tmp_path: Path, error: MemosError
) -> None:
    plan = FaultPlan()
    store = FaultyRecordStore(SqlRecordStore.embedded(tmp_path / "records"), plan)
    await bench.open(store)
    await bench.learnt()
    plan.faults = [Fault("save_derivation", store.calls["save_derivation"] + 1, error)]
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await until(lambda: not rows(bench))
    assert store.struck
    left = [row for one in range(4) for row in store.derivations(one, "relearn")]
    assert [orjson.loads(row.body)["ids"] for row in left] == [bench.ids[1:]]


async def test_a_change_leaves_them(bench: Bench) -> None:
    digest = await in_use(bench)
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    await bench.chat()
    assert digest in bench.replica.held and rows(bench)


async def test_replicas_that_do_not_answer_hold_nobody_up(bench: Bench) -> None:
    digest = await in_use(bench)
    bench.model.fail = UnavailableError("no replica answers")
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    (found,) = [
        one.state for one in (await bench.memos.doorway.parameter.lessons(bench.admin)).lessons
    ]
    assert found is TeachingState.RETIRED
    await until(lambda: not bench.files)
    assert rows(bench), "not before the replicas have confirmed"
    bench.model.fail = None
    await until(lambda: not rows(bench))
    assert digest not in bench.replica.held


async def test_the_next_owner_goes_on_with_it(bench: Bench) -> None:
    await in_use(bench)
    bench.model.fail = UnavailableError("no replica answers")
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    bench.memos.crew.cut_off("shard-0")
    assert rows(bench)
    bench.model.fail = None
    await bench.chat()
    await until(lambda: not rows(bench))


async def test_a_request_that_was_under_way_ends_and_leaves_nothing(bench: Bench) -> None:
    lesson = await bench.learnt()
    await bench.chat()
    assert lesson.adapter
    start = await bench.memos.doorway.activation.start_prompt(
        bench.admin, "hashing", None, None, lesson.id
    )
    assert start.taught is not None
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await until(lambda: not rows(bench))
    request = bench.request("Who?", lesson.adapter)
    parts = [part async for part in bench.model.chat(request, weights=start.taught.weights)]
    assert parts[-1].finish is not None
    assert lesson.adapter not in bench.replica.held


async def test_the_same_weights_under_another_name_stay(bench: Bench) -> None:
    first = await bench.learnt()
    second = await bench.learnt()
    assert first.adapter == second.adapter
    await bench.memos.service.delete(bench.admin, first.id)
    await until(lambda: rows(bench) == [second.id])
    await bench.open()
    await bench.memos.service.get(bench.admin, second.id)
    assert len(bench.files) == 1
    assert isinstance(bench.engine, HashingEngine)
    answer = await bench.chat(model=f"hashing:{second.id}")
    assert first.adapter in bench.replica.held and answer.text


async def test_GOV_9_what_becomes_of_it_is_counted(bench: Bench) -> None:
    await in_use(bench)
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await until(lambda: not rows(bench))
    await bench.chat()
    await bench.memos.doorway.chats.settle()
    found: Counter[str] = Counter()
    for shard in bench.memos.crew.shards.values():
        found += Counter((await shard.status()).counters)
    assert (found["adapters_retired"], found["adapters_erased"]) == (1, 1)
    assert (found["relearning_wanted"], found["relearning_taken_up"]) == (1, 1)
