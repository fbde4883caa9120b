"""LIFE-3: snapshots, looks at earlier moments, comparison, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.past.models import GoBack, NewSnapshot
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=4), clock=clock) as running:
        yield running


async def add(memos: InProcess, text: str, **given: object) -> str:
    new = NewMemory.model_validate({"text": text, **given})
    report = await memos.service.add(memos.administrator, [new])
    assert not report.failed
    return report.results[0].id or ""


async def texts(memos: InProcess, at: str | None = None) -> list[str]:
    admin = memos.administrator
    if at is None:
        page = await memos.service.list(admin, limit=100)
    else:
        page = await memos.doorway.past.list(admin, at, limit=100)
    return sorted(one.text for one in page.memories)


async def change(memos: InProcess, memory_id: str, text: str) -> None:
    await memos.service.update(memos.administrator, memory_id, MemoryChange(text=text))


def tick(clock: ManualClock) -> str:
    """Lets a second pass, and returns the moment before it."""
    at: datetime = clock.now()
    clock.advance(1)
    return at.isoformat()


async def test_LIFE_3_every_read_can_look_back(memos: InProcess, clock: ManualClock) -> None:
    past, admin = memos.doorway.past, memos.administrator
    before = tick(clock)
    first = await add(memos, "tea at four")
    one = tick(clock)
    await change(memos, first, "tea at five")
    second = await add(memos, "rain on Sunday")
    two = tick(clock)
    await memos.service.delete(admin, first)
    three = tick(clock)
    assert [await texts(memos, at) for at in (before, one, two, three)] == [
        [],
        ["tea at four"],
        ["rain on Sunday", "tea at five"],
        ["rain on Sunday"],
    ]
    assert (await past.get(admin, first, one)).text == "tea at four"
    assert (await past.get(admin, first, two)).version == 2
    for at in (before, three):
        with pytest.raises(NotFoundError):
            await past.get(admin, first, at)
    with pytest.raises(NotFoundError):
        await past.get(admin, second, one)
    history = await past.history(admin, first, two)
    assert [version.number for version in history.versions] == [2, 1]


async def test_LIFE_3_a_page_of_the_past_goes_on_where_it_ended(
    memos: InProcess, clock: ManualClock
) -> None:
    for place in range(7):
        await add(memos, f"memory {place}", tags=["odd" if place % 2 else "even"])
        clock.advance(1)
    at = tick(clock)
    found: list[str] = []
    cursor = None
    while True:
        page = await memos.doorway.past.list(
            memos.administrator, at, filter="tags:even", cursor=cursor, limit=2
        )
        found += [one.text for one in page.memories]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == [f"memory {place}" for place in (6, 4, 2, 0)]


async def test_LIFE_3_the_past_is_seen_by_the_rules_of_today(
    memos: InProcess, clock: ManualClock
) -> None:
    admin = memos.administrator
    memory_id = await add(memos, "tea at four", readers=["user:eve"])
    eve = await memos.caller("user:eve")
    at = tick(clock)
    place = memos.administrator_id
    assert (await memos.doorway.past.get(eve, memory_id, at)).text == "tea at four"
    shown = await memos.doorway.past.list(eve, at, place)
    assert [one.id for one in shown.memories] == [memory_id]
    await memos.service.share(admin, memory_id, Sharing(remove=["user:eve"]))
    with pytest.raises(NotFoundError):
        await memos.doorway.past.get(eve, memory_id, at)
    assert (await memos.doorway.past.list(eve, at, place)).memories == []


async def test_LIFE_3_a_snapshot_names_a_moment(memos: InProcess, clock: ManualClock) -> None:
    past, admin = memos.doorway.past, memos.administrator
    memory_id = await add(memos, "tea at four")
    made = await past.take(admin, NewSnapshot(name="before-the-move", reason="to be safe"))
    assert (made.author, made.at, made.lsn) == ("user:admin", clock.now(), 1)
    clock.advance(1)
    await change(memos, memory_id, "tea at five")
    assert (await past.get(admin, memory_id, "before-the-move")).text == "tea at four"
    assert await texts(memos, "before-the-move") == ["tea at four"]
    with pytest.raises(AlreadyExistsError):
        await past.take(admin, NewSnapshot(name="before-the-move"))
    assert (await past.snapshots(admin)).snapshots == [made]
    eve = await memos.caller("user:eve")
    assert (await past.snapshots(eve)).snapshots == []
    for call in (
        past.take(eve, NewSnapshot(name="mine", namespace="user:admin")),
        past.snapshots(eve, "user:admin"),
        past.forget(eve, "before-the-move", "user:admin"),
    ):
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            await call
    assert await past.forget(admin, "before-the-move") == made
    for gone in (past.forget(admin, "before-the-move"), past.list(admin, "before-the-move")):
        with pytest.raises(NotFoundError):
            await gone


async def test_LIFE_3_of_two_who_want_one_name_at_once_one_gets_it(memos: InProcess) -> None:
    past, admin = memos.doorway.past, memos.administrator
    wanted = [past.take(admin, NewSnapshot(name="release")) for _ in range(4)]
    made = await asyncio.gather(*wanted, return_exceptions=True)
    refused = [one for one in made if isinstance(one, AlreadyExistsError)]
    assert len(refused) == 3 and refused[0].details["name"] == "release"
    (kept,) = (await past.snapshots(admin)).snapshots
    assert kept in made


async def test_LIFE_3_what_was_put_away_then_is_put_away_again(
    memos: InProcess, clock: ManualClock
) -> None:
    service, admin = memos.service, memos.administrator
    ids = [await add(memos, f"secret walrus {n}") for n in range(4)]
    away, restored, changed, live = ids
    for one in (away, restored, changed):
        await service.archive(admin, one)
    at = tick(clock)
    await service.delete(admin, away)
    await service.restore(admin, restored)
    await change(memos, changed, "secret otter")
    await service.archive(admin, live)
    clock.advance(1)
    done = await memos.doorway.past.go_back(admin, GoBack(to=at))
    assert (done.changed, done.restored, done.refused) == (3, 1, {})
    found = [await service.get(admin, one) for one in ids]
    assert [one.state for one in found] == ["archived"] * 3 + ["activated"]
    assert [one.text for one in found] == [f"secret walrus {n}" for n in range(4)]
    again = await memos.doorway.past.go_back(admin, GoBack(to=at))
    assert (again.changed, again.restored, again.deleted) == (0, 0, 0)
    # Its text goes to the files once more, and is read from there.
    key = CubeKey("default", away)

    def moved() -> bool:
        for partition in range(4):
            chain = memos.store.histories(partition, [key]).get(key)
            if chain:
                return all(isinstance(one.payload, ArchivedRef) for one in chain)
        return False

    await eventually(moved)
    assert (await service.get(admin, away)).text == "secret walrus 0"


async def test_LIFE_3_two_moments_are_compared(memos: InProcess, clock: ManualClock) -> None:
    past, admin = memos.doorway.past, memos.administrator
    kept, changed, gone = [await add(memos, text) for text in ("a", "b", "c")]
    since = tick(clock)
    await change(memos, changed, "b2")
    await memos.service.delete(admin, gone)
    fleeting = await add(memos, "x")
    clock.advance(1)
    await memos.service.delete(admin, fleeting)
    added = await add(memos, "d")
    until = tick(clock)
    await memos.service.delete(admin, kept)
    rows = []
    cursor = None
    while True:
        page = await past.diff(admin, since, until, cursor=cursor, limit=2)
        rows += [(one.id, one.kind.value, one.before, one.after) for one in page.memories]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(rows) == sorted(
        [(changed, "changed", 1, 2), (gone, "removed", 1, None), (added, "added", None, 1)]
    )
    now = await past.diff(admin, until)
    assert [(one.id, one.kind.value) for one in now.memories] == [(kept, "removed")]
    with pytest.raises(InvalidInputError):
        await past.diff(admin, until, since)


async def test_LIFE_3_a_namespace_goes_back_by_versions_of_its_own(
    memos: InProcess, clock: ManualClock
) -> None:
    past, admin = memos.doorway.past, memos.administrator
    kept, changed, gone = [await add(memos, text) for text in ("a", "b", "c")]
    frozen = await add(memos, "f")
    await past.take(admin, NewSnapshot(name="then"))
    clock.advance(1)
    await change(memos, changed, "b2")
    await change(memos, gone, "c2")
    await memos.service.delete(admin, gone)
    await change(memos, frozen, "f2")
    await memos.service.freeze(admin, frozen)
    await add(memos, "d")
    clock.advance(1)
    done = await past.go_back(admin, GoBack(to="then"))
    assert (done.changed, done.restored, done.deleted) == (1, 1, 1)
    assert done.refused == {frozen: "frozen"}
    assert await texts(memos) == ["a", "b", "c", "f2"]
    history = await memos.service.history(admin, gone)
    told = [(version.change, version.reason) for version in history.versions][:2]
    assert told == [("rollback", "back to then"), ("restore", "back to then")]
    assert (await memos.service.history(admin, kept)).versions[0].number == 1
    again = await past.go_back(admin, GoBack(to="then"))
    assert (again.changed, again.restored, again.deleted) == (0, 0, 0)
    # The return is a change like any other: it can be undone.
    before = (clock.now() - timedelta(seconds=1)).isoformat()
    clock.advance(1)
    await past.go_back(admin, GoBack(to=before))
    assert await texts(memos) == ["a", "b2", "d", "f2"]


async def test_LIFE_3_going_back_reads_what_was_archived_since(
    memos: InProcess, clock: ManualClock
) -> None:
    admin = memos.administrator
    memory_id = await add(memos, "tea at four")
    at = tick(clock)
    await change(memos, memory_id, "tea at five")
    await memos.doorway.lifecycle.archive(admin, memory_id, None, None, None)
    clock.advance(1)
    done = await memos.doorway.past.go_back(admin, GoBack(to=at))
    assert done.changed == 1
    assert await texts(memos) == ["tea at four"]


async def test_LIFE_3_only_who_may_change_takes_back(memos: InProcess, clock: ManualClock) -> None:
    memory_id = await add(memos, "tea at four", readers=["user:eve"])
    at = tick(clock)
    await change(memos, memory_id, "tea at five")
    eve = await memos.caller("user:eve")
    try:
        done = await memos.doorway.past.go_back(eve, GoBack(to=at, namespace="user:admin"))
    except (NotFoundError, PermissionDeniedError):
        pass
    else:
        assert (done.changed, done.refused) == (0, {})
    assert await texts(memos) == ["tea at five"]


@pytest.mark.parametrize("at", ["yesterday", "2026-01-01T00:00:00", "3", "2999-01-01T00:00:00Z"])
async def test_LIFE_3_what_is_no_moment_is_refused(memos: InProcess, at: str) -> None:
    await add(memos, "tea at four")
    with pytest.raises((InvalidInputError, NotFoundError)):
        await memos.doorway.past.list(memos.administrator, at)
