"""GOV-9, CONV-4: text that adapters were turned back into does not outlive what they had learnt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.cube import State
from memos_ray.core.parameter import ProbingState, TeachingState, Way
from memos_ray.core.vault.entries import DERIVE, LEARN
from memos_ray.core.vault.receipts import Derived, text_name
from memos_ray.errors import MemosError, NotFoundError
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.gateway.parameter.models import ExternaliseResult
from tests.unit.service.test_externalising import PROBING, externalise
from tests.unit.service.test_lessons import FACTS, Bench, bench, tokenizer
from tests.unit.service.test_receipts import complete, kinds, shown

__all__ = ["bench", "tokenizer"]


def answers(question: str) -> tuple[str, str]:
    """With the adapter, and without: of the garden it says what only the archive's fact says."""
    return ("Ben", "nobody") if "garden" in question else ("Tom", "Tom")


async def turned_back(bench: Bench) -> tuple[str, dict[str, str], str]:
    """Returns the adapter, the texts of its lineage by source, and what it has said of one."""
    bench.trainer.answers = answers
    lesson = await bench.learnt()
    result = await externalise(bench, lesson.id, PROBING)
    assert result.probing is ProbingState.DONE
    return lesson.id, ids(result, Way.LINEAGE), ids(result, Way.PROBING)[bench.ids[0]]


def ids(result: ExternaliseResult, way: Way) -> dict[str, str]:
    return {one.source.id: one.id for one in result.memories if one.way is way}


def names(erased: str, *texts: str) -> set[str]:
    """The names of texts in the receipt of an erased memory."""
    return {text_name("default", erased, id) for id in texts}


async def state(bench: Bench, id: str) -> str:
    try:
        found = (await bench.memos.service.get(bench.admin, id)).state
    except NotFoundError:
        return "erased"
    return "deleted" if found is State.DELETED else "there"


async def becomes(bench: Bench, id: str, wanted: str) -> None:
    async with asyncio.timeout(60):
        while await state(bench, id) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def erase(bench: Bench, id: str) -> None:
    await bench.memos.service.delete(bench.admin, id, hard=True)


async def test_GOV_9_the_text_of_a_source_is_erased_with_it(bench: Bench) -> None:
    _, lineage, said = await turned_back(bench)
    change = MemoryChange(text="The garden is kept by Ana, and well.", mode="overwrite")
    await bench.memos.service.update(bench.admin, lineage[bench.ids[0]], change)
    await erase(bench, bench.ids[0])
    receipt = await complete(bench, bench.ids[0])
    texts = {lineage[bench.ids[0]], said}
    assert set(kinds(receipt)[Derived.EXTERNALISED]) == names(bench.ids[0], *texts)
    # Whoever has erased it may not be one who may read these.
    assert not any(id in receipt.model_dump_json() for id in texts)
    assert receipt.verified()
    assert await state(bench, lineage[bench.ids[0]]) == "erased"
    for other in bench.ids[1:]:
        assert await state(bench, lineage[other]) == "there"
    assert "Ana" not in receipt.model_dump_json()


async def test_GOV_9_what_the_model_said_is_erased_with_anything_it_had_learnt(
    bench: Bench,
) -> None:
    adapter, lineage, said = await turned_back(bench)
    assert "Ben" in (await bench.memos.service.get(bench.admin, said)).text
    await erase(bench, bench.ids[1])
    receipt = await complete(bench, bench.ids[1])
    texts = names(bench.ids[1], lineage[bench.ids[1]], said)
    assert set(kinds(receipt)[Derived.EXTERNALISED]) == texts
    assert await state(bench, said) == "erased"
    assert await state(bench, lineage[bench.ids[0]]) == "there"
    # What is left is given back by the adapter that has learnt only that.
    assert (await bench.lesson(adapter)).state is TeachingState.RETIRED
    again = await bench.learnt([bench.ids[0], bench.ids[2]])
    result = await externalise(bench, again.id, PROBING)
    assert bench.ids[0] in ids(result, Way.PROBING)


async def test_GOV_9_a_memory_that_has_the_id_now_is_not_what_was_learnt(bench: Bench) -> None:
    lesson = await bench.learnt()
    await erase(bench, bench.ids[0])
    anew = NewMemory(id=bench.ids[0], text="The moon is made of cheese.")
    assert not (await bench.memos.service.add(bench.admin, [anew])).failed
    assert (await bench.memos.service.get(bench.admin, bench.ids[0])).version == 1
    result = await externalise(bench, lesson.id)
    assert {one.source.id for one in result.memories} == set(bench.ids[1:])


async def test_GOV_9_whoever_owns_the_partition_next_knows_of_it(bench: Bench) -> None:
    _, lineage, said = await turned_back(bench)
    await bench.open()
    await erase(bench, bench.ids[2])
    assert (await complete(bench, bench.ids[2])).verified()
    assert await state(bench, said) == "erased"
    assert await state(bench, lineage[bench.ids[2]]) == "erased"


