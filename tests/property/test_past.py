"""LIFE-3: what is read as of a moment equals a replay of the log up to it."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.vault.transactions import Transactions
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Decay, ExpiresAt, Forever
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.past import compare, there_at, way_back
from memos_ray.core.lifecycle.states import GONE
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
    Update,
    UpdateMode,
    Write,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import FrozenError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_store import MemoryRecordStore

PARTITION, EPOCH, ALL = 2, 1, 10**9
ANN = CallContext(Principal("acme", "user:ann"))
SWEEPER = CallContext(Principal("acme", LIFECYCLE))
IDS = ("a", "b", "c")
RULES = SweepRules(0.3, deleted_s=40.0, expired_s=40.0)

ids = st.sampled_from(IDS)
texts = st.sampled_from(("red", "green", "blue"))
operations = st.one_of(
    st.builds(
        Create,
        texts.map(Plaintext),
        id=ids,
        lifespan=st.sampled_from((Forever(), Decay(5.0))),
    ),
    st.builds(Update, ids, st.just(UpdateMode.OVERWRITE), text=texts),
    st.builds(Rollback, ids, to=st.integers(1, 3)),
    st.builds(Delete, ids, hard=st.sampled_from((False, False, True))),
    st.builds(Restore, ids),
    st.builds(Freeze, ids, frozen=st.booleans()),
    st.builds(Archive, ids),
)


class PastMachine(RuleBasedStateMachine):
    """Memories change; every moment that has passed is looked at again."""

    @initialize()
    def start(self) -> None:
        self.store = MemoryRecordStore()
        self.store.take(PARTITION, "shard", EPOCH)
        self.clock = ManualClock()
        self.moments: list[datetime] = []

    @rule(some=st.lists(operations, min_size=1, max_size=4))
    def acts(self, some: list[Operation]) -> None:
        self.act(*some)

    @rule(id=ids, text=texts, seconds=st.sampled_from((2, 20)))
    def creates_what_expires(self, id: str, text: str, seconds: int) -> None:
        self.clock.advance(1)
        until = self.clock.now() + timedelta(seconds=seconds)
        self.act(Create(Plaintext(text), id=id, lifespan=ExpiresAt(until)))

    @rule()
    def sweeps(self) -> None:
        now = self.clock.now()
        for cube in self.heads():
            verdict = decide(cube, now, RULES)
            if verdict is not None and not verdict.held:
                self.act(Age(cube.id, verdict.move, verdict.cause, cube.version.number))

    @rule(seconds=st.sampled_from((1, 10)))
    def time_passes(self, seconds: int) -> None:
        self.moments.append(self.clock.now())
        self.clock.advance(seconds)

    @precondition(lambda self: self.moments)
    @rule(data=st.data())
    def goes_back(self, data: st.DataObject) -> None:
        """Each memory is what it was, unless it is frozen or has been erased; then nothing is due.

        What has expired by the record comes back, for here nobody asks a policy.
        """
        at = data.draw(st.sampled_from(self.moments))
        self.clock.advance(1)
        for head in self.heads():
            then = there_at(self.chain(head.id), at)
            way = way_back(head, then, self.clock.now())
            if way is None:
                continue
            steps: list[Operation] = [Delete(head.id)] if way.delete else []
            steps += [Archive(head.id)] if way.archive else []
            if way.restore is not None:
                steps.append(Restore(head.id, state_of=way.restore))
            steps += [] if way.to is None else [Rollback(head.id, way.to, with_state=True)]
            outcomes = self.act(*steps)
            failed = [one for one in outcomes if isinstance(one, Exception)]
            assert all(isinstance(one, FrozenError) for one in failed)
            if failed:
                continue
            (now_head,) = [cube for cube in self.heads() if cube.id == head.id]
            gone = now_head.state in GONE
            assert gone == (then is None)
            if then is not None:
                assert now_head.payload == then.payload
                away = State.ARCHIVED
                assert (now_head.state is away) == (then.state is away)
                assert way_back(now_head, then, self.clock.now()) is None

    def act(self, *some: Operation) -> list[object]:
        batch = [
            Submission(SWEEPER if isinstance(one, Age) else ANN, Write("notes", one))
            for one in some
        ]
        running = Transactions(PARTITION, EPOCH, self.store, OwnerGuard(), self.clock)
        _, outcomes = running.run(batch, self.store.last_lsn(PARTITION), True)
        return list(outcomes)

    def heads(self) -> list[MemCube]:
        return every_head(self.store, PARTITION)

    def chain(self, id: str) -> list[MemCube]:
        key = CubeKey("acme", id)
        return self.store.histories(PARTITION, [key]).get(key, [])

    def replayed(self, at: datetime) -> dict[str, MemCube]:
        """What the log up to a moment leads to, of memories that have not been erased since."""
        newest: dict[str, int] = {}
        for event in self.store.events(PARTITION, 0, ALL):
            if event.outcome is not Outcome.DONE or event.cube_id is None:
                continue
            if event.operation == ERASE:
                # It is gone from every moment, earlier ones as well.
                newest.pop(event.cube_id, None)
            elif event.at <= at and event.version is not None:
                newest[event.cube_id] = event.version
        found: dict[str, MemCube] = {}
        for id, number in newest.items():
            cube = self.store.version(PARTITION, CubeKey("acme", id), number)
            assert cube is not None
            over = cube.governance.lifespan
            ended = isinstance(over, ExpiresAt) and over.at <= at
            if cube.state not in GONE and not ended:
                found[id] = cube
        return found

    @invariant()
    def life_3_as_of_equals_a_replay_of_the_log(self) -> None:
        for at in self.moments[-6:]:
            replayed = self.replayed(at)
            seen = {cube.id: there_at(self.chain(cube.id), at) for cube in self.heads()}
            assert {id: cube for id, cube in seen.items() if cube is not None} == replayed
            rows = self.store.as_of(PARTITION, "acme", "notes", at, "space")
            stored = {cube.id: cube for cube, _ in rows if there_at([cube], at) is not None}
            assert stored == replayed

    @invariant()
    def life_3_a_comparison_is_of_two_replays(self) -> None:
        for since, until in zip(self.moments[-4:], self.moments[-3:], strict=False):
            before, after = self.replayed(since), self.replayed(until)
            for cube in self.heads():
                found = compare(self.chain(cube.id), since, until)
                then, later = before.get(cube.id), after.get(cube.id)
                if found is None:
                    assert then == later
                    continue
                assert found.before == (then.version.number if then else None)
                assert found.after == (later.version.number if later else None)
                assert State.DELETED not in {one.state for one in (then, later) if one}


class TestLIFE3Machine(PastMachine.TestCase):  # type: ignore[misc, name-defined, valid-type]
    """The past is the log's."""

    settings = settings(max_examples=60, stateful_step_count=25)
