"""Plans moves of many texts at once: bodies are cut and joined as they rest, not decoded.

What it makes is what `planning` makes of the same writes one by one, byte for byte; so are the
guards, which both ask: the policy, the version seen, the state machine. Moves are most of what a
sweep does, and a hundred thousand of them are no rare sight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import ParentRef, State, VersionInfo
from memos_ray.core.cube.decoding import decode, governance_of
from memos_ray.core.cube.facets import facets_of, to_micros
from memos_ray.core.cube.fingerprint import Fingerprint
from memos_ray.core.cube.metadata import ExpiresAt, Forever, Governance
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.lifecycle.states import lifespan_over, moved
from memos_ray.core.vault.changes import BY_MOVE, cause_of, move_of
from memos_ray.core.vault.checking import check_expected, checked, content_away
from memos_ray.core.vault.entries import PlannedLog, move_told
from memos_ray.core.vault.log import Commit, CubeKey, Moved, Outcome, Resting
from memos_ray.core.vault.operations import Age, Archive, Delete, Operation, Restore, Write, Written
from memos_ray.core.vault.planning import GuardPort, Submission, judge
from memos_ray.errors import (
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
    UnauthenticatedError,
)

Moving = Archive | Restore | Delete | Age

_TEXT, _AWAY = b'{"text":', b'{"blob":'
_ERASURES = (Move.ERASE, Move.COLLECT)
_FOREVER = orjson.dumps(Forever())
_LIFESPAN = b',"lifespan":'


def moves(submissions: Sequence[Submission]) -> frozenset[CubeKey] | None:
    """Returns the memories that writes move, each once; nothing when they do anything else.

    Writes that a retry must find again, or that are about a branch that has no version of its own
    yet, are none.
    """
    keys: set[CubeKey] = set()
    for one in submissions:
        write = one.write
        if not _is_move(write.operation) or write.idempotency_key is not None:
            return None
        if write.branched_at is not None or write.derived_from:
            return None
        keys.add(CubeKey(one.context.principal.tenant, write.operation.cube_id))
    return frozenset(keys) if len(keys) == len(submissions) else None


def _is_move(operation: Operation) -> bool:
    if isinstance(operation, Restore) and operation.state_of is not None:
        return False
    return isinstance(operation, Moving)


@dataclass(frozen=True, slots=True)
class Head:
    """A head of a text, as far as a move looks at it.

    Attributes:
        away: its content is archived where nobody can read it now.
    """

    id: str
    namespace: str
    number: int
    made_at: datetime
    state: State
    frozen: bool
    governance: Governance
    fingerprint: Fingerprint
    body: bytes
    parts: wire.Parts
    away: bool


def read(resting: Iterable[Resting]) -> dict[CubeKey, Head] | None:
    """Reads heads; nothing when one of them is no text.

    Raises:
        StoreCorruptError: a body is no cube.
    """
    heads: dict[CubeKey, Head] = {}
    for one in resting:
        parts = wire.cut(one.body)
        away = parts.payload.startswith(_AWAY)
        if not (away or parts.payload.startswith(_TEXT)):
            return None
        try:
            heads[one.key] = _head(one, parts, away)
        except (KeyError, TypeError, ValueError):
            # `from None`: the parser's message would quote the memory.
            raise StoreCorruptError("stored bytes are no cube") from None
    return heads


def _head(one: Resting, parts: wire.Parts, away: bool) -> Head:
    names, behind = orjson.loads(parts.start + b"0}"), orjson.loads(parts.behind)
    version = behind["version"]
    return Head(
        one.key.id,
        names["namespace"],
        version["number"],
        datetime.fromisoformat(version["created_at"]),
        State(behind["state"]),
        behind["frozen"],
        governance_of(orjson.loads(parts.rules)),
        Fingerprint(behind["fingerprint"]["simhash"], one.sketch),
        one.body,
        parts,
        away,
    )


@dataclass(slots=True)
class MovePlanner:
    """Collects moves of texts into one `Commit`, as `planning.Planner` does.

    Attributes:
        heads: of the memories concerned; each is moved once.
    """

    partition: int
    epoch: int
    last_lsn: int
    now: datetime
    guard: GuardPort
    heads: Mapping[CubeKey, Head]
    _log: PlannedLog = field(init=False)
    _moved: list[Moved] = field(default_factory=list)
    _erased: list[CubeKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._log = PlannedLog(self.last_lsn, self.now)

    def add(self, submission: Submission) -> Written | MemosError:
        """Plans one move and returns its outcome, valid once the commit is durable."""
        context, write = submission.context, submission.write
        key = CubeKey(context.principal.tenant, write.operation.cube_id)
        head = self.heads.get(key)
        try:
            checked(context, write)
            return self._plan(context, write, key, head)
        except (PermissionDeniedError, NotFoundError, UnauthenticatedError) as error:
            namespace = write.namespace or (head.namespace if head else "")
            self._log.tell(context, write, namespace, Outcome.DENIED, None, {"code": error.code})
            return error
        except MemosError as error:
            return error

    def commit(self) -> Commit:
        """Returns everything planned so far."""
        return Commit(
            self.partition,
            self.epoch,
            erased=tuple(self._erased),
            events=tuple(self._log.entries),
            moved=tuple(self._moved),
        )

    def denials(self) -> Commit:
        """Returns nothing of what was planned but the log entries of what was denied."""
        return Commit(self.partition, self.epoch, events=self._log.denied())

    def _plan(self, context: CallContext, write: Write, key: CubeKey, head: Head | None) -> Written:
        operation = write.operation
        if not isinstance(operation, Moving):
            raise TypeError(type(operation).__name__)
        if head is None or write.namespace not in ("", head.namespace):
            # In the words that a hidden memory is denied with.
            raise no_memory()
        if not isinstance(operation, Age):
            facets = facets_of(decode(head.body))
            judge(self.guard, context, operation, head, head.namespace, facets, self.now)
        move = move_of(operation)
        if head.away and move not in _ERASURES:
            raise content_away(head.id)
        check_expected(operation.expected, head.id, head.number)
        state = moved(head, move, self.now, cause_of(operation))
        number = None if state is None else head.number + 1
        told = move_told(operation, head.state, state)
        lsn = self._log.tell(context, write, head.namespace, Outcome.DONE, number, told)
        if state is None:
            self._erased.append(key)
        else:
            step = _Step(move, state, context.principal.id, write.reason, self.now, lsn)
            self._moved.append(_next(head, key, step))
        return Written(key.id, number or 0, self.partition, lsn)


@dataclass(frozen=True, slots=True)
class _Step:
    """What a move makes of a memory, and who makes it."""

    move: Move
    state: State
    author: str
    reason: str | None
    now: datetime
    lsn: int


def _next(head: Head, key: CubeKey, step: _Step) -> Moved:
    """Makes the next version of a text, in another state."""
    at, number = max(step.now, head.made_at), head.number + 1
    parts = head.parts.updated(orjson.dumps(at))
    lifespan = head.governance.lifespan
    # A restoration ends a lifespan that is over.
    if step.move is Move.RESTORE and lifespan_over(head, step.now):
        lifespan, parts = Forever(), replace(parts, rules=_forever(parts.rules))
    digest, change = parts.digest, BY_MOVE[step.move]
    parents = (ParentRef(key.id, head.number),)
    info = VersionInfo(number, digest, change, step.author, at, parents, step.reason, step.lsn)
    return Moved(
        key,
        head.namespace,
        number,
        change,
        step.state,
        step.author,
        step.reason,
        at,
        to_micros(lifespan.at) if isinstance(lifespan, ExpiresAt) else None,
        digest,
        step.lsn,
        parts.join(info, head.fingerprint, step.state, frozen=head.frozen),
    )


def _forever(rules: bytes) -> bytes:
    before, mark, after = rules.partition(_LIFESPAN)
    return before + mark + _FOREVER + after.partition(b"}")[2]
