"""CUBE-3, LIFE-2: a legal hold is laid on what is there already, and lifted by who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.core.lifecycle.archive import KIND, Contents, Standing
from memos_ray.errors import (
    FrozenError,
    IllegalStateError,
    LegalHoldError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

DAY_S = 86_400.0
RETENTION = LifecycleSettings(enabled=False, deleted_s=7 * DAY_S, expired_s=7 * DAY_S)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    vault = VaultSettings(partitions=2)
    async with in_process(tmp_path, settings=vault, lifecycle=RETENTION, clock=clock) as running:
        yield running


async def add(memos: InProcess, caller: Caller | None = None, **given: object) -> str:
    new = NewMemory.model_validate({"text": "tea at four", **given})
    report = await memos.service.add(caller or memos.administrator, [new])
    assert not report.failed
    return report.results[0].id or ""


async def hold(memos: InProcess, caller: Caller, memory_id: str, *, held: bool = True) -> None:
    await memos.doorway.lifecycle.hold(caller, memory_id, None, "case 7", None, held=held)


async def sweep(memos: InProcess) -> dict[str, int]:
    return (await memos.doorway.lifecycle.sweep(memos.administrator)).moves


async def exists(memos: InProcess, memory_id: str) -> bool:
    try:
        await memos.service.history(memos.administrator, memory_id)
    except NotFoundError:
        return False
    return True


async def test_CUBE_3_LIFE_2_nobody_gets_rid_of_what_has_come_under_hold(memos: InProcess) -> None:
    ann = await memos.caller("user:ann")
    memory_id = await add(memos, ann)
    await hold(memos, memos.administrator, memory_id)
    with pytest.raises(NotFoundError):
        await memos.service.get(memos.administrator, memory_id)
    for hard in (False, True):
        with pytest.raises(LegalHoldError):
            await memos.service.delete(ann, memory_id, hard=hard)
    with pytest.raises(PermissionDeniedError, match="administers the tenant"):
        await hold(memos, ann, memory_id, held=False)
    await memos.service.update(ann, memory_id, MemoryChange(text="tea at five"))
    memory = await memos.service.get(ann, memory_id)
    assert (memory.legal_hold, memory.owner, memory.version) == (True, "user:ann", 3)
    await hold(memos, memos.administrator, memory_id, held=False)
    history = await memos.service.history(ann, memory_id)
    assert [(one.change, one.author, one.reason) for one in history.versions] == [
        ("release", "user:admin", "case 7"),
        ("merge", "user:ann", None),
        ("hold", "user:admin", "case 7"),
        ("create", "user:ann", None),
    ]
    await memos.service.delete(ann, memory_id, hard=True)
    assert not await exists(memos, memory_id)


async def test_CUBE_3_who_may_hold_and_who_may_release(memos: InProcess) -> None:
    ann, eve = await memos.caller("user:ann"), await memos.caller("user:eve")
    private = await add(memos, ann)
    shown = await add(memos, ann, visibility="shared", readers=["user:eve"])
    expected: list[tuple[Caller, str, bool, type[MemosError]]] = [
        (eve, private, True, NotFoundError),
        (eve, private, False, NotFoundError),
        (eve, shown, True, PermissionDeniedError),
        (eve, shown, False, PermissionDeniedError),
        (memos.administrator, private, False, IllegalStateError),
    ]
    for caller, memory_id, held, error in expected:
        with pytest.raises(error):
            await hold(memos, caller, memory_id, held=held)
    # One's own home is one's own: to hold something there, but not to release it.
    await hold(memos, ann, private)
    for caller, held, error in (
        (ann, True, IllegalStateError),
        (ann, False, PermissionDeniedError),
    ):
        with pytest.raises(error):
            await hold(memos, caller, private, held=held)
    log = await memos.doorway.logs.log(memos.administrator, namespace="user:ann", limit=1000)
    told = [
        (one.operation, one.principal, one.outcome)
        for one in log.entries
        if one.memory_id == private and one.operation in ("hold", "release")
    ]
    assert ("hold", "user:eve", "denied") in told
    assert ("release", "user:ann", "denied") in told
    assert told.count(("hold", "user:ann", "done")) == 1


async def test_LIFE_2_what_is_deleted_or_over_can_still_be_held_and_is_not_collected(
    memos: InProcess, clock: ManualClock
) -> None:
    admin = memos.administrator
    deleted = await add(memos)
    over = await add(memos, expires_at=(clock.now() + timedelta(days=1)).isoformat())
    swept = await add(memos, expires_at=(clock.now() + timedelta(days=1)).isoformat())
    loose = await add(memos)
    for memory_id in (deleted, loose):
        await memos.service.delete(admin, memory_id)
    clock.advance(DAY_S)
    await hold(memos, admin, over)
    assert (await sweep(memos))["expire/lifespan"] == 2
    for memory_id in (deleted, swept):
        await hold(memos, admin, memory_id)
    clock.advance(30 * DAY_S)
    assert await sweep(memos) == {"collect/retention": 1, "held": 3}
    held = [deleted, over, swept]
    assert [await exists(memos, one) for one in (deleted, loose)] == [True, False]
    found = await memos.service.search(admin, SearchQuery(query="tea"))
    assert found.hits == [], "held is not in use again"
    for memory_id in held:
        with pytest.raises(LegalHoldError):
            await memos.service.delete(admin, memory_id, hard=True)
        await hold(memos, admin, memory_id, held=False)
    assert await sweep(memos) == {}, "the time begins anew with the release"
    clock.advance(7 * DAY_S)
    assert await sweep(memos) == {"collect/retention": 3}
    assert [await exists(memos, one) for one in held] == [False] * 3


async def test_LIFE_2_VAULT_4_what_is_archived_stays_there_under_hold(
    memos: InProcess,
) -> None:
    admin = memos.administrator
    memory_id = await add(memos)
    await memos.doorway.lifecycle.archive(admin, memory_id, None, None, None)

    def in_file() -> bool:
        rows = (row for number in range(2) for row in memos.store.derivations(number, KIND))
        return [Contents.from_bytes(row.body).standing for row in rows] == [Standing.DONE]

    await eventually(in_file)
    await hold(memos, admin, memory_id)
    memory = await memos.service.get(admin, memory_id)
    assert (memory.state, memory.text, memory.legal_hold) == ("archived", "tea at four", True)
    assert (await memos.service.get(admin, memory_id, version=1)).text == "tea at four"
    assert (await memos.service.search(admin, SearchQuery(query="tea"))).hits == []


async def test_LIFE_2_LIFE_4_what_is_frozen_is_thawed_before_it_is_held(memos: InProcess) -> None:
    admin = memos.administrator
    memory_id = await add(memos)
    await memos.service.freeze(admin, memory_id)
    with pytest.raises(FrozenError):
        await hold(memos, admin, memory_id)
    await memos.service.freeze(admin, memory_id, frozen=False)
    await hold(memos, admin, memory_id)
    await memos.service.freeze(admin, memory_id)
    with pytest.raises(FrozenError):
        await hold(memos, admin, memory_id, held=False)


async def test_CUBE_3_API_4_a_repeated_hold_acts_once(memos: InProcess) -> None:
    memory_id = await add(memos)
    lay = memos.doorway.lifecycle.hold
    first = await lay(memos.administrator, memory_id, None, None, "key-1")
    again = await lay(memos.administrator, memory_id, None, None, "key-1")
    assert [first.results[0].replayed, again.results[0].replayed] == [False, True]
    assert (await memos.service.get(memos.administrator, memory_id)).version == 2
