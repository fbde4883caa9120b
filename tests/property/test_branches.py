"""LIFE-3: a branch shows its moment and its own changes, whatever happens beside it or dies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.branches import BranchPage
from memos_ray.core.vault.log import ERASE, Outcome
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Operation,
    Restore,
    Update,
    UpdateMode,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import NotFoundError, StoreError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench

PARTITION, PLACE, ALL = 0, "notes", 10**6
SETTINGS = VaultSettings(partitions=1)
ANN = CallContext(Principal("acme", "user:ann"))
T = TypeVar("T")

ids = st.sampled_from(("a", "b", "c"))
names = st.sampled_from(("one", "two"))
texts = st.sampled_from(("red", "green", "blue"))
changes = st.one_of(
    st.builds(Create, texts.map(Plaintext), id=ids),
    st.builds(Update, ids, st.just(UpdateMode.OVERWRITE), text=texts),
    st.builds(Delete, ids),
    st.builds(Restore, ids),
)
operations = st.one_of(changes, st.builds(Delete, ids, hard=st.just(True)), st.builds(Archive, ids))


class Shown:
    """What a branch shows, as the model has it: its moment, and the texts of its own."""

    def __init__(self, then: dict[str, str]) -> None:
        self.then = dict(then)
        self.own: dict[str, str | None] = {}
        self.forks: set[str] = set()

    def all(self) -> dict[str, str]:
        merged = {**self.then, **self.own}
        return {id: text for id, text in merged.items() if text is not None}


class BranchMachine(RuleBasedStateMachine):
    """A namespace and two branches of it change; shards die; all is read and compared."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.plan = FaultPlan()
        self.store = FaultyRecordStore(MemoryRecordStore(), self.plan)
        ring = Ring(1, ("shard-0",))
        self.bench = ShardBench(self.store, self.clock, lambda: ring, SETTINGS)
        pools = {PLACE: NamespaceMode.WRITABLE}
        self.run(self.bench.admit("acme", ("user:ann",), pools))
        self.dead: list[VaultShard] = []
        self.shard = self.run(self.started())
        made = [Create(Plaintext(f"first {id}"), id=id) for id in ("a", "b")]
        submissions = [Submission(ANN, Write(PLACE, one)) for one in made]
        self.run(self.shard.write(PARTITION, submissions))
        self.base: dict[str, str] = self.listed()
        self.branches: dict[str, Shown] = {}
        self.deleted: dict[tuple[str, str], str] = {}
        self.asked = 0

    async def started(self) -> VaultShard:
        return self.bench.shard("shard-0")

    def teardown(self) -> None:
        for shard in (self.shard, *self.dead):
            self.run(shard.close())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(operation=operations)
    def changes_the_namespace(self, operation: Operation) -> None:
        before = {name: shown.all() for name, shown in self.branches.items()}
        self.clock.advance(1)
        (outcome,) = self.run(
            self.shard.write(PARTITION, [Submission(ANN, Write(PLACE, operation))])
        )
        self.base = self.listed()
        if isinstance(outcome, Written) and isinstance(operation, Delete) and operation.hard:
            for shown in self.branches.values():
                shown.then.pop(operation.cube_id, None)
                if operation.cube_id in shown.forks:
                    shown.own.pop(operation.cube_id, None)
        else:
            assert before == {name: shown.all() for name, shown in self.branches.items()}

    @rule(name=names)
    def branches_off(self, name: str) -> None:
        self.clock.advance(1)
        if name not in self.branches:
            self.run(self.shard.create_branch(PARTITION, ANN, PLACE, name, None, None))
            self.branches[name] = Shown(self.base)
        self.clock.advance(1)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), operation=changes, loses=st.sampled_from((None, *Moment)))
    def changes_a_branch(
        self, data: st.DataObject, operation: Operation, loses: Moment | None
    ) -> None:
        name = data.draw(st.sampled_from(sorted(self.branches)))
        shown, base = self.branches[name], self.listed()
        self.clock.advance(1)
        call = self.store.calls["commit"] + 1
        if loses is not None:
            self.plan.faults = [Fault("commit", call, StoreError("the disk is away"), loses)]
        self.asked += 1
        submission = Submission(ANN, Write(PLACE, operation, f"key {self.asked}"))
        (outcome,) = self.run(self.shard.branch_write(PARTITION, PLACE, name, [submission]))
        self.plan.faults = []
        if isinstance(outcome, StoreError):
            # Asked again, it says what became of it.
            (outcome,) = self.run(self.shard.branch_write(PARTITION, PLACE, name, [submission]))
        assert self.listed() == base
        if not isinstance(outcome, Written):
            return
        cube_id = operation.cube_id
        if isinstance(operation, Create):
            shown.own[cube_id] = operation.payload.text  # type: ignore[union-attr]
        else:
            if cube_id in shown.then and cube_id not in shown.own:
                shown.forks.add(cube_id)
            match operation:
                case Update(text=text):
                    shown.own[cube_id] = text
                case Delete():
                    self.deleted[name, cube_id] = shown.all()[cube_id]
                    shown.own[cube_id] = None
                case Restore():
                    # What had been put away was shown all the time.
                    there = shown.all().get(cube_id)
                    shown.own[cube_id] = there or self.deleted[name, cube_id]

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def merges(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.branches)))
        shown, before = self.branches[name], self.listed()
        self.clock.advance(1)
        done = self.run(self.shard.merge_branch(PARTITION, ANN, PLACE, name, None))
        after = self.listed()
        if done.conflicts:
            assert after == before and not done.changed
            return
        # What the branch has changed is what the namespace holds now; all else is as it was. What
        # the branch deleted and has again is as at its moment, so that it is no change of it: as in
        # any three-way merge, what the namespace has done meanwhile stays, a deletion too.
        own = {id: text for id, text in shown.own.items() if text != shown.then.get(id)}
        for id in {*before, *after, *own}:
            assert after.get(id) == (own[id] if id in own else before.get(id))
        self.forget(name)

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def discards(self, data: st.DataObject) -> None:
        name, before = data.draw(st.sampled_from(sorted(self.branches))), self.listed()
        self.run(self.shard.discard_branch(PARTITION, ANN, PLACE, name))
        assert self.listed() == before
        self.forget(name)

    @rule()
    def dies(self) -> None:
        """A new shard takes over; the old one goes on somewhere, and can do nothing."""
        self.dead.append(self.shard)
        self.shard = self.run(self.started())
        self.run(self.shard.own([PARTITION]))

    def forget(self, name: str) -> None:
        self.base = self.listed()
        del self.branches[name]
        self.deleted = {key: text for key, text in self.deleted.items() if key[0] != name}
        assert not [one for one in self.held() if one.endswith(f"{BRANCH_MARK}{name}")]

    def held(self) -> list[str]:
        return [c.id for c in every_head(self.store, PARTITION) if BRANCH_MARK in c.id]

    def listed(self) -> dict[str, str]:
        request = ListRequest(ANN, PLACE, limit=100)
        return {cube.id: cube.text for cube in self.run(self.shard.page(PARTITION, request))}

    @invariant()
    def life_3_each_branch_shows_its_moment_and_its_changes(self) -> None:
        for name, shown in self.branches.items():
            request = BranchPage(ANN, PLACE, name, limit=100)
            page = self.run(self.shard.branch_page(PARTITION, request))
            assert {cube.id: cube.text for cube in page} == shown.all()
            for id in ("a", "b", "c"):
                assert self.got(name, id) == shown.all().get(id)

    @invariant()
    def life_3_a_comparison_lists_what_a_merge_would_bring(self) -> None:
        for name, shown in self.branches.items():
            found = self.run(self.shard.branch_differences(PARTITION, ANN, PLACE, name))
            own = {id for id, text in shown.own.items() if text != shown.then.get(id)}
            assert {one.id for one in found} == own

    def got(self, name: str, id: str) -> str | None:
        try:
            return self.run(self.shard.branch_get(PARTITION, ANN, PLACE, name, id)).text
        except NotFoundError:
            return None

    @invariant()
    def gov_9_nothing_is_held_that_was_taken_over_from_what_is_erased(self) -> None:
        """The consumer of the log gets there, whoever runs it."""

        events = self.store.events(PARTITION, 0, ALL)
        erased = [
            event.lsn
            for event in events
            if event.operation == ERASE and event.outcome is Outcome.DONE
        ]

        async def settled() -> None:
            owned = await self.shard._serve(PARTITION)
            await owned.branch_feed.reached(max(erased, default=0))

        self.run(asyncio.wait_for(settled(), 60))
        there = {c.id for c in every_head(self.store, PARTITION)}
        for cube in every_head(self.store, PARTITION):
            if BRANCH_MARK in cube.id and BRANCH_MARK not in cube.provenance_id:
                assert cube.provenance_id in there


class TestLIFE3Branches(BranchMachine.TestCase):  # type: ignore[misc, name-defined, valid-type]
    """Branches leave their namespace alone."""

    settings = settings(max_examples=20, stateful_step_count=15)
