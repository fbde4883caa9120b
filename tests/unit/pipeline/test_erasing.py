"""GOV-9: what runs have read of a memory goes with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from memos_ray.actors.pipelines.erasing import RunJournals
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import CreateTenant
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.emptying import emptied, mentions, names_in
from memos_ray.core.pipeline.run import (
    MemoryRef,
    Run,
    RunState,
    StepRecord,
    StepState,
    encode,
    parked,
)
from memos_ray.core.vault.log import ControlChange
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

CONTEXT = CallContext(Principal("default", "user:admin", ("admin",)))
STRANGER = CallContext(Principal("other", "user:eve"))
SPEC = read_definition(
    {
        "name": "digest",
        "steps": [
            {"kind": "retrieve", "id": "r", "query": "walrus"},
            {"kind": "augment", "id": "a", "template": "{{ r.text }}"},
        ],
    }
)
WORD = b"walrus of Lisbon"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run_of(cube_id: str, name: str, context: CallContext = CONTEXT) -> Run:
    """A run under way that has read a memory."""
    ref = MemoryRef(cube_id, 1, "user:admin")
    steps = {
        "r": StepRecord(StepState.DONE, (ref,)),
        "a": StepRecord(StepState.DONE, texts=("the walrus of Lisbon",)),
    }
    return Run(name * 32, context, SPEC, {}, NOW, NOW, steps=steps)


def of_tomorrow(run: Run) -> bytes:
    """Its journal as another version writes it."""
    return orjson.dumps({**orjson.loads(encode(run)), "state": "of tomorrow"})


def put(control: MemoryControlStore, run: Run, body: bytes) -> None:
    control.commit([ControlChange("/runs", "run", run.id, body, 0)], [])


def held(control: MemoryControlStore, run: Run) -> bytes:
    record = control.get("/runs", "run", run.id)
    assert record is not None
    return record.body


async def until(memos: InProcess, cube_id: str, state: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            receipt = await memos.doorway.receipts.receipt(memos.administrator, cube_id)
            if receipt.state == state:
                return receipt
            await asyncio.sleep(0.01)


async def added(memos: InProcess, text: str) -> str:
    report = await memos.service.add(memos.administrator, [NewMemory(text=text)])
    return report.results[0].id or ""


async def test_GOV_9_the_journal_of_a_parked_run_is_emptied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control = MemoryControlStore()
    async with in_process(tmp_path, control=control) as memos:
        erased, kept = await added(memos, "the walrus of Lisbon"), await added(memos, "the heron")
        one, other = run_of(erased, "a"), run_of(kept, "b")
        theirs = run_of(erased, "c", STRANGER)
        for run in (one, other, theirs):
            put(control, run, of_tomorrow(run))
        await memos.service.delete(memos.administrator, erased, hard=True)
        receipt = await until(memos, erased, "done")
        assert receipt.verified() and "journal" in {item.kind.value for item in receipt.items}
        assert WORD not in held(control, one)
        for run in (other, theirs):
            assert held(control, run) == of_tomorrow(run), "nothing of it was erased"
        shown = parked(one.id, held(control, one))
        assert (shown.state, shown.spec, shown.started) == (RunState.PARKED, SPEC, NOW)
        assert shown.context.principal.id == "user:admin" and "erased" in shown.message
        told = [one for one in control.events(0, 1000) if one.detail.get("state") == "emptied"]
        assert [(one.tenant, one.detail["run"]) for one in told] == [("default", shown.id)]
        status = await memos.crew.shard("shard-0").status()
        assert status.counters["journals_emptied"] == 1
        assert "walrus" not in caplog.text


async def test_GOV_9_a_receipt_waits_for_a_run_that_has_read_the_memory(tmp_path: Path) -> None:
    control = MemoryControlStore()
    async with in_process(tmp_path, control=control) as memos:
        erased = await added(memos, "the walrus of Lisbon")
        run = run_of(erased, "a")
        put(control, run, encode(run))
        await memos.service.delete(memos.administrator, erased, hard=True)
        async with asyncio.timeout(60):
            while True:
                receipt = await memos.doorway.receipts.receipt(memos.administrator, erased)
                left = {item.kind.value for item in receipt.items if item.done_at is None}
                if left == {"journal"}:
                    break
                await asyncio.sleep(0.01)
        assert held(control, run) == encode(run), "it goes on"
        over = encode(run.over(RunState.FAILED, NOW))
        control.commit([ControlChange("/runs", "run", run.id, over, 1)], [])
        await until(memos, erased, "done")


async def test_GOV_9_a_memory_of_another_tenant_may_have_the_same_id(tmp_path: Path) -> None:
    control = MemoryControlStore()
    settings = VaultSettings(partitions=1)
    async with in_process(tmp_path, control=control, settings=settings) as memos:
        made = await memos.admin.change(memos.administrator, CreateTenant("other"))
        theirs = Caller(made.secret or "")
        for caller in (memos.administrator, theirs):
            wanted = [NewMemory(id="one-1", text="the walrus of Lisbon")]
            assert not (await memos.service.add(caller, wanted)).failed
        run = run_of("one-1", "a")
        put(control, run, encode(run))
        await memos.service.delete(memos.administrator, "one-1", hard=True)
        await memos.service.delete(theirs, "one-1", hard=True)
        async with asyncio.timeout(60):
            while (await memos.doorway.receipts.receipt(theirs, "one-1")).state != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        own = await memos.doorway.receipts.receipt(memos.administrator, "one-1")
        assert own.state == "pending", "the run goes on"


async def test_GOV_9_a_partition_is_opened_with_the_receipts_that_wait(tmp_path: Path) -> None:
    control = MemoryControlStore()
    settings = VaultSettings(partitions=1)
    async with in_process(tmp_path, control=control, settings=settings) as memos:
        store = memos.store
        ids = [await added(memos, f"the walrus of Lisbon, {n}") for n in range(3)]
        run = run_of(ids[0], "a")
        put(control, run, encode(run))
        for id in ids:
            await memos.service.delete(memos.administrator, id, hard=True)
        for id in ids[1:]:
            await until(memos, id, "done")
        waiting = [row.name for row in store.derivations(0, "receipt_waiting")]
        assert waiting == ids[:1], "what is complete does not wait"
        assert sorted(row.name for row in store.derivations(0, "receipt")) == sorted(ids[1:])
        # The next owner reads that one, and goes on with it.
        memos.crew.cut_off("shard-0")
        await memos.crew.start_shard("shard-0")
        assert (await memos.doorway.receipts.receipt(memos.administrator, ids[0])).items
        over = encode(run.over(RunState.FAILED, NOW))
        control.commit([ControlChange("/runs", "run", run.id, over, 1)], [])
        receipt = await until(memos, ids[0], "done")
        assert receipt.verified()
        await eventually(lambda: store.derivations(0, "receipt_waiting") == [])


def told(body: bytes, cube_id: str) -> bool:
    return mentions(names_in(body), [cube_id])


def test_GOV_9_what_a_journal_mentions() -> None:
    run = run_of("one-1", "a")
    body = of_tomorrow(run)
    assert told(body, "one-1") and not told(body, "one") and not told(body, "two")
    # What is no document cannot be searched, and helps nobody.
    assert told(b'{"cut off', "two")
    left = emptied(run.id, body)
    assert WORD not in left and not told(left, "one-1")
    assert not told(emptied(run.id, b"\xff"), "one-1")
    # What it was to do may name the memory; that is no part of it.
    named = replace(run, spec=SPEC.model_copy(update={"name": "one-2"}))
    assert not told(emptied(run.id, of_tomorrow(named)), "one-2")
    assert not told(of_tomorrow(named), "one-2")


@pytest.mark.parametrize("id", ["state", "steps", "cube_id", "r", "done", "running", "digest"])
def test_GOV_9_a_word_of_the_journal_is_no_memory(id: str) -> None:
    control, run = MemoryControlStore(), run_of("one-1", "a")
    unread = run_of("one-1", "b")
    put(control, run, encode(run))
    put(control, unread, of_tomorrow(unread))
    journals = RunJournals(control, ManualClock())
    assert journals.holding([("default", (id,))]) == [False]
    assert held(control, unread) == of_tomorrow(unread), "it is not emptied for that"
    assert journals.holding([("default", ("one-1",))]) == [True]


def test_GOV_9_a_journal_is_read_once_for_all_that_was_erased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    control, reads = MemoryControlStore(), list[bytes]()
    put(control, run_of("one-1", "a"), encode(run_of("one-1", "a")))

    def read(body: bytes) -> Any:
        reads.append(body)
        return orjson.loads(body)

    shown = SimpleNamespace(loads=read, JSONDecodeError=orjson.JSONDecodeError)
    monkeypatch.setattr("memos_ray.core.pipeline.emptying.orjson", shown)
    erased = [("default", (f"m-{number}",)) for number in range(20)]
    found = RunJournals(control, ManualClock()).holding([*erased, ("default", ("one-1",))])
    assert found == [False] * 20 + [True]
    assert len(reads) == 1