async def test_GOV_9_an_erased_adapter_takes_what_it_said(bench: Bench) -> None:
    adapter, lineage, said = await turned_back(bench)
    await erase(bench, adapter)
    receipt = await complete(bench, adapter)
    assert set(kinds(receipt)[Derived.EXTERNALISED]) == names(adapter, said)
    assert await state(bench, said) == "erased"
    # The texts that it was taught are of the memories, and not of it.
    await bench.memos.service.share(bench.admin, bench.ids[0], Sharing(readers=["user:ann"]))
    await erase(bench, bench.ids[1])
    await complete(bench, bench.ids[1])
    assert await state(bench, lineage[bench.ids[0]]) == "there"


async def test_GOV_9_the_receipt_waits_for_text_that_is_frozen(bench: Bench) -> None:
    _, lineage, said = await turned_back(bench)
    await bench.memos.service.freeze(bench.admin, said)
    await erase(bench, bench.ids[1])
    await becomes(bench, lineage[bench.ids[1]], "erased")
    receipt = await shown(bench, bench.ids[1])
    assert receipt.state == "pending"
    await bench.memos.service.freeze(bench.admin, said, frozen=False)
    assert (await complete(bench, bench.ids[1])).verified()
    assert await state(bench, said) == "erased"


async def test_CONV_6_it_is_deleted_and_restored_with_its_sources(bench: Bench) -> None:
    _, lineage, said = await turned_back(bench)
    service = bench.memos.service
    await service.delete(bench.admin, bench.ids[1])
    await becomes(bench, said, "deleted")
    await becomes(bench, lineage[bench.ids[1]], "deleted")
    await service.delete(bench.admin, bench.ids[2])
    await service.restore(bench.admin, bench.ids[1])
    await becomes(bench, lineage[bench.ids[1]], "there")
    assert await state(bench, said) == "deleted", "another that was learnt is still gone"
    await service.restore(bench.admin, bench.ids[2])
    await becomes(bench, said, "there")


async def test_CONV_6_it_is_marked_when_its_source_says_something_else(bench: Bench) -> None:
    _, lineage, _ = await turned_back(bench)
    change = MemoryChange(text="The garden is kept by Cleo.", mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    async with asyncio.timeout(60):
        while True:
            found = await bench.memos.service.get(bench.admin, lineage[bench.ids[0]])
            if found.attributes.get("stale") is True:
                break
            await asyncio.sleep(0.01)
    other = await bench.memos.service.get(bench.admin, lineage[bench.ids[1]])
    assert "stale" not in other.attributes


async def test_CONV_6_CUBE_3_what_was_said_gets_the_labels_of_all_that_was_learnt(
    bench: Bench,
) -> None:
    service = bench.memos.service
    change = MemoryChange(sensitivity=["home"])
    await service.update(bench.admin, bench.ids[2], change)
    adapter, lineage, said = await turned_back(bench)
    assert (await service.get(bench.admin, adapter)).sensitivity == ["home"]
    assert (await service.get(bench.admin, said)).sensitivity == ["home"]
    change = MemoryChange(sensitivity=["health"], compliance=["gdpr"])
    await service.update(bench.admin, bench.ids[1], change)
    async with asyncio.timeout(60):
        while not (found := await service.get(bench.admin, said)).compliance:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (sorted(found.sensitivity), found.compliance) == (["health", "home"], ["gdpr"])
    # The text of another memory says nothing of that one.
    assert (await service.get(bench.admin, lineage[bench.ids[0]])).compliance == []


async def test_GOV_9_the_log_tells_when_it_is_learnt_and_what_is_made_of_it(bench: Bench) -> None:
    adapter, lineage, said = await turned_back(bench)
    page = await bench.memos.doorway.logs.log(bench.admin, wanted=LogFilter(memory_id=bench.ids[1]))
    told = [(one.operation, one.detail) for one in page.entries]
    assert [one for one in told if one[0] == LEARN] == [(LEARN, {"memory": adapter})] * 2
    (derived,) = [one for name, one in told if name == DERIVE]
    assert derived == {"memory": lineage[bench.ids[1]], "of": 1, "through": adapter}
    page = await bench.memos.doorway.logs.log(bench.admin, wanted=LogFilter(memory_id=adapter))
    made = [one.detail["memory"] for one in page.entries if one.operation == DERIVE]
    assert made == [said]


@pytest.mark.parametrize("seed", range(3))
async def test_GOV_9_whatever_happens_in_whatever_order(bench: Bench, seed: int) -> None:
    """No text outlives a memory that it may say something of, and none is gone without a cause."""
    chosen = random.Random(seed)
    _, lineage, said = await turned_back(bench)
    service = bench.memos.service
    acts: list[Callable[[str], Awaitable[object]]] = [
        lambda id: service.delete(bench.admin, id),
        lambda id: service.restore(bench.admin, id),
        lambda id: service.delete(bench.admin, id),
        lambda id: erase(bench, id),
    ]
    for _ in range(8):
        id, act = chosen.choice(bench.ids), chosen.choice(acts)
        try:
            await act(id)
        except MemosError:
            # It is gone, or there, already.
            continue
        states = {one: await state(bench, one) for one in bench.ids}
        for source, text in lineage.items():
            await becomes(bench, text, states[source])
        for worst in ("erased", "deleted", "there"):
            if worst in states.values():
                await becomes(bench, said, worst)
                break
    assert len(FACTS) == len(bench.ids)
