"""What one part of the product keeps of a memory is hidden, and erased, as the others have it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.actors.evolution.book import PROPOSAL
from memos_ray.actors.vault.offspring import Offspring, Pending
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutNamespace
from memos_ray.core.access.model import NamespaceKind, default_spec
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.evolution import EvolutionMode, EvolvedState, Verdict
from memos_ray.core.personas import PersonaTemplate
from memos_ray.core.vault.receipts import Derived, Receipt
from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.branches.models import MergeWish, NewBranch
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatQuery, Turn
from memos_ray.gateway.evolution.models import Feedback
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.ports import Derivation, EventQuery
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore
from memos_ray.testing.heads import every_head
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.waiting import eventually

HOME = "user:admin"
TEAM = "team"
OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memos(tmp_path: Path, clock: ManualClock) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=1), clock=clock) as running:
        yield running


async def add(
    memos: InProcess, caller: Caller, text: str, place: str | None = None, **given: object
) -> str:
    new = NewMemory.model_validate({"text": text, **given})
    (result,) = (await memos.service.add(caller, [new], place)).results
    assert result.error is None, result.error
    return result.id or ""


async def branched(
    memos: InProcess, clock: ManualClock, caller: Caller, place: str | None = None
) -> None:
    clock.advance(1)
    await memos.doorway.branches.create(caller, NewBranch(name="trial", namespace=place))
    clock.advance(1)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def doctor(memos: InProcess) -> tuple[Caller, Caller]:
    """Ann without a role, and as a doctor."""
    ann = await memos.caller("user:ann")
    await memos.doorway.personas.put(
        memos.administrator, "doctor", PersonaTemplate(name="doctor"), "user:ann"
    )
    return ann, replace(ann, role="doctor")


async def test_APP_4_LIFE_3_what_a_role_does_in_a_branch_is_in_no_other_roles_log(
    memos: InProcess, clock: ManualClock
) -> None:
    ann, as_doctor = await doctor(memos)
    await branched(memos, clock, as_doctor)
    report = await memos.doorway.branches.add(as_doctor, "trial", NewMemory(text="Mr Moss is ill"))
    made = report.results[0].id or ""
    everywhere = LogFilter(everywhere=True)
    own = await memos.doorway.logs.log(as_doctor, wanted=everywhere, limit=100)
    assert any(made in (one.memory_id or "") for one in own.entries)
    other = await memos.doorway.logs.log(ann, wanted=everywhere, limit=100)
    assert not any(made in (one.memory_id or "") for one in other.entries)
    reads = LogFilter(everywhere=True, reads=True)
    await memos.doorway.branches.memories(as_doctor, "trial")
    other = await memos.doorway.logs.log(ann, wanted=reads, limit=100)
    assert not any(made in one.model_dump_json() for one in other.entries)


async def test_APP_4_LIFE_3_a_branch_of_a_stream_remembers_as_the_persona_does(
    memos: InProcess, clock: ManualClock
) -> None:
    branches, ann = memos.doorway.branches, await memos.caller("user:ann")
    template = PersonaTemplate(name="doctor", tags=["clinic"], half_life_s=86_400)
    await memos.doorway.personas.put(memos.administrator, "doctor", template, "user:ann")
    as_doctor = replace(ann, role="doctor")
    await branched(memos, clock, as_doctor)
    await branches.add(as_doctor, "trial", NewMemory(text="Mr Moss is ill"))
    (memory,) = (await branches.memories(as_doctor, "trial")).memories
    assert (memory.tags, memory.half_life_s) == (["clinic"], 86_400)
    with pytest.raises(InvalidInputError, match="read by a model"):
        await branches.add(as_doctor, "trial", NewMemory(text="Read me", extract=True))


async def test_LIFE_3_what_is_held_keeps_no_branch_from_ending(
    memos: InProcess, clock: ManualClock
) -> None:
    admin, branches = memos.administrator, memos.doorway.branches
    held = await add(memos, admin, "the contract", legal_hold=True)
    await branched(memos, clock, admin)
    await branches.update(admin, "trial", held, MemoryChange(text="another contract"))
    with pytest.raises(InvalidInputError):
        await branches.add(admin, "trial", NewMemory(text="evidence", legal_hold=True))
    await branches.discard(admin, "trial")
    assert (await branches.list(admin)).branches == []
    assert not [one.id for one in every_head(memos.store, 0) if BRANCH_MARK in one.id]
    kept = await memos.service.get(admin, held)
    assert (kept.text, kept.legal_hold) == ("the contract", True)
    await branched(memos, clock, admin)
    await branches.delete(admin, "trial", held)
    report = await branches.merge(admin, "trial", MergeWish())
    assert dict(report.conflicts) == {held: "legal_hold"}


async def team(memos: InProcess) -> Caller:
    bob = await memos.caller("user:bob")
    spec = replace(default_spec(TEAM, NamespaceKind.CONTEXTUAL_POOL, HOME), members=("user:bob",))
    await memos.admin.change(memos.administrator, PutNamespace(spec))
    return bob


async def test_GOV_1_LIFE_3_what_is_closed_is_closed_in_branches(
    memos: InProcess, clock: ManualClock
) -> None:
    admin, branches = memos.administrator, memos.doorway.branches
    bob = await team(memos)
    shared = await add(memos, admin, "the salary list", TEAM, visibility="shared")
    await branched(memos, clock, admin, TEAM)
    await branches.update(admin, "trial", shared, MemoryChange(text="the salary list, new"), TEAM)
    assert (await branches.get(bob, "trial", shared, TEAM)).text == "the salary list, new"
    await memos.service.share(admin, shared, Sharing(visibility=Visibility.PRIVATE), TEAM)
    with pytest.raises(NotFoundError):
        await memos.service.get(bob, shared, TEAM)
    page = await branches.memories(bob, "trial", TEAM)
    assert page.memories == []
    found = await branches.search(
        bob, "trial", SearchQuery(query="salary", wait_indexed=True), TEAM
    )
    assert found.hits == []
    diff = await branches.diff(bob, "trial", TEAM)
    assert diff.memories == []
    with pytest.raises(NotFoundError):
        await branches.get(bob, "trial", shared, TEAM)
    assert (await branches.get(admin, "trial", shared, TEAM)).text == "the salary list, new"


async def test_GOV_1_LIFE_3_who_may_write_no_more_may_not_in_branches(
    memos: InProcess, clock: ManualClock
) -> None:
    admin, branches = memos.administrator, memos.doorway.branches
    bob = await team(memos)
    shared = await add(memos, admin, "a plan", TEAM, visibility="shared", writers=["user:bob"])
    await branched(memos, clock, admin, TEAM)
    await branches.update(bob, "trial", shared, MemoryChange(text="bob's plan"), TEAM)
    await memos.service.share(admin, shared, Sharing(remove=["user:bob"]), TEAM)
    with pytest.raises(PermissionDeniedError):
        await branches.update(bob, "trial", shared, MemoryChange(text="bob's again"), TEAM)
    with pytest.raises(PermissionDeniedError):
        await branches.delete(bob, "trial", shared, TEAM)
    assert (await branches.get(admin, "trial", shared, TEAM)).text == "bob's plan"
    await branches.update(admin, "trial", shared, MemoryChange(text="our plan"), TEAM)


async def test_API_2_LIFE_3_lineage_knows_no_branch(memos: InProcess, clock: ManualClock) -> None:
    admin = memos.administrator
    source = await add(memos, admin, "we met in Rome")
    made = await add(memos, admin, "Rome", sources=[{"memory_id": source}])
    await branched(memos, clock, admin)
    await memos.doorway.branches.update(admin, "trial", made, MemoryChange(text="Paris"))
    shown = await memos.doorway.provenance.provenance(admin, source)
    assert {node.id for node in shown.nodes} == {source, made}


async def add_episodes(memos: InProcess, caller: Caller) -> list[str]:
    return [
        await add(
            memos,
            caller,
            f"Walk number {n} led to the walrus pond number {n}.",
            semantic_type=SemanticType.EPISODE,
            event_time=OLD,
            conversation="walks",
        )
        for n in range(6)
    ]


async def test_EVO_1_GOV_9_what_evolution_made_goes_with_its_sources(memos: InProcess) -> None:
    admin, evolution = memos.administrator, memos.doorway.evolution
    ids = await add_episodes(memos, admin)
    (one,) = (await evolution.evolve(admin)).proposals
    done = await evolution.settle(admin, one.id, Verdict.ACCEPT)
    (made,) = done.made
    await memos.service.delete(admin, ids[0], hard=True)

    async def gone() -> bool:
        try:
            await memos.service.get(admin, made.id)
        except NotFoundError:
            return True
        return False

    await until(gone)


async def test_EVO_1_GOV_9_proposals_go_with_their_memories_where_that_was_cut_off(
    memos: InProcess,
) -> None:
    admin, store = memos.administrator, memos.store
    ids = await add_episodes(memos, admin)
    await memos.doorway.evolution.evolve(admin)
    (row,) = store.derivations(0, PROPOSAL)
    await memos.service.delete(admin, ids[0], hard=True)
    await eventually(lambda: not store.derivations(0, PROPOSAL))
    # As where the process was killed before that.
    store.save_derivation(0, store.fence(0).epoch, row)
    memos.crew.cut_off("shard-0")
    await memos.crew.start_shard("shard-0")
    assert await memos.service.get(admin, ids[1])
    await memos.crew.shards["shard-0"]._evolution.tick(0)
    assert not store.derivations(0, PROPOSAL)


async def test_EVO_1_APP_4_a_stream_evolves_by_itself(memos: InProcess) -> None:
    _, as_doctor = await doctor(memos)
    evolution = memos.doorway.evolution
    ids = await add_episodes(memos, as_doctor)
    await evolution.evolve(as_doctor, mode=EvolutionMode.AUTOMATIC)
    status = await evolution.evolve(as_doctor)
    assert [one.state for one in status.proposals] == [EvolvedState.ACCEPTED]
    assert (await memos.service.get(as_doctor, ids[0])).state is State.ARCHIVED


async def test_OPER_4_APP_4_a_stream_is_organised_by_itself(memos: InProcess) -> None:
    _, as_doctor = await doctor(memos)
    await memos.doorway.organising.automate(as_doctor, automatic=True)
    ids = [
        await add(memos, as_doctor, "The patient Mr Moss is allergic to penicillin.")
        for _ in range(2)
    ]

    async def merged() -> bool:
        states = [(await memos.service.get(as_doctor, id)).state for id in ids]
        return State.MERGED in states

    await until(merged)


async def test_EVO_1_APP_4_what_was_made_in_a_stream_follows_its_sources(memos: InProcess) -> None:
    _, as_doctor = await doctor(memos)
    evolution = memos.doorway.evolution
    ids = await add_episodes(memos, as_doctor)
    (one,) = (await evolution.evolve(as_doctor)).proposals
    (made,) = (await evolution.settle(as_doctor, one.id, Verdict.ACCEPT)).made
    await memos.service.update(as_doctor, ids[0], MemoryChange(text="It led to the sea."))

    async def marked() -> bool:
        return (await memos.service.get(as_doctor, made.id)).attributes.get("stale") is True

    await until(marked)


async def items_of(memos: InProcess, id: str) -> dict[str, str]:
    receipt = await memos.doorway.receipts.receipt(memos.administrator, id)
    return {item.kind.value: item.state for item in receipt.items}


async def test_GOV_9_a_receipt_waits_for_what_was_made_of_the_memory(memos: InProcess) -> None:
    admin, evolution = memos.administrator, memos.doorway.evolution
    ids = await add_episodes(memos, admin)
    (one,) = (await evolution.evolve(admin)).proposals
    (made,) = (await evolution.settle(admin, one.id, Verdict.ACCEPT)).made
    await memos.service.freeze(admin, made.id)
    await memos.service.delete(admin, ids[0], hard=True)

    async def done(kind: str) -> bool:
        return (await items_of(memos, ids[0]))[kind] == "done"

    await until(lambda: done("branch"))
    assert not await done("extracted")
    # Nothing changes what is frozen; thawed, it goes.
    await memos.service.freeze(admin, made.id, frozen=False)
    await until(lambda: done("extracted"))
    with pytest.raises(NotFoundError):
        await memos.service.get(admin, made.id)


async def test_GOV_9_a_receipt_waits_for_the_receipts_of_what_follows(memos: InProcess) -> None:
    offspring = Offspring(memos.store, ThreadPoolExecutor(1))
    at = datetime.now(UTC)
    one, branch, other = (
        Receipt("default", HOME, id, HOME, 0, 1, at, ()) for id in ("m", "m#trial", "n#trial")
    )
    pending = Pending.of([one, branch, other])
    assert (await offspring.look(0, one, pending)).left == {(Derived.BRANCH, "m")}
    assert (await offspring.look(0, branch, pending)).left == frozenset()


async def test_GOV_9_the_log_is_asked_once_about_an_erased_memory(
    memos: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter[str]()
    events = memos.store.events

    def read(partition: int, after: int, limit: int, query: EventQuery | None = None) -> object:
        asked[(query.cube_id if query else None) or ""] += 1
        return events(partition, after, limit, query)

    monkeypatch.setattr(memos.store, "events", read)
    one = Receipt("default", HOME, "m", HOME, 0, 1, datetime.now(UTC), ())
    offspring, pending = Offspring(memos.store, ThreadPoolExecutor(1)), Pending.of([one])
    for _ in range(10):
        await offspring.look(0, one, pending)
    assert asked["m"] == 2
    # Once it is complete nothing of it is kept.
    offspring.forget(0, one)
    await offspring.look(0, one, pending)
    assert asked["m"] == 4


async def test_GOV_9_receipts_that_wait_are_not_compared_each_with_each(
    memos: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, reads = datetime.now(UTC), Counter[str]()
    waiting = [Receipt("default", HOME, f"m{n}", HOME, 0, 1, at, ()) for n in range(50)]

    def erased(receipt: Receipt) -> tuple[str, ...]:
        reads[receipt.memory_id] += 1
        return (receipt.memory_id,)

    monkeypatch.setattr(Receipt, "erased", property(erased))
    offspring, pending = Offspring(memos.store, ThreadPoolExecutor(1)), Pending.of(waiting)
    for receipt in waiting:
        assert not (await offspring.look(0, receipt, pending)).left
    assert max(reads.values()) <= 4


class Racing(SqlRecordStore):
    """Has a memory erased in the moment before an opinion of it is written."""

    erase: Callable[[], None] | None = None

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        if self.erase is not None and "opinion" in {row.kind for row in rows}:
            erase, self.erase = self.erase, None
            erase()
        super().save_derivations(partition, epoch, rows)


async def test_CUBE_4_GOV_9_an_opinion_that_comes_with_the_erasure_goes_with_it(
    tmp_path: Path,
) -> None:
    contents = ArchivedContents(lambda: BlobStore.local(tmp_path / "blobs"))
    store = Racing.embedded(tmp_path / "records", contents)
    settings = VaultSettings(partitions=1)
    async with in_process(tmp_path, settings=settings, store=store) as memos:
        admin, loop = memos.administrator, asyncio.get_running_loop()
        await add(memos, admin, "Foxes are red.", id="other")
        await memos.doorway.evolution.feedback(admin, Feedback(useful=True, memory_id="other"))
        await add(memos, admin, "Mr Moss is ill.", id="m")

        def erase() -> None:
            erasing = memos.service.delete(admin, "m", hard=True)
            asyncio.run_coroutine_threadsafe(erasing, loop).result(10)

        store.erase = erase
        said = Feedback(useful=False, memory_id="m", note="Mr Moss recovered")
        await memos.doorway.evolution.feedback(admin, said)
        rows = [row for row in store.derivations(0, "opinion") if b"Moss" in row.body]
        assert rows == []


async def test_CUBE_4_GOV_9_a_store_that_refuses_is_asked_again(tmp_path: Path) -> None:
    contents = ArchivedContents(lambda: BlobStore.local(tmp_path / "blobs"))
    plan = FaultPlan(
        [Fault("forget_derivations", call, UnavailableError("locked")) for call in (1, 2)]
    )
    store = FaultyRecordStore(SqlRecordStore.embedded(tmp_path / "records", contents), plan)
    settings = VaultSettings(partitions=1)
    async with in_process(tmp_path, settings=settings, store=store) as memos:
        admin = memos.administrator
        await add(memos, admin, "Mr Moss is ill.", id="m")
        said = Feedback(useful=False, memory_id="m", note="Mr Moss recovered")
        await memos.doorway.evolution.feedback(admin, said)
        await memos.service.delete(admin, "m", hard=True)
        await eventually(lambda: not list(store.derivations(0, "opinion")))
        assert store.struck


async def test_APP_4_API_3_what_an_answer_was_given_of_a_stream_is_for_its_role(
    tmp_path: Path,
) -> None:
    async with in_process(tmp_path, models={"quoting": QuotingModel()}) as memos:
        ann, as_doctor = await doctor(memos)
        secret = await add(memos, as_doctor, "The patient Mr Moss has a weak heart")
        asked = ChatQuery(
            model="quoting",
            messages=[Turn(role="user", content="Who has a weak heart?")],
            namespaces=["user:ann", "user:ann/doctor"],
        )
        await memos.doorway.chats.chat(as_doctor, asked)
        await memos.doorway.chats.settle()
        answers = LogFilter(everywhere=True, reads=True, operation="answer")
        own = await memos.doorway.logs.log(as_doctor, wanted=answers)
        assert secret in {one.memory_id for one in own.entries}
        other = await memos.doorway.logs.log(ann, wanted=answers)
        assert secret not in {one.memory_id for one in other.entries}
