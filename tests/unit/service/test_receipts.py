"""An erasure has a receipt: what it retired, and a signature once nothing of that is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.vault.receipts import Derived
from memos_ray.errors import NotFoundError, StoreError, UnavailableError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.records.receipt_models import ErasureReceipt
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore
from tests.unit.service.test_lessons import MODEL, Bench, bench, tokenizer, until

__all__ = ["bench", "tokenizer"]


async def shown(bench: Bench, id: str, caller: Caller | None = None) -> ErasureReceipt:
    return await bench.memos.doorway.receipts.receipt(caller or bench.admin, id)


async def complete(bench: Bench, id: str) -> ErasureReceipt:
    async with asyncio.timeout(60):
        while (found := await shown(bench, id)).state != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def kinds(receipt: ErasureReceipt) -> dict[Derived, list[str]]:
    found: dict[Derived, list[str]] = {}
    for item in receipt.items:
        found.setdefault(item.kind, []).append(item.name)
    return found


async def test_it_lists_what_was_retired_and_is_signed(bench: Bench) -> None:
    lesson = await bench.learnt()
    wanted = Conversion(ids=bench.ids, model=MODEL)
    await bench.memos.doorway.activation.convert(bench.admin, wanted)
    erased = bench.ids[1]
    await bench.memos.service.delete(bench.admin, erased, hard=True)
    receipt = await complete(bench, erased)
    found = kinds(receipt)
    assert found[Derived.ADAPTER] == [lesson.id] and len(found[Derived.KV]) == 1
    assert found[Derived.EMBEDDINGS] == [erased]
    assert [one.digest for one in receipt.items if one.kind is Derived.ADAPTER] == [lesson.adapter]
    assert all(item.state == "done" and item.done_at for item in receipt.items)
    assert receipt.completed_at and receipt.completed_at >= receipt.erased_at
    own = bench.memos.governance.public_key().hex()
    assert receipt.public_key == own and receipt.verified() and receipt.verified(own)
    assert "Ben" not in receipt.model_dump_json()


async def test_a_change_to_it_shows(bench: Bench) -> None:
    await bench.learnt()
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    receipt = await complete(bench, bench.ids[0])
    for changes in (
        {"items": receipt.items[1:]},
        {"principal": "user:other"},
        {"digest": "0" * 64},
        {"signature": "00" * 64},
        {"signature": "no hex"},
        {"lsn": receipt.lsn + 1},
    ):
        assert not receipt.model_copy(update=changes).verified()
    assert not receipt.verified("11" * 32) and not receipt.verified("short")


async def test_it_is_pending_until_replicas_have_confirmed(bench: Bench) -> None:
    lesson = await bench.learnt()
    bench.model.fail = UnavailableError("no replica answers")
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    await until(lambda: not bench.files)
    receipt = await shown(bench, bench.ids[0])
    states = {item.kind: item.state for item in receipt.items}
    assert states[Derived.ADAPTER] == "pending" and receipt.state == "pending"
    assert not receipt.verified()
    # The next owner goes on with both.
    await bench.open()
    done = await complete(bench, bench.ids[0])
    assert kinds(done)[Derived.ADAPTER] == [lesson.id] and done.verified()


async def test_an_adapter_that_is_being_retired_already_is_on_it(bench: Bench) -> None:
    lesson = await bench.learnt()
    bench.model.fail = UnavailableError("no replica answers")
    await bench.memos.service.delete(bench.admin, lesson.id)
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    async with asyncio.timeout(60):
        while Derived.ADAPTER not in kinds(await shown(bench, bench.ids[0])):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await shown(bench, bench.ids[0])).state == "pending"
    await bench.open()
    done = await complete(bench, bench.ids[0])
    assert kinds(done)[Derived.ADAPTER] == [lesson.id] and done.verified()


async def test_a_lesson_that_was_cut_off_is_on_it(bench: Bench) -> None:
    bench.trainer.go_on.clear()
    lesson = await bench.teach()
    await until(lambda: bool(bench.trainer.lessons))
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    receipt = await complete(bench, bench.ids[0])
    assert kinds(receipt)[Derived.LESSON] == [lesson.id]
    assert bench.trainer.forgotten == [lesson.id]


async def test_who_may_read_it(bench: Bench) -> None:
    ann = await bench.memos.caller("user:ann")
    bob = await bench.memos.caller("user:bob")
    report = await bench.memos.service.add(ann, [NewMemory(text="The fox is called Ida.")])
    id = report.results[0].id or ""
    with pytest.raises(NotFoundError):
        await shown(bench, id, ann)
    await bench.memos.service.delete(ann, id)
    with pytest.raises(NotFoundError):
        await shown(bench, id, ann)
    await bench.memos.service.delete(ann, id, hard=True)
    assert (await shown(bench, id, ann)).principal == "user:ann"
    assert (await shown(bench, id, bench.admin)).id == id
    with pytest.raises(NotFoundError):
        await shown(bench, id, bob)
    with pytest.raises(NotFoundError):
        await shown(bench, "absent", bench.admin)
    narrow = replace(ann, role="nobody")
    with pytest.raises(Exception, match="role"):
        await shown(bench, id, narrow)


async def test_one_that_could_not_be_written_is_made_from_the_log(
    bench: Bench, tmp_path: Path
) -> None:
    plan = FaultPlan()
    store = FaultyRecordStore(SqlRecordStore.embedded(tmp_path / "records"), plan)
    await bench.open(store)
    await bench.chat()
    first = store.calls["save_derivation"] + 1
    plan.faults = [
        Fault("save_derivation", call, StoreError("no disk")) for call in range(first, first + 50)
    ]
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    assert store.struck
    await bench.open()
    receipt = await complete(bench, bench.ids[0])
    assert receipt.principal == bench.memos.administrator_id and receipt.verified()
    again = await shown(bench, bench.ids[0])
    assert again == receipt
