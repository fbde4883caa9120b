"""LIFE-1, LIFE-2, LIFE-4: no illegal state is reachable, whoever acts in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memos_ray.actors.vault.transactions import Transactions
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Decay, ExpiresAt, Forever, Lifespan, Origin
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import GONE, MOVES
from memos_ray.core.lifecycle.sweeping import LIFECYCLE, SweepRules, decide
from memos_ray.core.vault.log import ERASE, CubeKey, Outcome
from memos_ray.core.vault.operations import (
    Age,
    Archive,
    Create,
    Delete,
    Freeze,
    Operation,
    Restore,
    Rollback,
    Share,
    Update,
    UpdateMode,
    Write,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import StoreError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_store import MemoryRecordStore

PARTITION, EPOCH, ALL = 2, 1, 10**9
ANN = CallContext(Principal("acme", "user:ann"))
SWEEPER = CallContext(Principal("acme", LIFECYCLE))
IDS = ("a", "b")
RULES = SweepRules(0.3, unused_s=50.0, deleted_s=20.0, expired_s=20.0)

ids = st.sampled_from(IDS)
texts = st.sampled_from(("red", "green", "blue"))
operations = st.one_of(
    st.builds(
        Update,
        ids,
        st.just(UpdateMode.OVERWRITE),
        text=texts,
        merged_from=st.sampled_from(((), (("c", 1),))),
    ),
    st.builds(Share, ids, readers=st.sampled_from((("user:bob",), ("user:eve",)))),
    st.builds(Rollback, ids, to=st.integers(1, 3)),
    st.builds(Delete, ids, hard=st.booleans()),
    st.builds(Restore, ids),
    st.builds(Freeze, ids, frozen=st.booleans()),
    st.builds(Archive, ids),
    # Whatever a sweep might decide from what it has seen, however old that is.
    st.builds(
        Age,
        ids,
        st.sampled_from((Move.ARCHIVE, Move.EXPIRE, Move.COLLECT)),
        st.sampled_from(Cause),
        st.integers(1, 6),
    ),
)


class LifeMachine(RuleBasedStateMachine):
    """Callers, sweeps, crashes and the clock act on two memories through real transactions."""

    @initialize()
    def start(self) -> None:
        self.store = MemoryRecordStore()
        self.store.take(PARTITION, "shard", EPOCH)
        self.clock = ManualClock()

    @rule(
        id=ids,
        origin=st.sampled_from((Origin.USER_INPUT, Origin.INFERENCE)),
        lifespan=st.sampled_from((None, 5.0, 30.0)),
        decays=st.booleans(),
        held=st.sampled_from((False, False, True)),
    )
    def creates(
        self, id: str, origin: Origin, lifespan: float | None, decays: bool, held: bool
    ) -> None:
        chosen: Lifespan = Forever() if lifespan is None else Decay(lifespan)
        if lifespan is not None and not decays:
            chosen = ExpiresAt(self.clock.now() + timedelta(seconds=lifespan))
        self.act(Create(Plaintext("red"), id=id, origin=origin, lifespan=chosen, legal_hold=held))

    @rule(some=st.lists(operations, min_size=1, max_size=4))
    def acts(self, some: list[Operation]) -> None:
        self.act(*some)

    @rule(
        some=st.lists(operations, min_size=1, max_size=3),
        moment=st.sampled_from((Moment.BEFORE, Moment.AFTER)),
    )
    def crashes(self, some: list[Operation], moment: Moment) -> None:
        """The store dies before or after the effect: all of it is there, or nothing."""
        plan = FaultPlan([Fault("commit", 1, StoreError("the disk is away"), moment)])
        try:
            self.act(*some, store=FaultyRecordStore(self.store, plan))
        except StoreError:
            return

    @rule()
    def sweeps(self) -> None:
        now = self.clock.now()
        due = []
        for cube in every_head(self.store, PARTITION):
            verdict = decide(cube, now, RULES)
            if verdict is not None and not verdict.held:
                due.append(Age(cube.id, verdict.move, verdict.cause, cube.version.number))
        outcomes = self.act(*due)
        # What a sweep has just seen, nothing forbids.
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
        for cube in every_head(self.store, PARTITION):
            verdict = decide(cube, now, RULES)
            assert verdict is None or verdict.held

    @rule(seconds=st.sampled_from((1, 10, 60)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def act(
        self, *some: Operation, store: FaultyRecordStore | MemoryRecordStore | None = None
    ) -> list[object]:
        batch = [
            Submission(SWEEPER if isinstance(one, Age) else ANN, Write("notes", one))
            for one in some
        ]
        used = store or self.store
        running = Transactions(PARTITION, EPOCH, used, OwnerGuard(), self.clock)
        _, outcomes = running.run(batch, self.store.last_lsn(PARTITION), True)
        return list(outcomes)

    def chain(self, id: str) -> list[MemCube]:
        key = CubeKey("acme", id)
        numbers = [info.number for info in self.store.versions(PARTITION, key, ALL, ALL)]
        found = [self.store.version(PARTITION, key, number) for number in reversed(numbers)]
        return [cube for cube in found if cube is not None]

    @invariant()
    def life_1_every_step_is_in_the_table(self) -> None:
        legal = {(start, to) for leads in MOVES.values() for start, to in leads.items()}
        # The clock may have moved it before the restoration did.
        legal |= {(state, State.ACTIVATED) for state in State}
        for id in IDS:
            chain = self.chain(id)
            for before, cube in pairwise(chain):
                assert (before.state, cube.state) in legal
                if before.state in GONE and cube.state not in GONE:
                    assert cube.version.change == "restore"
                if cube.state is State.ARCHIVED and before.state is not State.ARCHIVED:
                    assert cube.version.change == "archive"
                if cube.state is State.EXPIRED and before.state is not State.EXPIRED:
                    assert cube.version.change == "expire"

    @invariant()
    def life_4_what_is_frozen_is_only_thawed(self) -> None:
        for id in IDS:
            chain = self.chain(id)
            for before, cube in pairwise(chain):
                if before.frozen:
                    assert cube.version.change == "unfreeze"
                    kept = replace(cube, frozen=True, version=before.version)
                    assert replace(kept, descriptive=before.descriptive) == before

    @invariant()
    def life_1_the_log_tells_every_move_with_its_cause(self) -> None:
        """Replayed, it leads to the states that the store holds."""
        held: dict[str, State | None] = {}
        for event in self.store.events(PARTITION, 0, ALL):
            if event.outcome is not Outcome.DONE:
                continue
            id = event.cube_id or ""
            told = event.detail
            if event.operation == "create":
                made = self.store.version(PARTITION, CubeKey("acme", id), 1)
                # One that has been erased since was born in a state of birth all the same.
                held[id] = made.state if made and made.version.lsn == event.lsn else None
                continue
            if told:
                assert held[id] in (None, State(str(told["from"])))
                assert Cause(str(told["cause"]))
                own = event.principal == LIFECYCLE
                assert own or told["cause"] == "request"
                held[id] = State(str(told["to"])) if told["to"] else None
            if event.operation == ERASE:
                assert told["to"] is None
                held.pop(id)
        heads = {cube.id: cube.state for cube in every_head(self.store, PARTITION)}
        assert held.keys() == heads.keys()
        assert all(state in (None, heads[id]) for id, state in held.items())


class TestLIFE1Machine(LifeMachine.TestCase):  # type: ignore[misc, name-defined, valid-type]
    """No illegal state is reachable."""

    settings = settings(max_examples=80, stateful_step_count=30)
