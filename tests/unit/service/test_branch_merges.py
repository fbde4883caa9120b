"""LIFE-3: what a merge takes for a change, how it is repeated, and how much it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.lifecycle import branch_room
from memos_ray.config import VaultSettings
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import State
from memos_ray.core.lifecycle.branches import KIND
from memos_ray.errors import MemosError, PayloadTooLargeError
from memos_ray.gateway.branches.models import MergeWish
from memos_ray.gateway.memories.models import MemoryChange, NewMemory
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually
from tests.unit.service.test_branches import add, branched, changed, held, texts


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=1), clock=clock) as running:
        yield running


async def test_LIFE_3_a_branch_takes_no_more_than_it_can_merge(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_room, "CHANGES_MAX", 3)
    monkeypatch.setattr(branch_room, "_PAGE", 2)
    branches, admin = memos.doorway.branches, memos.administrator
    first, _, third, _ = await changed(memos, clock)
    assert len(held(memos)) == 3
    with pytest.raises(PayloadTooLargeError):
        await branches.add(admin, "trial", NewMemory(text="one too many"))
    with pytest.raises(PayloadTooLargeError):
        await branches.update(admin, "trial", third, MemoryChange(text="a plane to Faro"))
    # What it holds can be changed, read and merged.
    await branches.update(admin, "trial", first, MemoryChange(text="coffee at six"))
    assert "coffee at six" in await texts(memos)
    assert len((await branches.diff(admin, "trial")).memories) == 3
    # What is erased makes room.
    await memos.service.delete(admin, first, hard=True)
    await eventually(lambda: not any(one.startswith(first) for one in held(memos)))
    report = await branches.add(admin, "trial", NewMemory(text="just enough"))
    assert report.results[0].error is None
    assert (await branches.merge(admin, "trial", MergeWish())).merged
    assert "just enough" in await texts(memos, None)


async def test_LIFE_3_a_full_branch_is_not_read_whole_at_each_refused_write(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_room, "CHANGES_MAX", 3)
    branches, admin = memos.doorway.branches, memos.administrator
    first, *_ = await changed(memos, clock)
    scans, scan = list[str](), memos.store.scan

    def counted(partition: int, tenant: str, namespace: str, *more: Any) -> Any:
        if BRANCH_MARK in namespace:
            scans.append(namespace)
        return scan(partition, tenant, namespace, *more)

    async def refused() -> None:
        with pytest.raises(PayloadTooLargeError):
            await branches.add(admin, "trial", NewMemory(text="one too many"))

    await refused()
    monkeypatch.setattr(memos.store, "scan", counted)
    for _ in range(5):
        await refused()
    assert scans == []
    await memos.service.delete(admin, first, hard=True)
    await eventually(lambda: not any(one.startswith(first) for one in held(memos)))
    report = await branches.add(admin, "trial", NewMemory(text="just enough"))
    assert report.results[0].error is None
    before = len(scans)
    for _ in range(5):
        await refused()
    assert len(scans) == before


async def test_LIFE_3_a_branch_that_holds_more_already_can_be_read_and_merged(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    await changed(memos, clock)
    monkeypatch.setattr(branch_room, "CHANGES_MAX", 2)
    monkeypatch.setattr(branch_room, "_PAGE", 1)
    assert await texts(memos) == ["a train to Faro", "a walrus on Monday", "coffee at five"]
    assert (await branches.merge(admin, "trial", MergeWish())).merged
    assert held(memos) == []


async def test_LIFE_3_what_was_deleted_and_restored_in_a_branch_is_no_change(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second = await add(memos, "tea at four"), await add(memos, "rain on Sunday")
    await branched(memos, clock)
    for one in (first, second):
        await branches.delete(admin, "trial", one)
        await branches.restore(admin, "trial", one)
    assert (await branches.diff(admin, "trial")).memories == []
    await memos.service.delete(admin, first)
    report = await branches.merge(admin, "trial", MergeWish())
    assert (report.merged, report.changed, report.conflicts) == (True, [], {})
    assert await texts(memos, None) == ["rain on Sunday"], "deleted in the namespace, and so it is"
    assert (await memos.service.get(admin, second)).version == 1


async def test_LIFE_3_a_merge_that_was_cut_off_is_repeated_with_another_reason(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second, _, made = await changed(memos, clock)
    commit = memos.store.commit

    def dies(*call: object) -> None:
        raise MemosError("the process is gone")

    def commits(*call: object) -> None:
        monkeypatch.setattr(memos.store, "commit", commit)
        commit(*call)  # type: ignore[arg-type]
        monkeypatch.setattr(memos.store, "save_derivation", dies)

    save = memos.store.save_derivation
    monkeypatch.setattr(memos.store, "commit", commits)
    with pytest.raises(MemosError, match="gone"):
        await branches.merge(admin, "trial", MergeWish(reason="the first try"))
    monkeypatch.setattr(memos.store, "save_derivation", save)
    # Another process takes over.
    memos.crew.cut_off("shard-0")
    await memos.crew.start_shard("shard-0")
    report = await branches.merge(admin, "trial", MergeWish(reason="the second try"))
    assert report.conflicts == {} and report.merged
    assert sorted(report.changed) == sorted([first, second, made])
    history = await memos.service.history(admin, first)
    assert history.versions[0].reason == "the first try"
    assert memos.store.derivations(0, KIND) == [] and held(memos) == []


async def test_LIFE_3_a_merge_that_was_refused_has_the_reason_of_the_next_try(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    kept = await add(memos, "tea at four", legal_hold=True)
    await branched(memos, clock)
    await branches.delete(admin, "trial", kept)
    report = await branches.add(admin, "trial", NewMemory(text="at last"))
    made = report.results[0].id or ""
    refused = await branches.merge(admin, "trial", MergeWish(reason="too early"))
    assert set(refused.conflicts) == {kept}
    await branches.restore(admin, "trial", kept)
    assert (await branches.merge(admin, "trial", MergeWish(reason="now"))).merged
    history = await memos.service.history(admin, made)
    assert history.versions[0].reason == "now"


async def test_LIFE_3_a_merge_brings_back_what_the_branch_has_brought_back(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second = await add(memos, "tea at four"), await add(memos, "rain on Sunday")
    for one in (first, second):
        await memos.service.archive(admin, one)
    await branched(memos, clock)
    await branches.restore(admin, "trial", first)
    assert [one.id for one in (await branches.diff(admin, "trial")).memories] == [first]
    report = await branches.merge(admin, "trial", MergeWish())
    assert (report.merged, report.changed, report.conflicts) == (True, [first], {})
    back = await memos.service.get(admin, first)
    assert (back.state, back.text, back.version) == (State.ACTIVATED, "tea at four", 3)
    assert (await memos.service.get(admin, second)).state is State.ARCHIVED
