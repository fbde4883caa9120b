"""The vault against a model: random batches, retries, lost and unacknowledged commits.

The model knows nothing of planning: it takes one write after the other and keeps, for each memory,
the list of its versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.transactions import Transactions
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube, ParentRef, State
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import ERASE, CubeKey, Outcome
from memos_ray.core.vault.operations import (
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
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    AlreadyExistsError,
    ClientError,
    FrozenError,
    IdempotencyConflictError,
    IllegalStateError,
    InvalidInputError,
    LegalHoldError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    VersionConflictError,
)
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import READ_ONLY, OwnerGuard
from memos_ray.testing.record_store import MemoryRecordStore

PARTITION, EPOCH = 5, 3
CALLERS = (
    CallContext(Principal("acme", "user:ann")),
    CallContext(Principal("acme", "user:bob")),
    CallContext(Principal("other", "user:ann")),
)

ids = st.sampled_from(("a", "b"))
expected = st.none() | st.integers(1, 4)
texts = st.sampled_from(("red", "green", "blue"))
tags = st.sampled_from(((), ("x",), ("x", "y")))
names = st.sampled_from(((), ("user:bob",), ("user:ann", "user:bob")))
visibilities = st.sampled_from((None, *Visibility))

creates = st.builds(
    Create,
    texts.map(Plaintext),
    id=st.none() | ids,
    tags=tags,
    visibility=visibilities,
    writers=names,
    legal_hold=st.sampled_from((False, False, False, True)),
)
updates = st.builds(
    Update, ids, st.sampled_from(UpdateMode), text=st.none() | texts, tags=tags, expected=expected
)
revisions = st.one_of(
    updates,
    updates,
    st.builds(
        Share, ids, visibilities, readers=names, writers=names, remove=names, expected=expected
    ),
    st.builds(Delete, ids, hard=st.booleans(), expected=expected),
    st.builds(Restore, ids, expected=expected),
    st.builds(Rollback, ids, to=st.integers(0, 4), expected=expected),
    st.builds(Freeze, ids, frozen=st.booleans(), expected=expected),
)
writes = st.builds(
    Write,
    st.sampled_from(("notes", "notes", "notes", READ_ONLY, "")),
    creates | revisions | revisions,
    st.sampled_from((None, None, "k1", "k2", "k3")),
    st.sampled_from((None, "why")),
)
batches = st.lists(st.builds(Submission, st.sampled_from(CALLERS), writes), min_size=1, max_size=6)


@dataclass(frozen=True)
class Snapshot:
    text: str
    tags: tuple[str, ...]


@dataclass
class Memory:
    """A memory as the model sees it: content by version, and what is not rolled back."""

    owner: str
    visibility: Visibility
    held: bool
    chain: list[Snapshot]
    readers: list[str] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    sharers: list[str] = field(default_factory=list)
    deleted: bool = False
    frozen: bool = False


@dataclass
class Model:
    memories: dict[CubeKey, Memory] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], tuple[str, Written]] = field(default_factory=dict)
    lsn: int = 0

    def write(self, submission: Submission) -> Written | type[ClientError]:
        caller, one = submission.context.principal, submission.write
        slot = (caller.tenant, caller.id, one.idempotency_key or "")
        if one.idempotency_key is not None and slot in self.answers:
            request, answer = self.answers[slot]
            return (
                replace(answer, replayed=True)
                if request == one.digest()
                else (IdempotencyConflictError)
            )
        outcome = self._decide(caller, one)
        if not isinstance(outcome, int):
            self.lsn += outcome in (NotFoundError, PermissionDeniedError)
            return outcome
        self.lsn += 1
        written = Written(one.operation.cube_id, outcome, PARTITION, self.lsn)
        if one.idempotency_key is not None:
            self.answers[slot] = one.digest(), written
        return written

    def _decide(self, caller: Principal, one: Write) -> int | type[ClientError]:
        """Applies one write and returns the number of the version, or says why not."""
        operation, key = one.operation, CubeKey(caller.tenant, one.operation.cube_id)
        memory = self.memories.get(key)
        if isinstance(operation, Create):
            return self._create(caller, one.namespace, operation, key)
        if memory is None or one.namespace == READ_ONLY:
            return NotFoundError
        if memory.owner != caller.id and not (
            isinstance(operation, Update | Restore | Rollback | Freeze)
            and caller.id in memory.writers
        ):
            hidden = memory.visibility is Visibility.PRIVATE and caller.id not in memory.readers
            return NotFoundError if hidden else PermissionDeniedError
        if operation.expected not in (None, len(memory.chain)):
            return VersionConflictError
        thaw = isinstance(operation, Freeze) and not operation.frozen
        if memory.frozen and not thaw:
            return FrozenError
        if thaw and not memory.frozen:
            return IllegalStateError
        if isinstance(operation, Delete) and memory.held:
            return LegalHoldError
        erasing = isinstance(operation, Delete) and operation.hard
        if memory.deleted != isinstance(operation, Restore) and not (memory.deleted and erasing):
            return IllegalStateError
        if erasing:
            del self.memories[key]
            return 0
        return self._revise(memory, operation)

    def _create(
        self, caller: Principal, namespace: str, operation: Create, key: CubeKey
    ) -> int | type[ClientError]:
        if not namespace:
            return InvalidInputError
        if namespace == READ_ONLY:
            return PermissionDeniedError
        if key in self.memories:
            return AlreadyExistsError
        assert isinstance(operation.payload, Plaintext)
        self.memories[key] = Memory(
            caller.id,
            operation.visibility or Visibility.PRIVATE,
            operation.legal_hold,
            [Snapshot(operation.payload.text, operation.tags)],
            writers=list(operation.writers),
        )
        return 1

    def _revise(self, memory: Memory, operation: Operation) -> int | type[ClientError]:
        now = memory.chain[-1]
        match operation:
            case Update():
                after = self._updated(now, operation)
                if after in (None, now):
                    return InvalidInputError
                now = after
            case Share():
                if not self._share(memory, operation):
                    return InvalidInputError
            case Delete():
                memory.deleted = True
            case Restore():
                memory.deleted = False
            case Rollback(to=to):
                if not 0 < to < len(memory.chain):
                    return InvalidInputError
                now = memory.chain[to - 1]
            case Freeze(frozen=frozen):
                memory.frozen = frozen
        memory.chain.append(now)
        return len(memory.chain)

    @staticmethod
    def _updated(now: Snapshot, change: Update) -> Snapshot | None:
        union = (*now.tags, *(tag for tag in change.tags or () if tag not in now.tags))
        match change.mode, change.text:
            case ((UpdateMode.APPEND | UpdateMode.OVERWRITE), None):
                return None
            case UpdateMode.APPEND, text:
                return Snapshot(f"{now.text}\n{text}", union)
            case UpdateMode.OVERWRITE, text:
                return Snapshot(text, change.tags or ())
            case _, text:
                return Snapshot(text or now.text, union)

    @staticmethod
    def _share(memory: Memory, change: Share) -> bool:
        changed = change.visibility not in (None, memory.visibility)
        memory.visibility = change.visibility or memory.visibility
        for scope, added in (
            (memory.readers, change.readers),
            (memory.writers, change.writers),
            (memory.sharers, change.sharers),
        ):
            before = list(scope)
            scope.extend(name for name in added if name not in scope)
            scope[:] = [name for name in scope if name not in change.remove]
            changed |= before != scope
        return changed


class VaultMachine(RuleBasedStateMachine):
    """Batches go through the real plan and commit, and one by one through the model."""

    @initialize()
    def start(self) -> None:
        self.real = MemoryRecordStore()
        self.real.take(PARTITION, "shard", EPOCH)
        self.clock = ManualClock()
        self.model = Model()
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
        keys = {CubeKey(caller.principal.tenant, id) for caller in CALLERS for id in ("a", "b")}
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
