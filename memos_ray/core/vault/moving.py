"""Plans moves of many texts at once: bodies are cut and joined as they rest, not decoded.

What it makes is what `planning` makes of the same writes one by one, byte for byte; so are the
guards, which both ask: the policy, the version seen, the state machine. Moves are most of what a
sweep does, and a hundred thousand of them are no rare sight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple

import orjson

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.decoding import descriptive_of, governance_of, lifespan_of
from memos_ray.core.cube.facets import Facets, FacetValue, flattened, to_micros
from memos_ray.core.cube.metadata import ExpiresAt, Forever, Lifespan
from memos_ray.core.cube.payload import Form
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
from memos_ray.core.vault.log import Commit, CubeKey, Moved, Outcome, Resting
from memos_ray.core.vault.operations import Age, Archive, Delete, Operation, Restore, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.quotas import Quotas
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
# Most memories of a namespace are governed alike.
_SAME = 64
_VISIBILITY = b',"visibility":'
_LIFESPAN, _HELD, _SKETCH = b',"lifespan":', b',"legal_hold":true}', b',"sketch":'
_STATES = {state.value: state for state in State}
_ALWAYS = Forever()
_FOREVER = orjson.dumps(_ALWAYS)


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


class Rules(NamedTuple):
    """What moves look at of the governance."""

    lifespan: Lifespan
    legal_hold: bool


class Head(NamedTuple):
    """A head of a text, as far as a move looks at it. A tuple: thousands are made at once.

    Attributes:
        away: its content is archived where nobody can read it now.
    """

    id: str
    namespace: str
    number: int
    made_at: datetime
    state: State
    frozen: bool
    governance: Rules
    sketch: str | None
    parts: wire.Parts
    away: bool

    @property
    def expires_at(self) -> int | None:
        """End of its lifespan, microseconds since 1970, if it has one."""
        lifespan = self.governance.lifespan
        return to_micros(lifespan.at) if isinstance(lifespan, ExpiresAt) else None


_NEAR = frozenset(("id", "namespace", "frozen", "expires_at"))


@lru_cache(maxsize=_SAME)
def _owner(start: bytes) -> str:
    return _parsed(start + b"}")["owner"]


class RestingFacets(Mapping[str, FacetValue]):
    """`facets_of` a head: what policies ask of every memory is at hand, the rest is parsed late."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._whole: Facets | None = None

    def __getitem__(self, name: str) -> FacetValue:
        if name == "owner":
            return _owner(self._head.parts.rules.partition(_VISIBILITY)[0])
        if name not in _NEAR:
            return self._all()[name]
        value: FacetValue | None = getattr(self._head, name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Facets:
        if self._whole is None:
            head, parts = self._head, self._head.parts
            try:
                about = descriptive_of(orjson.loads(parts.about))
                rules = governance_of(orjson.loads(parts.rules))
            except (KeyError, TypeError, ValueError):
                raise StoreCorruptError("stored bytes are no cube") from None
            where = head.id, head.namespace, head.state, head.frozen
            self._whole = flattened(*where, Form.PLAINTEXT, about, rules)
        return self._whole


def _parsed(part: bytes) -> dict[str, str]:
    try:
        held: dict[str, str] = orjson.loads(part)
    except ValueError:
        # `from None`: the parser's message would quote the memory.
        raise StoreCorruptError("stored bytes are no cube") from None
    return held


def read(resting: Iterable[Resting]) -> dict[CubeKey, Head] | None:
    """Reads heads; nothing when one of them is no text.

    Raises:
        StoreCorruptError: a body is no cube.
    """
    heads: dict[CubeKey, Head] = {}
    for key, namespace, number, state, frozen, sketch, body in resting:
        parts = wire.cut(body)
        away = parts.payload.startswith(_AWAY)
        if not (away or parts.payload.startswith(_TEXT)):
            return None
        try:
            rules, made_at = _rules(parts.rules), parts.made_at
        except (KeyError, TypeError, ValueError):
            # `from None`: the parser's message would quote the memory.
            raise StoreCorruptError("stored bytes are no cube") from None
        heads[key] = Head(
            key.id, namespace, number, made_at, _STATES[state], frozen, rules, sketch, parts, away
        )
    return heads


@lru_cache(maxsize=_SAME)
def _rules(rules: bytes) -> Rules:
    lifespan = rules.partition(_LIFESPAN)[2].partition(b"}")[0] + b"}"
    return Rules(
        _ALWAYS if lifespan == _FOREVER else lifespan_of(orjson.loads(lifespan)),
        rules.endswith(_HELD),
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """What moves of one call have in common: worked out once, not for each memory.

    Attributes:
        move: what the state machine calls it.
        verb: what the log calls it.
        author, reason, moment: JSON of who moves, why, and when.
        told: what the log tells of a move between two states.
    """

    context: CallContext
    move: Move
    cause: Cause
    verb: str
    by_age: bool
    author: bytes
    reason: bytes
    moment: bytes
    told: dict[tuple[State, State | None], Detail] = field(default_factory=dict)


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
            orjson.dumps(context.principal.id),
            orjson.dumps(reason),
            orjson.dumps(self.now),
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
        state = moved(head, move, self.now, way.cause)
        before, after = partial(_weight, head, head.state), partial(_weight, head, state)
        self.quotas.weigh(key, head.namespace, before, after, by_age=by_age)
        number = None if state is None else head.number + 1
        change = head.state, state
        told = way.told.get(change)
        if told is None:
            told = way.told[change] = move_told(operation, *change)
        lsn = self._log.add(context, way.verb, key.id, head.namespace, Outcome.DONE, number, told)
        if state is None:
            self._erased.append(key)
        else:
            self._moved.append(_next(head, key, way, state, reason, self.now, lsn))
        return Written(key.id, number or 0, self.partition, lsn)


def _weight(head: Head, state: State | None) -> int | None:
    """Returns what a text counts for in a state; see `quotas.weight`."""
    if state in (None, State.DELETED):
        return 0
    return None if head.away else len(_parsed(head.parts.payload)["text"].encode())


def _next(
    head: Head, key: CubeKey, way: _Way, state: State, reason: str | None, now: datetime, lsn: int
) -> Moved:
    """Makes the next version of a text, in another state."""
    start, payload, about, rules, version, fingerprint = head.parts
    number, change, until = head.number + 1, BY_MOVE[way.move], head.expires_at
    # A restoration ends a lifespan that is over.
    if way.move is Move.RESTORE and lifespan_over(head, now):
        until, rules = None, _forever(rules)
    at, moment = now, way.moment
    if head.made_at > now:
        at, moment = head.made_at, orjson.dumps(head.made_at)
    about = wire.updated(about, moment)
    digest = wire.digest_of(payload, about, rules)
    parents = b'[{"cube_id":%b,"version":%d}]' % (orjson.dumps(key.id), head.number)
    version = (
        b'{"number":%d,"digest":"%b","change":"%b","author":%b,"created_at":%b,"parents":%b,'
        b'"reason":%b,"lsn":%d}'
    ) % (
        *(number, digest.encode(), change.encode(), way.author, moment, parents),
        *(way.reason, lsn),
    )
    fingerprint = b'%b,"sketch":%b}' % (
        fingerprint.partition(_SKETCH)[0],
        orjson.dumps(head.sketch),
    )
    parts = wire.Parts(start, payload, about, rules, version, fingerprint)
    body = wire.join(parts, state, frozen=head.frozen)
    author = way.context.principal.id
    made = author, reason, at, until, digest, parents, lsn, body
    return Moved(key, head.namespace, number, change, state, *made)


def _forever(rules: bytes) -> bytes:
    before, mark, after = rules.partition(_LIFESPAN)
    return before + mark + _FOREVER + after.partition(b"}")[2]
