"""LIFE-3: what-if branches: read, written, searched, compared, merged, and gone without a trace."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from memos_ray.actors.lifecycle.branch_feed import BranchConsumer
from memos_ray.actors.lifecycle.branch_room import BranchRoom
from memos_ray.config import VaultSettings
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.lifecycle.branches import KIND, Branch
from memos_ray.core.vault.log import Event
from memos_ray.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
)
from memos_ray.gateway.branches.models import MergeWish, NewBranch
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.ports import Damaged
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.heads import every_head
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually

HOME = "user:admin"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=1), clock=clock) as running:
        yield running


async def add(memos: InProcess, text: str, **given: object) -> str:
    new = NewMemory.model_validate({"text": text, **given})
    report = await memos.service.add(memos.administrator, [new])
    assert not report.failed
    return report.results[0].id or ""


async def branched(memos: InProcess, clock: ManualClock, name: str = "trial") -> None:
    clock.advance(1)
    await memos.doorway.branches.create(memos.administrator, NewBranch(name=name))
    clock.advance(1)


async def texts(memos: InProcess, branch: str | None = "trial") -> list[str]:
    admin = memos.administrator
    if branch is None:
        page = await memos.service.list(admin, limit=100)
    else:
        page = await memos.doorway.branches.memories(admin, branch, limit=100)
    return sorted(one.text for one in page.memories)


async def found(memos: InProcess, query: str, branch: str | None = "trial") -> dict[str, str]:
    admin = memos.administrator
    wanted = SearchQuery(query=query, wait_indexed=True)
    if branch is None:
        result = await memos.service.search(admin, wanted)
    else:
        result = await memos.doorway.branches.search(admin, branch, wanted)
    return {hit.memory.id: hit.memory.text for hit in result.hits}


def held(memos: InProcess) -> list[str]:
    """Ids of everything that is stored for branches."""
    return [c.id for c in every_head(memos.store, 0) if BRANCH_MARK in c.id]


async def changed(memos: InProcess, clock: ManualClock) -> tuple[str, str, str, str]:
    """A branch with a change, a deletion, an addition, and a memory that it leaves alone."""
    first, second = await add(memos, "tea at four"), await add(memos, "rain on Sunday")
    third = await add(memos, "a train to Faro")
    await branched(memos, clock)
    branches, admin = memos.doorway.branches, memos.administrator
    await branches.update(admin, "trial", first, MemoryChange(text="coffee at five", tags=["new"]))
    await branches.delete(admin, "trial", second)
    report = await branches.add(admin, "trial", NewMemory(text="a walrus on Monday"))
    return first, second, third, report.results[0].id or ""


async def test_LIFE_3_a_branch_is_written_and_the_namespace_stays_as_it_is(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second, third, made = await changed(memos, clock)
    assert await texts(memos, None) == ["a train to Faro", "rain on Sunday", "tea at four"]
    assert await texts(memos) == ["a train to Faro", "a walrus on Monday", "coffee at five"]
    memory = await branches.get(admin, "trial", first)
    assert (memory.text, memory.version, memory.namespace) == ("coffee at five", 2, HOME)
    assert memory.id == memory.provenance_id == first and memory.tags == ["new"]
    assert (await branches.get(admin, "trial", third)).version == 1
    assert (await branches.get(admin, "trial", made)).provenance_id == made
    for missing in (second, "nobody"):
        with pytest.raises(NotFoundError):
            await branches.get(admin, "trial", missing)
    with pytest.raises(NotFoundError):
        await memos.service.get(admin, made)
    # What changes in the namespace from now on is not seen in the branch.
    await memos.service.update(admin, third, MemoryChange(text="a plane to Faro"))
    await add(memos, "late")
    assert "late" not in await texts(memos) and "a train to Faro" in await texts(memos)
    assert await found(memos, "tea coffee walrus rain train plane") == {
        first: "coffee at five",
        third: "a train to Faro",
        made: "a walrus on Monday",
    }
    assert await found(memos, "walrus", None) == {} or made not in await found(
        memos, "walrus", None
    )
    await branches.restore(admin, "trial", second)
    assert (await branches.get(admin, "trial", second)).text == "rain on Sunday"
    log = await memos.doorway.logs.log(admin, limit=100)
    assert [one for one in log.entries if one.memory_id == made] == []


async def test_LIFE_3_a_branch_is_compared_with_its_moment(
    memos: InProcess, clock: ManualClock
) -> None:
    first, second, _, made = await changed(memos, clock)
    diff = await memos.doorway.branches.diff(memos.administrator, "trial")
    assert {one.id: (one.kind.value, one.before, one.after) for one in diff.memories} == {
        first: ("changed", 1, 2),
        second: ("removed", 1, None),
        made: ("added", None, 1),
    }
    assert (diff.branch.name, diff.branch.namespace) == ("trial", HOME)


async def test_LIFE_3_a_page_of_a_branch_goes_on_where_it_ended(
    memos: InProcess, clock: ManualClock
) -> None:
    ids = []
    for n in range(5):
        ids.append(await add(memos, f"note {n}", tags=["odd"] if n % 2 else ["even"]))
        clock.advance(1)
    await branched(memos, clock)
    branches, admin = memos.doorway.branches, memos.administrator
    await branches.update(admin, "trial", ids[1], MemoryChange(text="changed 1"))
    await branches.delete(admin, "trial", ids[3])
    await branches.add(admin, "trial", NewMemory(text="newest"))
    seen, cursor = [], None
    while True:
        page = await branches.memories(admin, "trial", limit=2, cursor=cursor)
        seen += [one.text for one in page.memories]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ["newest", "note 4", "note 2", "changed 1", "note 0"]
    odd = await branches.memories(admin, "trial", filter="tags:odd")
    assert [one.id for one in odd.memories] == [ids[1]]


async def test_LIFE_3_a_merge_brings_in_everything_and_ends_the_branch(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second, third, made = await changed(memos, clock)
    report = await branches.merge(admin, "trial", MergeWish())
    assert report.merged and sorted(report.changed) == sorted([first, second, made])
    assert await texts(memos, None) == ["a train to Faro", "a walrus on Monday", "coffee at five"]
    memory = await memos.service.get(admin, first)
    assert (memory.version, memory.tags, memory.text) == (2, ["new"], "coffee at five")
    assert (await memos.service.get(admin, second)).state.value == "deleted"
    new = await memos.service.get(admin, made)
    assert new.provenance_id == made and new.owner == HOME
    history = await memos.service.history(admin, first)
    assert history.versions[0].reason == "merge of branch trial"
    assert held(memos) == [] and (await branches.list(admin)).branches == []
    assert memos.store.derivations(0, KIND) == []
    assert (await memos.service.get(admin, third)).version == 1


async def test_LIFE_3_a_conflict_is_listed_and_nothing_is_half_merged(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, second, _, made = await changed(memos, clock)
    await memos.service.update(admin, first, MemoryChange(text="tea at six"))
    await memos.service.delete(admin, second)
    before = await texts(memos, None)
    last = memos.store.last_lsn(0)
    report = await branches.merge(admin, "trial", MergeWish())
    assert not report.merged and report.changed == []
    assert report.conflicts == {first: "version_conflict", second: "version_conflict"}
    assert await texts(memos, None) == before and memos.store.last_lsn(0) == last
    assert (await branches.get(admin, "trial", made)).text == "a walrus on Monday"


async def test_LIFE_3_a_merge_whose_answer_was_lost_is_asked_for_again(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, *_ = await changed(memos, clock)
    forget = memos.store.forget_derivations

    def dies(*call: object) -> None:
        raise MemosError("the process is gone")

    monkeypatch.setattr(memos.store, "forget_derivations", dies)
    with pytest.raises(MemosError, match="gone"):
        await branches.merge(admin, "trial", MergeWish())
    monkeypatch.setattr(memos.store, "forget_derivations", forget)
    assert (await memos.service.get(admin, first)).text == "coffee at five"
    # It is ending, and nobody may use it; the next sweep sees to the rest.
    assert (await branches.list(admin)).branches == []
    with pytest.raises(NotFoundError):
        await branches.get(admin, "trial", first)
    await memos.doorway.lifecycle.sweep(admin)
    assert memos.store.derivations(0, KIND) == [] and held(memos) == []
    assert (await memos.service.get(admin, first)).version == 2


async def test_LIFE_3_a_discarded_branch_leaves_nothing(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    await changed(memos, clock)
    assert len(held(memos)) == 3
    await branches.discard(admin, "trial")
    assert held(memos) == [] and await texts(memos, None) == [
        "a train to Faro",
        "rain on Sunday",
        "tea at four",
    ]
    with pytest.raises(NotFoundError):
        await branches.diff(admin, "trial")
    # The name is free again, and nothing of the old one comes back.
    await branched(memos, clock)
    assert (await branches.diff(admin, "trial")).memories == []


async def test_GOV_9_what_is_erased_in_the_namespace_vanishes_from_branches(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, _, third, _ = await changed(memos, clock)
    await branched(memos, clock, "other")
    await branches.update(admin, "other", first, MemoryChange(text="coffee at nine"))
    for one in (first, third):
        await memos.service.delete(admin, one, hard=True)
    for name in ("trial", "other"):
        for one in (first, third):
            with pytest.raises(NotFoundError):
                await branches.get(admin, name, one)
        assert not any("coffee" in text or "train" in text for text in await texts(memos, name))
        assert first not in await found(memos, "coffee", name)
    await eventually(lambda: not any(one.startswith(first) for one in held(memos)))
    with pytest.raises(NotFoundError):
        await branches.update(admin, "trial", third, MemoryChange(text="back again"))

    async def state() -> str:
        return (await memos.doorway.receipts.receipt(admin, first)).state

    async with asyncio.timeout(60):
        while await state() != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    receipt = await memos.doorway.receipts.receipt(admin, first)
    assert receipt.verified() and "branch" in {item.kind.value for item in receipt.items}
    report = await branches.merge(admin, "trial", MergeWish())
    assert report.merged and first not in report.changed


async def test_GOV_9_a_page_shows_nothing_that_is_erased_while_it_is_read(
    memos: InProcess, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased, read, follow = asyncio.Event(), BranchRoom.all, BranchConsumer.consume

    async def waits(self: BranchConsumer, events: Sequence[Event]) -> None:
        await erased.wait()
        await follow(self, events)

    async def meanwhile(
        self: BranchRoom, tenant: str, branch: Branch, damaged: Damaged
    ) -> list[MemCube]:
        found = await read(self, tenant, branch, damaged)
        erased.set()
        await eventually(lambda: not any(one.startswith(first) for one in held(memos)))
        return found

    monkeypatch.setattr(BranchConsumer, "consume", waits)
    first, *_ = await changed(memos, clock)
    await memos.service.delete(memos.administrator, first, hard=True)
    monkeypatch.setattr(BranchRoom, "all", meanwhile)
    assert await texts(memos) == ["a train to Faro", "a walrus on Monday"]


async def test_LIFE_3_a_branch_has_the_policy_of_its_namespace(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first, *_ = await changed(memos, clock)
    eve = await memos.caller("user:eve")
    acts = [
        branches.get(eve, "trial", first, HOME),
        branches.memories(eve, "trial", HOME),
        branches.search(eve, "trial", SearchQuery(query="tea"), HOME),
        branches.update(eve, "trial", first, MemoryChange(text="mine"), HOME),
        branches.add(eve, "trial", NewMemory(text="mine"), HOME),
        branches.diff(eve, "trial", HOME),
        branches.merge(eve, "trial", MergeWish(), HOME),
        branches.discard(eve, "trial", HOME),
        branches.create(eve, NewBranch(name="hers", namespace=HOME)),
        branches.list(eve, HOME),
    ]
    for act in acts:
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            await act
    # Nor do the other doors know the names that a branch stores under.
    stored = held(memos)[0]
    with pytest.raises(NotFoundError):
        await memos.service.get(eve, stored)
    rows = memos.store.scan(0, "default", f"{HOME}{BRANCH_MARK}trial", Everything(), None, 9)
    assert len(rows) == 3 and {row.governance.owner for row in rows} == {HOME}
    assert (await branches.get(admin, "trial", first)).owner == HOME


async def test_LIFE_3_what_a_branch_refuses(memos: InProcess, clock: ManualClock) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    frozen = await add(memos, "for ever")
    await memos.service.freeze(admin, frozen)
    await branched(memos, clock)
    with pytest.raises(AlreadyExistsError):
        await branches.create(admin, NewBranch(name="trial"))
    made = await asyncio.gather(
        *(branches.create(admin, NewBranch(name="twice")) for _ in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyExistsError) for one in made) == 2
    with pytest.raises(MemosError, match="frozen"):
        await branches.update(admin, "trial", frozen, MemoryChange(text="not so"))
    with pytest.raises(AlreadyExistsError):
        await branches.add(admin, "trial", NewMemory(text="again", id=frozen))
    with pytest.raises(InvalidInputError):
        await branches.search(admin, "trial", SearchQuery(query="x", as_of=clock.now()))
    with pytest.raises(InvalidInputError):
        later = clock.now().replace(year=2099).isoformat()
        await branches.create(admin, NewBranch(name="future", at=later))


async def test_LIFE_3_a_branch_may_begin_at_an_earlier_moment(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator
    first = await add(memos, "tea at four")
    at = clock.now().isoformat()
    clock.advance(1)
    await memos.service.update(admin, first, MemoryChange(text="tea at five"))
    await branches.create(admin, NewBranch(name="then", at=at))
    clock.advance(1)
    assert await texts(memos, "then") == ["tea at four"]
    change = MemoryChange(text="tea at noon")
    await branches.update(admin, "then", first, change)
    report = await branches.merge(admin, "then", MergeWish())
    assert report.conflicts == {first: "version_conflict"}


async def test_LIFE_3_names_of_branches_that_are_not_there_cost_no_memory(
    memos: InProcess,
) -> None:
    branches, admin = memos.doorway.branches, memos.administrator

    def locks() -> int:
        gc.collect()
        return sum(type(one) is asyncio.Lock for one in gc.get_objects())

    before = locks()
    for number in range(20):
        with pytest.raises(NotFoundError):
            await branches.discard(admin, f"guess{number}")
    assert locks() < before + 20
