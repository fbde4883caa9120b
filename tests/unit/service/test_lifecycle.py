"""LIFE-1, LIFE-2, LIFE-4, GOV-3: memories age, are put away, come back, and are collected."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from memos_ray.actors.lifecycle.lifecycle import MemLifecycle
from memos_ray.adapters.blobs import BlobStore
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.metadata import ExpiresAt
from memos_ray.core.lifecycle.archive import KIND, Contents, Standing, bodies
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.sweeping import LIFECYCLE
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Age, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import (
    FrozenError,
    IllegalStateError,
    LegalHoldError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
    UnavailableError,
)
from memos_ray.gateway.lifecycle.models import Lifecycle
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.cubes import make_commit, make_cube
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

_MANY = 600
HOUR_S = 3600.0
DAY_S = 86_400.0
SETTINGS = LifecycleSettings(
    enabled=False, batch=2, unused_s=30 * DAY_S, deleted_s=7 * DAY_S, expired_s=DAY_S
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    vault = VaultSettings(partitions=4)
    async with in_process(tmp_path, settings=vault, lifecycle=SETTINGS, clock=clock) as running:
        yield running


async def add(memos: InProcess, text: str = "tea at four", **given: object) -> str:
    new = NewMemory.model_validate({"text": text, **given})
    report = await memos.service.add(memos.administrator, [new])
    assert not report.failed
    return report.results[0].id or ""


async def sweep(memos: InProcess) -> Lifecycle:
    return await memos.doorway.lifecycle.sweep(memos.administrator)


async def state(memos: InProcess, memory_id: str) -> str:
    return (await memos.service.get(memos.administrator, memory_id)).state


async def found(memos: InProcess, text: str = "tea") -> list[str]:
    result = await memos.service.search(memos.administrator, SearchQuery(query=text))
    return [hit.memory.id for hit in result.hits]


async def story(memos: InProcess, memory_id: str) -> list[tuple[str, str, object]]:
    page = await memos.doorway.logs.log(memos.administrator, limit=1000)
    return [
        (entry.operation, entry.principal, entry.detail.get("cause"))
        for entry in page.entries
        if entry.memory_id == memory_id
    ]


async def test_LIFE_2_what_is_over_is_unreadable_at_once_and_expired_by_the_sweep(
    memos: InProcess, clock: ManualClock
) -> None:
    until = clock.now() + timedelta(hours=1)
    memory_id = await add(memos, expires_at=until.isoformat())
    assert (await sweep(memos)).moves == {}
    clock.advance(HOUR_S)
    with pytest.raises(NotFoundError):
        await state(memos, memory_id)
    assert await found(memos) == []
    assert (await sweep(memos)).moves == {"expire/lifespan": 1}
    assert (await sweep(memos)).moves == {}
    clock.advance(DAY_S)
    assert (await sweep(memos)).moves == {"collect/retention": 1}
    assert await story(memos, memory_id) == [
        ("create", "user:admin", None),
        ("expire", LIFECYCLE, "lifespan"),
        ("erase", LIFECYCLE, "retention"),
    ]


async def test_LIFE_1_what_has_expired_comes_back_whether_swept_or_not(
    memos: InProcess, clock: ManualClock
) -> None:
    until = (clock.now() + timedelta(hours=1)).isoformat()
    first, second = [await add(memos, expires_at=until) for _ in range(2)]
    clock.advance(HOUR_S)
    await memos.service.restore(memos.administrator, first)
    await sweep(memos)
    await memos.service.restore(memos.administrator, second)
    clock.advance(10 * HOUR_S)
    await sweep(memos)
    assert [await state(memos, one) for one in (first, second)] == ["activated"] * 2
    stranger = await memos.caller("user:eve")
    with pytest.raises(NotFoundError):
        await memos.service.restore(stranger, first)


async def test_LIFE_2_a_cold_memory_is_archived_read_all_the_same_and_warmed_by_a_change(
    memos: InProcess, clock: ManualClock
) -> None:
    memory_id = await add(memos, half_life_s=HOUR_S)
    assert await found(memos) == [memory_id]
    clock.advance(20 * HOUR_S)
    assert (await sweep(memos)).moves == {"archive/decay": 1}
    memory = await memos.service.get(memos.administrator, memory_id)
    assert (memory.state, memory.text) == ("archived", "tea at four")
    page = await memos.service.list(memos.administrator)
    assert [one.id for one in page.memories] == [memory_id]
    assert await found(memos) == []
    before = await memos.service.search(
        memos.administrator, SearchQuery(query="tea", as_of=clock.now() - timedelta(hours=1))
    )
    assert [hit.memory.id for hit in before.hits] == [memory_id]
    await memos.service.update(memos.administrator, memory_id, MemoryChange(tags=["warm"]))
    assert await state(memos, memory_id) == "activated"
    assert await found(memos) == [memory_id]
    assert (await sweep(memos)).moves == {}


async def test_LIFE_2_what_a_sweep_puts_away_shares_a_file(
    memos: InProcess, clock: ManualClock
) -> None:
    ids = [await add(memos, f"tea {number}", half_life_s=HOUR_S) for number in range(6)]
    clock.advance(20 * HOUR_S)
    assert (await sweep(memos)).moves == {"archive/decay": 6}

    def files() -> list[Contents]:
        rows = [row for number in range(4) for row in memos.store.derivations(number, KIND)]
        return [Contents.from_bytes(row.body) for row in rows]

    await eventually(lambda: [one.standing for one in files()] == [Standing.DONE])
    assert files() == [replace(Contents.of(ids), standing=Standing.DONE)]
    for number, memory_id in enumerate(ids):
        memory = await memos.service.get(memos.administrator, memory_id)
        assert (memory.text, memory.state) == (f"tea {number}", "archived")


async def test_VAULT_4_many_texts_are_in_a_file_before_a_sweep_archives_them(
    tmp_path: Path, clock: ManualClock
) -> None:
    vault = VaultSettings(partitions=1)
    rules = LifecycleSettings(enabled=False, unused_s=30 * DAY_S)
    async with in_process(tmp_path, settings=vault, lifecycle=rules, clock=clock) as memos:
        new = [NewMemory.model_validate({"text": f"tea {number}"}) for number in range(_MANY)]
        report = await memos.service.add(memos.administrator, new)
        ids = [result.id or "" for result in report.results]
        await memos.service.update(memos.administrator, ids[0], MemoryChange(text="coffee"))
        clock.advance(31 * DAY_S)
        assert (await sweep(memos)).moves == {"archive/unused": _MANY}
        keys = [CubeKey("default", memory_id) for memory_id in ids]
        versions = memos.store.bodies(0, keys[1:])
        assert len(versions) == 2 * (_MANY - 1)
        assert not any(one.movable for one in versions)
        # What has a past has it in a file a little later.
        await eventually(lambda: not any(one.movable for one in memos.store.bodies(0, keys)))
        rows = memos.store.derivations(0, KIND)
        assert all(Contents.from_bytes(row.body).standing is Standing.DONE for row in rows)
        blobs = BlobStore.local(tmp_path / "blobs")
        held = [body for row in rows for body in bodies(blobs.get(row.blob))]
        # Each text once: of the one with a past, both.
        assert Counter(decode(body).version.number for body in held) == {1: _MANY, 3: 1}
        for number in (1, _MANY - 1):
            memory = await memos.service.get(memos.administrator, ids[number])
            assert (memory.text, memory.state) == (f"tea {number}", "archived")
        await memos.service.restore(memos.administrator, ids[1])
        assert await state(memos, ids[1]) == "activated"


async def test_LIFE_1_a_caller_puts_a_memory_away_and_brings_it_back(memos: InProcess) -> None:
    memory_id = await add(memos)
    lifecycle, admin = memos.doorway.lifecycle, memos.administrator
    await lifecycle.archive(admin, memory_id, None, "seldom wanted", None)
    assert await found(memos) == []
    with pytest.raises(IllegalStateError) as caught:
        await lifecycle.archive(admin, memory_id, None, None, None)
    assert caught.value.details["from"] == "archived"
    await memos.service.restore(admin, memory_id)
    assert await found(memos) == [memory_id]
    history = await memos.service.history(admin, memory_id)
    assert [one.change for one in history.versions] == ["restore", "archive", "create"]
    stranger = await memos.caller("user:eve")
    with pytest.raises(NotFoundError):
        await lifecycle.archive(stranger, memory_id, None, None, None)


async def test_GOV_3_what_nobody_reads_is_archived_and_a_read_that_is_not_flushed_counts(
    memos: InProcess, clock: ManualClock
) -> None:
    idle, read = await add(memos), await add(memos)
    clock.advance(29 * DAY_S)
    await state(memos, read)
    clock.advance(DAY_S)
    assert (await sweep(memos)).moves == {"archive/unused": 1}
    assert [await state(memos, one) for one in (idle, read)] == ["archived", "activated"]


async def test_LIFE_1_a_generated_memory_is_activated_by_a_change(memos: InProcess) -> None:
    memory_id = await add(memos, origin="inference")
    assert await state(memos, memory_id) == "generated"
    assert (await sweep(memos)).moves == {}
    await memos.service.update(memos.administrator, memory_id, MemoryChange(tags=["seen"]))
    assert await state(memos, memory_id) == "activated"


async def test_LIFE_2_a_legal_hold_keeps_what_is_due_and_is_counted(
    memos: InProcess, clock: ManualClock
) -> None:
    until = clock.now() + timedelta(hours=1)
    memory_id = await add(memos, expires_at=until.isoformat(), legal_hold=True)
    for hard in (False, True):
        with pytest.raises(LegalHoldError):
            await memos.service.delete(memos.administrator, memory_id, hard=hard)
    clock.advance(HOUR_S)
    await sweep(memos)
    clock.advance(100 * DAY_S)
    assert (await sweep(memos)).moves == {"held": 1}
    await memos.service.restore(memos.administrator, memory_id)
    assert await state(memos, memory_id) == "activated"


async def test_LIFE_2_a_deleted_memory_is_erased_after_its_retention(
    memos: InProcess, clock: ManualClock
) -> None:
    memory_id = await add(memos)
    await memos.service.delete(memos.administrator, memory_id)
    clock.advance(7 * DAY_S - 1)
    assert (await sweep(memos)).moves == {}
    clock.advance(1)
    assert (await sweep(memos)).moves == {"collect/retention": 1}
    with pytest.raises(NotFoundError):
        await memos.service.restore(memos.administrator, memory_id)


async def test_GOV_9_what_a_sweep_collects_has_one_receipt_a_batch_that_ages(
    tmp_path: Path, clock: ManualClock
) -> None:
    settings = SETTINGS.model_copy(update={"batch": 1000, "receipts_s": 30 * DAY_S})
    vault = VaultSettings(partitions=1)
    async with in_process(tmp_path, settings=vault, lifecycle=settings, clock=clock) as memos:
        admin, receipts = memos.administrator, memos.doorway.receipts
        ids = [await add(memos, f"secret {n}") for n in range(20)]
        asked_for = ids.pop()
        await memos.service.delete(admin, asked_for, hard=True)
        for one in ids:
            await memos.service.delete(admin, one)
        clock.advance(7 * DAY_S)
        assert (await sweep(memos)).moves == {"collect/retention": 19}

        def complete() -> bool:
            kinds = ("receipt", "receipt_collected")
            rows = [row for kind in kinds for row in memos.store.derivations(0, kind)]
            return len(rows) == 2 and all(orjson.loads(row.body)["signature"] for row in rows)

        await eventually(complete)
        shown = [await receipts.receipt(admin, one) for one in ids]
        assert all(one == shown[0] for one in shown)
        assert set(shown[0].ids) == set(ids) and shown[0].id in ids
        assert shown[0].state == "done" and shown[0].verified()
        assert not shown[0].model_copy(update={"ids": ids[1:]}).verified()
        assert (await receipts.receipt(admin, asked_for)).ids == []
        clock.advance(30 * DAY_S - 1)
        assert (await sweep(memos)).moves == {}
        clock.advance(1)
        assert (await sweep(memos)).moves == {"receipts_pruned": 1}
        assert [row.name for row in memos.store.derivations(0, "receipt")] == [asked_for]
        assert memos.store.derivations(0, "receipt_collected") == []


async def test_GOV_3_a_sweep_is_background_work_of_each_tenant(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_process(tmp_path, settings=VaultSettings(partitions=1), clock=clock) as memos:
        commit = memos.store.commit
        together: list[set[str]] = []

        def watched(one: Commit) -> None:
            together.append({key.tenant for key in one.touched})
            commit(one)

        soon = ExpiresAt(clock.now() + timedelta(seconds=1))
        made = [
            make_cube(f"{tenant} {n}", id=f"{tenant}-{n}", tenant=tenant, lifespan=soon)
            for tenant in ("acme", "zeta")
            for n in range(3)
        ]
        await add(memos)
        epoch, after = memos.store.fence(0).epoch, memos.store.last_lsn(0)
        memos.store.commit(make_commit(made, after=after, partition=0, epoch=epoch))
        clock.advance(2)
        monkeypatch.setattr(memos.store, "commit", watched)
        assert (await sweep(memos)).moves == {"expire/lifespan": 6}
        # The first try meets a log that has grown behind the writer.
        assert list(map(sorted, together)) == [["acme"], ["acme"], ["zeta"]]


async def test_LIFE_4_age_does_not_touch_a_frozen_memory(
    memos: InProcess, clock: ManualClock
) -> None:
    until = (clock.now() + timedelta(hours=1)).isoformat()
    ids = [await add(memos, half_life_s=HOUR_S), await add(memos, expires_at=until)]
    for one in ids:
        await memos.service.freeze(memos.administrator, one)
    clock.advance(400 * DAY_S)
    assert (await sweep(memos)).moves == {}
    with pytest.raises(FrozenError):
        await memos.doorway.lifecycle.archive(memos.administrator, ids[0], None, None, None)
    with pytest.raises(FrozenError):
        await memos.service.restore(memos.administrator, ids[1])
    for one in ids:
        await memos.service.freeze(memos.administrator, one, frozen=False)
    # Each begins to age from its thaw, except where the clock has decided already.
    assert (await sweep(memos)).moves == {"expire/lifespan": 1}


async def test_LIFE_2_only_the_sweep_itself_ages_memories(memos: InProcess) -> None:
    memory_id = await add(memos)
    context = CallContext(Principal("default", LIFECYCLE))
    age = Age(memory_id, Move.ARCHIVE, Cause.DECAY, 1)
    shard = memos.crew.shard("shard-0")
    with pytest.raises(PermissionDeniedError):
        await shard.write(0, [Submission(context, Write("user:admin", age))])
    assert await state(memos, memory_id) == "activated"


async def test_LIFE_2_only_who_runs_the_cluster_steers_it(memos: InProcess) -> None:
    stranger = await memos.caller("user:eve")
    for verb in (memos.doorway.lifecycle.status, memos.doorway.lifecycle.sweep):
        with pytest.raises(PermissionDeniedError):
            await verb(stranger)


async def test_LIFE_2_a_sweep_goes_on_where_it_was_interrupted(
    memos: InProcess, clock: ManualClock
) -> None:
    ids = [await add(memos, f"tea {place}", half_life_s=HOUR_S) for place in range(9)]
    clock.advance(20 * HOUR_S)

    class Flaky:
        """The shard, of which the third piece of a sweep gets no answer."""

        def __init__(self) -> None:
            self.calls = 0

        async def sweep(self, *call: object) -> object:
            self.calls += 1
            if self.calls == 3:
                raise UnavailableError("the actor is away")
            return await memos.crew.shard("shard-0").sweep(*call)  # type: ignore[arg-type]

    flaky = Flaky()

    def schedule() -> MemLifecycle:
        return MemLifecycle(
            memos.control,
            memos.supervisor,
            lambda name: flaky,  # type: ignore[arg-type, return-value]
            clock,
            SETTINGS,
        )

    first = schedule()
    with pytest.raises(UnavailableError):
        await first.sweep()
    interrupted = await first.status()
    assert (interrupted.error, interrupted.sweeping) == ("unavailable", False)
    # Another process takes over, which knows only what is stored.
    second = await schedule().sweep()
    assert interrupted.seen + second.seen == len(ids)
    assert interrupted.moves.get("archive/decay", 0) + second.moves["archive/decay"] == len(ids)
    assert (second.error, second.partitions_left, second.finished_at) == (None, 0, clock.now())
    assert {await state(memos, one) for one in ids} == {"archived"}


async def test_LIFE_2_a_partition_that_cannot_be_swept_holds_up_no_other_for_ever(
    memos: InProcess, clock: ManualClock
) -> None:
    here = (await memos.service.get(memos.administrator, await add(memos))).namespace
    own = partition_of("default", here, 0, 4)

    class Torn:
        """The shard, of which one partition is damaged."""

        async def sweep(self, partition: int, *call: object) -> object:
            if partition == (own + 1) % 4:
                raise StoreCorruptError("the file is damaged")
            return await memos.crew.shard("shard-0").sweep(partition, *call)  # type: ignore[arg-type]

    torn = Torn()
    schedule = MemLifecycle(
        memos.control,
        memos.supervisor,
        lambda name: torn,  # type: ignore[arg-type, return-value]
        clock,
        SETTINGS,
    )
    for _ in range(3):
        until = clock.now() + timedelta(seconds=SETTINGS.pause_s / 2)
        await add(memos, expires_at=until.isoformat())
        clock.advance(SETTINGS.pause_s)
        with pytest.raises(StoreCorruptError):
            await schedule.sweep()
        # Asked for again at once, it tries what is left alone.
        with pytest.raises(StoreCorruptError):
            await schedule.sweep()
        assert (await schedule.status()).seen == 0
    assert (await schedule.status()).total["expire/lifespan"] == 3


async def test_LIFE_2_a_lost_answer_is_asked_for_again_and_nothing_moves_twice(
    memos: InProcess, clock: ManualClock
) -> None:
    memory_id = await add(memos, half_life_s=HOUR_S)
    clock.advance(20 * HOUR_S)
    await sweep(memos)
    again = MemLifecycle(memos.control, memos.supervisor, memos.crew.shard, clock, SETTINGS)
    assert (await again.sweep()).moves == {}
    history = await memos.service.history(memos.administrator, memory_id)
    assert [one.change for one in history.versions] == ["archive", "create"]


def _at_rest(folder: Path, word: bytes) -> set[str]:
    """Where a word is, of what lies in the data folder: the kinds of files."""
    for file in (folder / "records").glob("p*.sqlite"):
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = set()
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        data = file.read_bytes()
        if file.parts[-4:-3] == ("blobs",):
            data = b"".join(bodies(data))
        if word in data:
            found.add("blob" if "blobs" in file.parts else "record")
    return found


async def test_VAULT_4_archived_content_rests_in_a_file_and_is_read_from_there(
    memos: InProcess, tmp_path: Path
) -> None:
    admin, lifecycle = memos.administrator, memos.doorway.lifecycle
    memory_id = await add(memos, "the walrus of Lisbon")
    other_id = await add(memos, "the walrus of Porto")
    change = MemoryChange(text="the walrus of Sintra")
    await memos.service.update(admin, memory_id, change)
    then = memos.clock.now()
    for one in (memory_id, other_id):
        await lifecycle.archive(admin, one, None, None, None)
    await eventually(lambda: _at_rest(tmp_path, b"walrus") == {"blob"})
    memory = await memos.service.get(admin, memory_id)
    assert (memory.state, memory.text) == ("archived", "the walrus of Sintra")
    old = await memos.service.get(admin, memory_id, version=1)
    assert old.text == "the walrus of Lisbon"
    listed = await memos.service.list(admin, filter="state:archived")
    assert {one.text for one in listed.memories} == {"the walrus of Sintra", "the walrus of Porto"}
    diff = await memos.service.diff(admin, memory_id, 1, 2)
    assert "Lisbon" in diff.text and "Sintra" in diff.text
    past = await memos.service.search(admin, SearchQuery(query="walrus", as_of=then))
    assert past.hits == []
    await memos.service.rollback(admin, memory_id, 1)
    assert await found(memos, "walrus") == [memory_id]
    await memos.service.restore(admin, other_id)
    assert set(await found(memos, "walrus")) == {memory_id, other_id}


async def test_VAULT_4_what_is_put_away_is_found_when_somebody_asks_for_it(
    memos: InProcess, tmp_path: Path
) -> None:
    admin, lifecycle = memos.administrator, memos.doorway.lifecycle
    ids = [await add(memos, f"the walrus of {place}") for place in ("Lisbon", "Porto", "Faro")]

    async def walruses(**fields: object) -> list[tuple[str, str]]:
        query = SearchQuery.model_validate({"query": "walrus", "wait_indexed": True} | fields)
        hits = (await memos.service.search(admin, query)).hits
        return sorted((hit.memory.text.split()[-1], hit.memory.state.value) for hit in hits)

    await walruses()
    for one in ids[:2]:
        await lifecycle.archive(admin, one, None, None, None)
    await eventually(lambda: _at_rest(tmp_path, b"Lisbon") == {"blob"})
    live, away = [("Faro", "activated")], [("Lisbon", "archived"), ("Porto", "archived")]
    assert await walruses() == live
    assert await walruses(include_archived=True) == [*live, *away]
    assert await walruses(include_archived=True, filter="state:archived") == away
    then = memos.clock.now()
    assert await walruses(include_archived=True, as_of=then) == [*live, *away]
    query = SearchQuery(query="walrus of Porto", include_archived=True, explain=True, limit=1)
    result = await memos.service.search(admin, query)
    assert result.hits[0].memory.id == ids[1] and not result.unembedded
    following = query.model_copy(update={"cursor": result.cursor, "limit": 5})
    rest = await memos.service.search(admin, following)
    assert {hit.memory.id for hit in rest.hits} == {ids[0], ids[2]}
    # What comes back is found where it belongs, and what is erased nowhere.
    await memos.service.restore(admin, ids[0])
    await memos.service.delete(admin, ids[1], hard=True)
    assert await walruses(include_archived=True) == [*live, ("Lisbon", "activated")]
    await memos.service.archive(admin, ids[2])
    assert await walruses(include_archived=True) == [
        ("Faro", "archived"),
        ("Lisbon", "activated"),
    ]
    stranger = await memos.caller("user:eve")
    hidden = query.model_copy(update={"namespaces": ["user:admin"]})
    assert (await memos.service.search(stranger, hidden)).hits == []


async def test_GOV_9_erasure_reaches_into_archive_files(memos: InProcess, tmp_path: Path) -> None:
    admin = memos.administrator
    ids = [await add(memos, f"the {word} of Lisbon") for word in ("walrus", "heron")]
    for one in ids:
        await memos.doorway.lifecycle.archive(admin, one, None, None, None)
    await eventually(lambda: _at_rest(tmp_path, b"walrus") == {"blob"})
    await eventually(lambda: _at_rest(tmp_path, b"heron") == {"blob"})
    await memos.service.delete(admin, ids[0], hard=True)
    await eventually(lambda: _at_rest(tmp_path, b"walrus") == set())
    assert (await memos.service.get(admin, ids[1])).text == "the heron of Lisbon"


async def test_VAULT_4_a_lost_file_is_an_error_and_touches_no_other_memory(tmp_path: Path) -> None:
    vault = VaultSettings(partitions=4)
    async with in_process(tmp_path, settings=vault) as memos:
        lost, kept = await add(memos, "the walrus of Lisbon"), await add(memos, "the heron")
        await memos.service.archive(memos.administrator, lost)
        await eventually(lambda: _at_rest(tmp_path, b"walrus") == {"blob"})
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    # What follows the log reads memories, too, and files that were read stay in memory for a while.
    async with in_process(tmp_path, settings=vault) as memos:
        admin = memos.administrator
        with pytest.raises(UnavailableError):
            await memos.service.get(admin, lost)
        page = await memos.service.list(admin)
        assert ([one.id for one in page.memories], page.unreadable) == ([kept], [lost])
        outcomes = await asyncio.gather(
            memos.service.restore(admin, lost),
            memos.service.update(admin, kept, MemoryChange(tags=["x"])),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], UnavailableError)
        assert not isinstance(outcomes[1], BaseException)
        await memos.service.delete(admin, lost, hard=True)
        with pytest.raises(NotFoundError):
            await memos.service.get(admin, lost)


async def test_LIFE_2_the_log_says_why_what_is_due_was_not_moved(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    plan = FaultPlan()
    store = FaultyRecordStore(MemoryRecordStore(), plan)
    one = VaultSettings(partitions=1)
    async with in_process(tmp_path, settings=one, clock=clock, store=store) as memos:
        until = (clock.now() + timedelta(hours=1)).isoformat()
        for _ in range(3):
            await add(memos, expires_at=until)
        clock.advance(2 * HOUR_S)
        call = store.calls["commit"] + 1
        plan.faults = [Fault("commit", call, UnavailableError("the store is away"))]
        assert (await sweep(memos)).moves == {"failed": 3}
        (told,) = [one for one in caplog.records if "cannot be moved" in one.getMessage()]
        assert told.levelno == logging.WARNING
        assert told.getMessage() == (
            "3 memories of partition 0 are due and cannot be moved: unavailable"
        )
        # The next one finds them.
        assert (await sweep(memos)).moves == {"expire/lifespan": 3}
    assert "tea" not in caplog.text
