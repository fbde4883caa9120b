"""Planning against the model of the vault: random batches, retries, lost and unanswered commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.vault.transactions import Transactions
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube, ParentRef, State
from memos_ray.core.vault.log import ERASE, CubeKey, Outcome
from memos_ray.core.vault.operations import (
    Create,
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    StoreError,
)
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.vault_model import CALLERS, IDS, Memory, Model, Snapshot, batches

PARTITION, EPOCH = 5, 3


class VaultMachine(RuleBasedStateMachine):
    """Batches go through the real plan and commit, and one by one through the model."""

    @initialize()
    def start(self) -> None:
        self.real = MemoryRecordStore()
        self.real.take(PARTITION, "shard", EPOCH)
        self.clock = ManualClock()
        self.model = Model(PARTITION)
        self.sent: list[list[Submission]] = []
        self.minted = 0
        self.seen: dict[tuple[str, str, int, int], MemCube] = {}

    @rule(batch=batches)
    def commits(self, batch: list[Submission]) -> None:
        self._commit(self._mint(batch))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def retries(self, data: st.DataObject) -> None:
        """The same writes again: with a key they are answered, without one they are new."""
        batch = data.draw(st.sampled_from(self.sent))
        self._commit(
            [
                one
                for one in batch
                if not isinstance(one.write.operation, Create)
                or one.write.operation.id
                or one.write.idempotency_key
            ]
        )

    @rule(batch=batches)
    def loses_a_commit(self, batch: list[Submission]) -> None:
        """The store fails before the effect: it is as if nobody had asked."""
        self._run_with_fault(self._mint(batch), Moment.BEFORE)

    @rule(batch=batches)
    def loses_an_answer(self, batch: list[Submission]) -> None:
        """The store fails after the effect: a retry with the same keys must find it."""
        batch = self._mint(batch)
        if self._run_with_fault(batch, Moment.AFTER):
            for one in batch:
                self.model.write(one)
        keyed = [one for one in batch if one.write.idempotency_key is not None]
        self._commit(keyed)

    @rule(seconds=st.integers(-5, 5))
    def time_passes_or_is_corrected(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def _mint(self, batch: Sequence[Submission]) -> list[Submission]:
        """Gives creations without an id a fresh one, as a gateway does for each call."""
        minted = []
        for one in batch:
            operation = one.write.operation
            if isinstance(operation, Create) and operation.id is None:
                self.minted += 1
                operation = replace(operation, minted_id=f"m-{self.minted}")
            minted.append(replace(one, write=replace(one.write, operation=operation)))
        self.sent.append(minted)
        return minted

    def _commit(self, batch: Sequence[Submission]) -> None:
        commit, outcomes = self._transactions(self.real).run(
            batch, self.real.last_lsn(PARTITION), True
        )
        for submission, outcome in zip(batch, outcomes, strict=True):
            wanted = self.model.write(submission)
            assert (outcome if isinstance(outcome, Written) else type(outcome)) == wanted
        assert [event.lsn for event in commit.events] == list(
            range(self.model.lsn - len(commit.events) + 1, self.model.lsn + 1)
        )

    def _run_with_fault(self, batch: Sequence[Submission], moment: Moment) -> bool:
        """Returns whether there was anything to commit."""
        plan = FaultPlan([Fault("commit", 1, StoreError("the disk is away"), moment)])
        faulty = FaultyRecordStore(self.real, plan)
        try:
            self._transactions(faulty).run(batch, self.real.last_lsn(PARTITION), True)
        except StoreError:
            return True
        return False

    def _transactions(self, store: MemoryRecordStore | FaultyRecordStore) -> Transactions:
        return Transactions(PARTITION, EPOCH, store, OwnerGuard(), self.clock)

    def _chain(self, key: CubeKey) -> list[MemCube]:
        numbers = [info.number for info in self.real.versions(PARTITION, key, 10**9, 10**9)]
        found = [self.real.version(PARTITION, key, number) for number in reversed(numbers)]
        return [cube for cube in found if cube is not None]

    def _each(self, check: Callable[[CubeKey, Memory, list[MemCube]], None]) -> None:
        for key, memory in self.model.memories.items():
            check(key, memory, self._chain(key))

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        def check(key: CubeKey, memory: Memory, chain: list[MemCube]) -> None:
            assert [Snapshot(c.text, c.descriptive.tags) for c in chain] == memory.chain
            head = self.real.heads(PARTITION, [key])[key]
            rules = head.governance
            assert head.version == chain[-1].version
            assert (head.state is State.DELETED, head.frozen) == (memory.deleted, memory.frozen)
            assert (rules.owner, rules.visibility, rules.legal_hold) == (
                memory.owner,
                memory.visibility,
                memory.held,
            )
            assert [rules.readers, rules.writers, rules.sharers] == [
                tuple(memory.readers),
                tuple(memory.writers),
                tuple(memory.sharers),
            ]

        self._each(check)

    @invariant()
    def every_chain_is_linear_and_verifies(self) -> None:
        def check(key: CubeKey, memory: Memory, chain: list[MemCube]) -> None:
            assert [cube.version.number for cube in chain] == list(range(1, len(chain) + 1))
            for before, cube in zip([None, *chain], chain, strict=False):
                wire.check_digest(cube)
                parents = cube.version.parents
                if before is None:
                    assert parents == ()
                else:
                    assert parents[0] == ParentRef(key.id, before.version.number)
                    assert before.version.created_at <= cube.version.created_at
                    assert before.version.lsn < cube.version.lsn

        self._each(check)

    @invariant()
    def versions_never_change(self) -> None:
        def check(key: CubeKey, memory: Memory, chain: list[MemCube]) -> None:
            for cube in chain:
                place = (key.tenant, key.id, cube.version.number, cube.version.lsn)
                assert self.seen.setdefault(place, cube) == cube

        self._each(check)

    @invariant()
    def what_is_erased_is_gone(self) -> None:
        keys = {CubeKey(caller.principal.tenant, id) for caller in CALLERS for id in IDS}
        for key in keys - set(self.model.memories):
            assert self.real.heads(PARTITION, [key]) == {}
            assert self._chain(key) == []

    @invariant()
    def the_log_tells_the_whole_story(self) -> None:
        events = self.real.events(PARTITION, 0, 10**9)
        assert [event.lsn for event in events] == list(range(1, self.model.lsn + 1))
        story: dict[CubeKey, int] = {}
        for event in events:
            key = CubeKey(event.tenant, event.cube_id or "")
            if event.outcome is Outcome.DENIED:
                assert event.version is None
            elif event.operation == ERASE:
                story.pop(key)
            else:
                assert event.version == story.get(key, 0) + 1
                story[key] = event.version
        assert story == {key: len(memory.chain) for key, memory in self.model.memories.items()}

    @invariant()
    def answers_point_at_their_events(self) -> None:
        events = {event.lsn: event for event in self.real.events(PARTITION, 0, 10**9)}
        for (tenant, principal, _), (_, answer) in self.model.answers.items():
            event = events[answer.lsn]
            assert (event.tenant, event.principal, event.cube_id) == (
                tenant,
                principal,
                answer.cube_id,
            )
            assert (event.version or 0) == answer.version


TestVault = VaultMachine.TestCase
TestVault.settings = settings(max_examples=60, stateful_step_count=20)
