"""GOV-9: what cannot be read can be erased, by whoever might erase it otherwise."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.core.access.administration import PutNamespace
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceKind, default_spec
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.vault.operations import Delete, Hold, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    IllegalStateError,
    LegalHoldError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
    UnavailableError,
)
from memos_ray.gateway.branches.models import MergeWish, NewBranch
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

ONE = VaultSettings(partitions=1)
BY_HAND = LifecycleSettings(enabled=False)
CUT = "UPDATE version SET body = substr(body, 1, 90) WHERE cube_id = ?"
NEWEST = CUT + " AND number = (SELECT max(number) FROM version v WHERE v.cube_id = version.cube_id)"
SHAPELESS, GARBLED = (
    f"UPDATE version SET body = CAST(replace(body, '\"{name}\"', '-') AS BLOB) WHERE cube_id = ?"
    for name in ("payload", "origin")
)
POOL = "pool"


async def release(memos: InProcess, caller: Caller, id: str, *, held: bool = False) -> None:
    await memos.doorway.lifecycle.hold(caller, id, None, "case 7", None, held=held)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[InProcess]:
    async with in_process(folder, settings=ONE, lifecycle=BY_HAND) as memos:
        yield memos


def damage(folder: Path, statement: str, id: str) -> None:
    changed = 0
    for file in (folder / "records").glob("p*.sqlite"):
        with closing(sqlite3.connect(file)) as connection, connection:
            changed += connection.execute(statement, (id,)).rowcount
    assert changed >= 1


def left(folder: Path, id: str) -> dict[str, int]:
    (file,) = (folder / "records").glob("p*.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        return {
            table: connection.execute(
                f"SELECT count(*) FROM {table} WHERE {column} = ?", (id,)
            ).fetchone()[0]
            for table, column in {
                "cube": "id",
                "version": "cube_id",
                "label": "cube_id",
                "vector": "cube_id",
            }.items()
        }


NOTHING = {"cube": 0, "version": 0, "label": 0, "vector": 0}


async def test_GOV_9_its_owner_erases_what_cannot_be_read(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me = memos.administrator
        new = [NewMemory(text="the walrus", tags=["sea"]), NewMemory(text="the heron")]
        report = await memos.service.add(me, new)
        ids = [result.id or "" for result in report.results]
        await memos.service.update(me, ids[0], MemoryChange(text="the seal"))
        query = SearchQuery(query="heron", wait_indexed=True)
        assert len((await memos.service.search(me, query)).hits) == 2
        damage(tmp_path, CUT, ids[0])
        with pytest.raises(StoreCorruptError):
            await memos.service.get(me, ids[0])
        assert (await memos.service.delete(me, ids[0], hard=True)).results[0].error is None
        assert left(tmp_path, ids[0]) == NOTHING
        with pytest.raises(NotFoundError):
            await memos.service.get(me, ids[0])
        async with asyncio.timeout(60):
            while (await memos.doorway.receipts.receipt(me, ids[0])).state != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await memos.doorway.receipts.receipt(me, ids[0])).verified()
        hits = (await memos.service.search(me, query)).hits
        assert [hit.memory.id for hit in hits] == [ids[1]]


async def test_GOV_9_another_erases_no_more_than_if_it_could_be_read(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me = memos.administrator
        bob, eve = await memos.caller("user:bob"), await memos.caller("user:eve")
        (hers,) = (
            await memos.service.add(eve, [NewMemory(text="the walrus", readers=["user:bob"])])
        ).results
        id = hers.id or ""
        damage(tmp_path, GARBLED, id)
        for expected, who in ((PermissionDeniedError, bob), (NotFoundError, me)):
            with pytest.raises(expected):
                await memos.service.delete(who, id, hard=True, namespace="user:eve")
        # Soft or otherwise, it takes no new version.
        with pytest.raises(StoreCorruptError):
            await memos.service.delete(eve, id)
        assert left(tmp_path, id)["version"] == 1


@pytest.mark.parametrize("place", [POOL, "user:bob"])
async def test_GOV_9_a_hold_that_may_be_there_is_for_who_administers_the_tenant(
    tmp_path: Path, place: str
) -> None:
    async with running(tmp_path) as memos:
        me, bob = memos.administrator, await memos.caller("user:bob")
        spec = default_spec(POOL, NamespaceKind.CONTEXTUAL_POOL, memos.administrator_id)
        await memos.admin.change(me, PutNamespace(replace(spec, members=("user:bob",))))
        new = [NewMemory(text=f"the walrus, {n}", visibility=Visibility.SHARED) for n in range(2)]
        ids = [one.id or "" for one in (await memos.service.add(bob, new, namespace=place)).results]
        await memos.service.freeze(bob, ids[0], namespace=place)
        for id in ids:
            # Nothing of its versions says whether it was made under hold.
            damage(tmp_path, CUT, id)
        with pytest.raises(LegalHoldError, match="administers the tenant"):
            await memos.service.delete(bob, ids[0], hard=True, namespace=place)
        await memos.service.delete(me, ids[0], hard=True, namespace=place)
        assert left(tmp_path, ids[0]) == NOTHING


@pytest.mark.parametrize("held", [True, False])
async def test_GOV_9_a_hold_is_known_by_what_can_be_read(tmp_path: Path, held: bool) -> None:
    async with running(tmp_path) as memos:
        me = memos.administrator
        (one,) = (await memos.service.add(me, [NewMemory(text="the walrus")])).results
        id = one.id or ""
        await memos.doorway.lifecycle.hold(me, id, None, None, None)
        if not held:
            await memos.doorway.lifecycle.hold(me, id, None, None, None, held=False)
        damage(tmp_path, CUT, id)
        if held:
            with pytest.raises(LegalHoldError, match="under legal hold"):
                await memos.service.delete(me, id, hard=True)
        else:
            await memos.service.delete(me, id, hard=True)
        assert (left(tmp_path, id) == NOTHING) is not held


async def test_GOV_9_what_is_held_and_cannot_be_read_is_released_and_erased(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as memos:
        me, bob = memos.administrator, await memos.caller("user:bob")
        report = await memos.service.add(bob, [NewMemory(text="the walrus", legal_hold=True)])
        id = report.results[0].id or ""
        await memos.service.freeze(bob, id)
        damage(tmp_path, NEWEST, id)
        for error, who in ((PermissionDeniedError, bob), (StoreCorruptError, me)):
            held = who is me
            with pytest.raises(error):
                await release(memos, who, id, held=held)
        await release(memos, me, id)
        with pytest.raises(IllegalStateError, match="not under legal hold"):
            await release(memos, me, id)
        # Released, it can be read as little as before.
        with pytest.raises(StoreCorruptError):
            await memos.service.get(bob, id)
        assert left(tmp_path, id)["version"] == 2
        page = await memos.doorway.logs.log(
            me, wanted=LogFilter(memory_id=id, operation="release", everywhere=True)
        )
        told = [(one.principal, one.outcome, one.version, one.detail) for one in page.entries]
        denied = ("user:bob", "denied", None, {"code": "permission_denied"})
        said = {"unread": True, "reason": "case 7"}
        assert told == [denied, ("user:admin", "done", None, said)]
    # Whoever owns the partition next knows of it.
    async with running(tmp_path) as memos:
        bob = replace(memos.administrator, credential=bob.credential)
        await memos.service.delete(bob, id, hard=True)
        assert left(tmp_path, id) == NOTHING
        async with asyncio.timeout(60):
            while (await memos.doorway.receipts.receipt(bob, id)).state != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # Another memory of that id is not released.
        report = await memos.service.add(bob, [NewMemory(id=id, text="the seal", legal_hold=True)])
        assert not report.failed
        damage(tmp_path, GARBLED, id)
        with pytest.raises(LegalHoldError):
            await memos.service.delete(bob, id, hard=True)


async def test_GOV_9_a_hold_that_may_be_there_is_lifted_in_one_transaction_with_the_erasure(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as memos:
        me, bob = memos.administrator, await memos.caller("user:bob")
        new = [NewMemory(text=f"the walrus, {n}") for n in range(2)]
        ids = [one.id or "" for one in (await memos.service.add(bob, new)).results]
        for id in ids:
            damage(tmp_path, CUT, id)
        await release(memos, me, ids[0])
        await memos.service.delete(bob, ids[0], hard=True)
        context = CallContext(Principal("default", memos.administrator_id, ("admin",)))
        bobs = CallContext(Principal("default", "user:bob"))
        both = [
            Submission(context, Write("", Hold(ids[1], False))),
            Submission(bobs, Write("", Delete(ids[1], hard=True))),
        ]
        done = await memos.crew.shard("shard-0").write_all(0, both)
        assert [(one.cube_id, one.version) for one in done] == [(ids[1], 1), (ids[1], 0)]
        assert [left(tmp_path, id) for id in ids] == [NOTHING] * 2


async def test_GOV_9_a_release_whose_outcome_is_unknown_holds_nobody_up(tmp_path: Path) -> None:
    records = SqlRecordStore.embedded(tmp_path / "records")
    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND, store=records) as memos:
        me = memos.administrator
        new = [NewMemory(text="the walrus", legal_hold=True), NewMemory(text="the heron")]
        ids = [one.id or "" for one in (await memos.service.add(me, new)).results]
    damage(tmp_path, GARBLED, ids[0])
    records = SqlRecordStore.embedded(tmp_path / "records")
    lost = Fault("commit", 2, UnavailableError("the answer is lost"), Moment.AFTER)
    store = FaultyRecordStore(records, FaultPlan((lost,)))
    async with in_process(tmp_path, settings=ONE, lifecycle=BY_HAND, store=store) as memos:
        me = memos.administrator
        await memos.service.update(me, ids[1], MemoryChange(text="the tern"))
        context = CallContext(Principal("default", memos.administrator_id, ("admin",)))
        asked = [Submission(context, Write("", Hold(ids[0], False)))]
        (outcome,) = await memos.crew.shard("shard-0").write(0, asked)
        assert outcome is lost.error
        await memos.service.update(me, ids[1], MemoryChange(text="the seal"))
        await memos.service.delete(me, ids[0], hard=True)


async def test_GOV_9_what_is_frozen_and_cannot_be_thawed_is_erased(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me = memos.administrator
        (one,) = (await memos.service.add(me, [NewMemory(text="the walrus")])).results
        id = one.id or ""
        await memos.service.freeze(me, id)
        damage(tmp_path, CUT, id)
        with pytest.raises(StoreCorruptError):
            await memos.service.freeze(me, id, frozen=False)
        await memos.service.delete(me, id, hard=True)
        assert left(tmp_path, id) == NOTHING


async def test_GOV_9_it_goes_with_others_in_one_transaction(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me = memos.administrator
        new = [NewMemory(text=f"the walrus, {n}") for n in range(3)]
        ids = [one.id or "" for one in (await memos.service.add(me, new)).results]
        # Of this one not even the shape is left; of the other the parts are there, but no JSON.
        damage(tmp_path, SHAPELESS, ids[1])
        damage(tmp_path, GARBLED, ids[2])
        context = CallContext(Principal("default", "user:admin"))
        writes = [Submission(context, Write("", Delete(id, hard=True))) for id in ids]
        done = await memos.crew.shard("shard-0").write_all(0, writes)
        assert [one.version for one in done] == [0, 0, 0]
        assert [left(tmp_path, id) for id in ids] == [NOTHING] * 3


async def test_GOV_9_LIFE_3_a_branch_that_holds_what_cannot_be_read_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me, branches = memos.administrator, memos.doorway.branches
        (base,) = (await memos.service.add(me, [NewMemory(text="the heron")])).results
        query = SearchQuery(query="heron", wait_indexed=True)
        assert len((await memos.service.search(me, query)).hits) == 1
        await branches.create(me, NewBranch(name="trial"))
        report = await branches.add(me, "trial", NewMemory(text="the walrus"))
        await branches.update(me, "trial", base.id or "", MemoryChange(text="the tern"))
        await branches.add(me, "trial", NewMemory(text="the seal"))
        ids = [report.results[0].id or "", base.id or ""]
        stored = [f"{id}{BRANCH_MARK}trial" for id in ids]
    for id in stored:
        damage(tmp_path, NEWEST, id)
    async with running(tmp_path) as memos:
        me, branches = memos.administrator, memos.doorway.branches
        # What stands for it is as little shown as it is.
        page = await branches.memories(me, "trial")
        assert [one.text for one in page.memories] == ["the seal"]
        found = await branches.search(me, "trial", SearchQuery(query="heron", wait_indexed=True))
        assert [hit.memory.text for hit in found.hits] == ["the seal"]
        merged = await branches.merge(me, "trial", MergeWish())
        assert not merged.merged
        assert merged.conflicts == dict.fromkeys(ids, "store_corrupt")
        await branches.discard(me, "trial")
        assert (await branches.list(me)).branches == []
        assert [left(tmp_path, id) for id in stored] == [NOTHING] * 2
        assert (await memos.service.get(me, base.id or "")).text == "the heron"


async def test_GOV_9_LIFE_3_what_a_branch_has_taken_over_goes_unread(tmp_path: Path) -> None:
    async with running(tmp_path) as memos:
        me, branches = memos.administrator, memos.doorway.branches
        (base,) = (await memos.service.add(me, [NewMemory(text="the heron")])).results
        id = base.id or ""
        await branches.create(me, NewBranch(name="trial"))
        await branches.update(me, "trial", id, MemoryChange(text="the tern"))
        damage(tmp_path, NEWEST, f"{id}{BRANCH_MARK}trial")
        await memos.service.delete(me, id, hard=True)
        await eventually(lambda: left(tmp_path, f"{id}{BRANCH_MARK}trial") == NOTHING)
