"""Plans moves of many texts at once: bodies are cut and joined as they rest, not decoded.

What it makes is what `planning` makes of the same writes one by one, byte for byte; so are the
guards, which both ask: the policy, the version seen, the state machine. Moves are most of what a
sweep does, and a hundred thousand of them are no rare sight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple

import orjson

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, State
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import lifespan_over, moved
from memos_ray.core.vault.changes import BY_MOVE, cause_of, move_of
from memos_ray.core.vault.checking import (
    check_circumstances,
    check_expected,
    checked,
    content_away,
)
from memos_ray.core.vault.entries import Detail, PlannedLog, move_told, verb_of
from memos_ray.core.vault.guarding import GuardPort, judge
from memos_ray.core.vault.log import Commit, CubeKey, Moved, Outcome
from memos_ray.core.vault.operations import Age, Archive, Delete, Operation, Restore, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.quotas import Quotas
from memos_ray.core.vault.resting import WEIGHTLESS, Head, RestingFacets, forever, weight
from memos_ray.errors import (
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
    UnauthenticatedError,
)

Moving = Archive | Restore | Delete | Age

_ERASURES = (Move.ERASE, Move.COLLECT)
_SKETCH = b',"sketch":'


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
    if isinstance(operation, Age) and operation.rules is not None:
        return False
    return isinstance(operation, Moving)


class _Made(NamedTuple):
    """What a move makes of memories that stand alike.

    Attributes:
        said: JSON of what their versions say between their digests and their parents.
    """

    state: State
    change: Change
    said: bytes


class _End(NamedTuple):
    """Where a move leads memories that stand alike.

    Attributes:
        made: nothing when they are erased.
        told: what the log tells of it.
        weighs: whether it changes what their texts count for.
    """

    made: _Made | None
    told: Detail
    weighs: bool


@dataclass(frozen=True, slots=True)
class _Way:
    """What moves of one call have in common: worked out once, not for each memory.

    Attributes:
        move: what the state machine calls it.
        verb: what the log calls it.
        moment: JSON of when.
        why: JSON of what versions say between their parents and the LSN.
        ends: where memories end that stand alike: in a state, frozen or not, under the same rules.
    """

    context: CallContext
    move: Move
    cause: Cause
    verb: str
    by_age: bool
    moment: bytes
    why: bytes
    ends: dict[tuple[State, bool, int], _End] = field(default_factory=dict)


@dataclass(slots=True)
class MovePlanner:
    """Collects moves of texts into one `Commit`, as `planning.Planner` does.

    Attributes:
        heads: of the memories concerned; each is moved once.
        quotas: what weighs the texts.
    """

    partition: int
    epoch: int
    last_lsn: int
    now: datetime
    guard: GuardPort
    heads: Mapping[CubeKey, Head]
    quotas: Quotas
    _log: PlannedLog = field(init=False)
    _moved: list[Moved] = field(default_factory=list)
    _erased: list[CubeKey] = field(default_factory=list)
    _stowed: list[StoredVersion] = field(default_factory=list)
    _ways: dict[tuple[int | str | None, ...], _Way] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._log = PlannedLog(self.last_lsn, self.now)

    def add(self, submission: Submission) -> Written | MemosError:
        """Plans one move and returns its outcome, valid once the commit is durable.

        Raises:
            StoreCorruptError: what its memory says of itself cannot be read.
        """
        context, write = submission.context, submission.write
        key = CubeKey(context.principal.tenant, write.operation.cube_id)
        head = self.heads.get(key)
        try:
            if head is None or write.namespace not in ("", head.namespace):
                checked(context, write)
                # In the words that a hidden memory is denied with.
                raise no_memory()
            operation, reason = write.operation, write.reason
            if not isinstance(operation, Moving):
                raise TypeError(type(operation).__name__)
            # What is stored has names that can be.
            way = self._way(context, operation, reason)
            return self._plan(way, operation, reason, key, head)
        except (PermissionDeniedError, NotFoundError, UnauthenticatedError) as error:
            namespace = write.namespace or (head.namespace if head else "")
            self._log.tell(context, write, namespace, Outcome.DENIED, None, {"code": error.code})
            return error
        except StoreCorruptError:
            raise
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
            stowed=tuple(self._stowed),
        )

    def denials(self) -> Commit:
        """Returns nothing of what was planned but the log entries of what was denied."""
        return Commit(self.partition, self.epoch, events=self._log.denied())

    def _way(self, context: CallContext, operation: Moving, reason: str | None) -> _Way:
        # An object is itself for as long as a way holds it.
        named: tuple[int | str | None, ...]
        if isinstance(operation, Age):
            named = id(context), reason, operation.move, operation.cause
        elif isinstance(operation, Delete):
            named = id(context), reason, "delete", operation.hard
        else:
            named = id(context), reason, type(operation).__name__
        way = self._ways.get(named)
        if way is not None:
            return way
        check_circumstances(context, reason)
        way = self._ways[named] = _Way(
            context,
            move_of(operation),
            cause_of(operation),
            verb_of(operation),
            isinstance(operation, Age),
            orjson.dumps(self.now),
            b',"reason":%b,"lsn":' % orjson.dumps(reason),
        )
        return way

    def _plan(
        self, way: _Way, operation: Moving, reason: str | None, key: CubeKey, head: Head
    ) -> Written:
        context, move, by_age = way.context, way.move, way.by_age
        if not by_age:
            facets = RestingFacets(head)
            judge(self.guard, context, operation, head, head.namespace, facets, self.now)
        if head.away and move not in _ERASURES:
            raise content_away(head.id)
        expected = operation.expected
        if expected is not None:
            check_expected(expected, head.id, head.number)
        # The rules are themselves for as long as their heads are held.
        alike = head.state, head.frozen, id(head.governance)
        end = way.ends.get(alike)
        if end is None:
            end = way.ends[alike] = self._end(way, operation, head)
        made, told, weighs = end
        if weighs:
            then = made.state if made else None
            before, after = partial(weight, head, head.state), partial(weight, head, then)
            self.quotas.weigh(key, head.namespace, before, after, by_age=by_age)
        number = head.number + 1 if made else None
        lsn = self._log.add(context, way.verb, key.id, head.namespace, Outcome.DONE, number, told)
        if made is None:
            self._erased.append(key)
        else:
            stub = operation.stub if isinstance(operation, Age) else None
            if stub is not None and b'"digest":"%b"' % stub.digest.encode() in head.parts.version:
                self._stowed.append(stub)
            else:
                # A memory that was erased and made anew may have the number that is expected.
                stub = None
            self._moved.append(_next(head, key, way, made, reason, self.now, lsn, stub))
        return Written(key.id, number or 0, self.partition, lsn)

    def _end(self, way: _Way, operation: Moving, head: Head) -> _End:
        state, made = moved(head, way.move, self.now, way.cause), None
        if state is not None:
            change = BY_MOVE[way.move]
            made = _Made(state, change, _said(way.context, change, way.moment))
        weighs = state in WEIGHTLESS or head.state in WEIGHTLESS
        return _End(made, move_told(operation, head.state, state), weighs)


def _said(context: CallContext, change: Change, moment: bytes) -> bytes:
    values = orjson.dumps(change), orjson.dumps(context.principal.id), moment
    return b'","change":%b,"author":%b,"created_at":%b,"parents":' % values


def _next(
    head: Head,
    key: CubeKey,
    way: _Way,
    made: _Made,
    reason: str | None,
    now: datetime,
    lsn: int,
    stub: StoredVersion | None,
) -> Moved:
    """Makes the next version of a text, in another state.

    Args:
        stub: says where the content is that it shares with the version before.
    """
    start, payload, about, rules, version, fingerprint = head.parts
    (state, change, said), number, until = made, head.number + 1, head.expires_at
    # A restoration ends a lifespan that is over.
    if way.move is Move.RESTORE and lifespan_over(head, now):
        until, rules = None, forever(rules)
    at, moment = now, way.moment
    if head.made_at > now:
        at, moment = head.made_at, orjson.dumps(head.made_at)
        said = _said(way.context, change, moment)
    about = wire.updated(about, moment)
    digest = wire.digest_of(payload, about, rules)
    parents = b'[{"cube_id":%b,"version":%d}]' % (orjson.dumps(key.id), head.number)
    told = number, digest.encode(), said, parents, way.why, lsn
    version = b'{"number":%d,"digest":"%b%b%b%b%d}' % told
    fingerprint = b'%b,"sketch":%b}' % (
        fingerprint.partition(_SKETCH)[0],
        orjson.dumps(head.sketch),
    )
    rests, apart = payload, None
    if stub is not None:
        first, last = wire.payload_at(stub.body)
        rests, apart = stub.body[first:last], payload
    parts = wire.Parts(start, rests, about, rules, version, fingerprint)
    body = wire.join(parts, state, frozen=head.frozen)
    author = way.context.principal.id
    rest = author, reason, at, until, digest, parents, lsn, body, apart
    return Moved(key, head.namespace, number, change, state, *rest)
