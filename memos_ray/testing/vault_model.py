"""What a partition does with writes, as plainly as it can be said: what the vault is tested by.

The model knows nothing of planning, commits and caches: it takes one write after the other and
keeps, for each memory, the list of its versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import (
    Create,
    Delete,
    Freeze,
    Hold,
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
    VersionConflictError,
)
from memos_ray.testing.guards import ADMINISTRATOR, READ_ONLY

NAMESPACE = "notes"
CALLERS = (
    CallContext(Principal("acme", "user:ann")),
    CallContext(Principal("acme", "user:bob")),
    CallContext(Principal("other", "user:ann")),
)
IDS = ("a", "b")

ids = st.sampled_from(IDS)
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
    st.builds(Hold, ids, held=st.booleans(), expected=expected),
)
writes = st.builds(
    Write,
    st.sampled_from((NAMESPACE, NAMESPACE, NAMESPACE, READ_ONLY, "")),
    creates | revisions | revisions,
    st.sampled_from((None, None, "k1", "k2", "k3")),
    st.sampled_from((None, "why")),
)
batches = st.lists(st.builds(Submission, st.sampled_from(CALLERS), writes), min_size=1, max_size=6)
"""Few callers, memories and keys, so that they meet; creations without an id are still unminted."""


@dataclass(frozen=True)
class Snapshot:
    """What a rollback brings back."""

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
    """One partition.

    Attributes:
        memories: those that have not been erased.
        answers: by (tenant, principal, idempotency key): digest of the request, and its answer.
        lsn: end of the log.
    """

    partition: int
    memories: dict[CubeKey, Memory] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], tuple[str, Written]] = field(default_factory=dict)
    lsn: int = 0

    def readable(self, caller: Principal) -> dict[CubeKey, Memory]:
        """Returns the memories that a caller may read, deleted ones included."""
        return {
            key: memory
            for key, memory in self.memories.items()
            if key.tenant == caller.tenant and _may_read(caller, memory)
        }

    def write(self, submission: Submission) -> Written | type[ClientError]:
        """Takes one write and returns its answer, or the error that it gets."""
        caller, one = submission.context.principal, submission.write
        slot = (caller.tenant, caller.id, one.idempotency_key or "")
        if one.idempotency_key is not None and slot in self.answers:
            request, answer = self.answers[slot]
            if request != one.digest():
                return IdempotencyConflictError
            return replace(answer, replayed=True)
        outcome = self._decide(caller, one)
        if not isinstance(outcome, int):
            self.lsn += outcome in (NotFoundError, PermissionDeniedError)
            return outcome
        self.lsn += 1
        written = Written(one.operation.cube_id, outcome, self.partition, self.lsn)
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
        if not _may_change(caller, memory, operation):
            return PermissionDeniedError if _may_read(caller, memory) else NotFoundError
        if operation.expected not in (None, len(memory.chain)):
            return VersionConflictError
        thaw = isinstance(operation, Freeze) and not operation.frozen
        if memory.frozen and not thaw:
            return FrozenError
        if thaw and not memory.frozen:
            return IllegalStateError
        if isinstance(operation, Hold):
            if operation.held == memory.held:
                return IllegalStateError
            return self._hold(memory, operation)
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

    @staticmethod
    def _hold(memory: Memory, operation: Hold) -> int:
        memory.held = operation.held
        memory.chain.append(memory.chain[-1])
        return len(memory.chain)

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
        text = change.text
        if change.mode is UpdateMode.MERGE:
            return Snapshot(text or now.text, union)
        if text is None:
            return None
        if change.mode is UpdateMode.APPEND:
            return Snapshot(f"{now.text}\n{text}", union)
        return Snapshot(text, change.tags or ())

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


def _may_read(caller: Principal, memory: Memory) -> bool:
    shown = memory.visibility is not Visibility.PRIVATE or caller.id in memory.readers
    return shown or memory.owner == caller.id


def _may_change(caller: Principal, memory: Memory, operation: Operation) -> bool:
    if isinstance(operation, Hold):
        return caller.id == ADMINISTRATOR
    if memory.owner == caller.id:
        return True
    updates = isinstance(operation, Update | Restore | Rollback | Freeze)
    open_to_writers = memory.visibility is not Visibility.READ_ONLY
    return updates and open_to_writers and caller.id in memory.writers
