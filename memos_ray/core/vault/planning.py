"""Plans one group commit: many callers' writes, each with its own outcome, in one transaction.

The shard is the only writer of its partition, so what was read before planning is still true when
the commit's fence check succeeds. Writes are planned in order, and each sees those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import orjson

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import Facets, facets_of, moved_facets
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.vault import storable
from memos_ray.core.vault.changes import Revision, comes_back, create, move_of, revise
from memos_ray.core.vault.checking import check_content, check_sources, checked
from memos_ray.core.vault.entries import (
    DERIVE,
    DERIVED,
    LEARN,
    THROUGH,
    Detail,
    extraction_told,
    move_told,
    only_moved,
    verb_of,
)
from memos_ray.core.vault.log import Commit, CubeKey, Event, Outcome, Reply
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
    Write,
    Written,
    target_of,
)
from memos_ray.errors import (
    AlreadyExistsError,
    IdempotencyConflictError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

_ACTIONS: Mapping[type[Operation], Action] = {
    Create: Action.CREATE,
    Update: Action.UPDATE,
    Share: Action.SHARE,
    Delete: Action.DELETE,
    Restore: Action.UPDATE,
    Rollback: Action.UPDATE,
    Freeze: Action.UPDATE,
    Archive: Action.UPDATE,
}


class GuardPort(Protocol):
    """The policy of one tenant, as planning needs it."""

    def check(
        self, context: CallContext, action: Action, namespace: str, facets: Facets, now: datetime
    ) -> None:
        """Lets the call pass or raises.

        Args:
            facets: of the memory concerned; for a creation, of the one about to be made.
            now: the moment to decide for.

        Raises:
            PermissionDeniedError: the caller may see the memory, but not do this.
            NotFoundError: the caller may not even see it.
        """
        ...

    def default_visibility(self, tenant: str, namespace: str) -> Visibility:
        """Returns the visibility of new memories that do not say theirs."""
        ...


@crossing
@dataclass(frozen=True, slots=True)
class Submission:
    """One write with its caller."""

    context: CallContext
    write: Write


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read before planning.

    Attributes:
        heads: cubes concerned.
        replies: idempotency keys by (tenant, principal).
        targets: (cube, number) of versions to go back to, see `target_of`.
    """

    heads: frozenset[CubeKey]
    replies: Mapping[tuple[str, str], tuple[str, ...]]
    targets: frozenset[tuple[CubeKey, int]]


def needs(submissions: Sequence[Submission], *, trust_minted: bool = True) -> Needs:
    """Collects what a batch of writes refers to.

    Args:
        trust_minted: a freshly minted id cannot be taken, so that only a chosen one, or a retry,
            needs the look-up.
    """
    heads: set[CubeKey] = set()
    targets: set[tuple[CubeKey, int]] = set()
    replies: dict[tuple[str, str], list[str]] = {}
    for submission in submissions:
        principal, write = submission.context.principal, submission.write
        key = CubeKey(principal.tenant, write.operation.cube_id)
        minted = isinstance(write.operation, Create) and write.operation.id is None
        if not (minted and trust_minted) or write.retried:
            heads.add(key)
        sources = [cube_id for cube_id, _ in write.derived_from]
        sources += write.learnt.ids if write.learnt else ()
        heads.update(CubeKey(principal.tenant, cube_id) for cube_id in sources)
        if (number := target_of(write.operation)) is not None:
            targets.add((key, number))
        if write.idempotency_key is not None:
            replies.setdefault((principal.tenant, principal.id), []).append(write.idempotency_key)
    return Needs(
        frozenset(heads),
        {scope: tuple(keys) for scope, keys in replies.items()},
        frozenset(targets),
    )


@dataclass(slots=True)
class Planner:
    """Collects writes into one `Commit`.

    Attributes:
        heads: newest versions of the cubes concerned; kept up to date while planning.
        replies: stored answers by (tenant, principal, key).
        targets: older versions that rollbacks go to.
    """

    partition: int
    epoch: int
    last_lsn: int
    now: datetime
    guard: GuardPort
    heads: dict[CubeKey, MemCube]
    replies: dict[tuple[str, str, str], Reply]
    targets: Mapping[tuple[CubeKey, int], MemCube]
    _cubes: list[tuple[MemCube, Facets]] = field(default_factory=list)
    _erased: dict[CubeKey, None] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _new_replies: list[Reply] = field(default_factory=list)
    _learnt: set[tuple[CubeKey, str]] = field(default_factory=set)

    def add(self, submission: Submission) -> Written | MemosError:
        """Plans one write and returns its outcome, valid once the commit is durable.

        Whatever is wrong with a write, its own policy included, concerns no other write.
        """
        context, write = submission.context, submission.write
        try:
            request = checked(context, write)
            return self._replay(context, write, request) or self._plan(context, write, request)
        except (PermissionDeniedError, NotFoundError, UnauthenticatedError) as error:
            self._log_denial(context, write, error)
            return error
        except MemosError as error:
            return error

    def commit(self) -> Commit:
        """Returns everything planned so far."""
        return Commit(
            self.partition,
            self.epoch,
            tuple(cube for cube, _ in self._cubes),
            tuple(self._erased),
            tuple(self._events),
            tuple(self._new_replies),
            tuple(facets for _, facets in self._cubes),
        )

    def denials(self) -> Commit:
        """Returns nothing of what was planned but the log entries of what was denied."""
        denied = [event for event in self._events if event.outcome is Outcome.DENIED]
        numbered = enumerate(denied, start=self.last_lsn + 1)
        events = tuple(replace(event, lsn=lsn) for lsn, event in numbered)
        return Commit(self.partition, self.epoch, events=events)

    def _replay(self, context: CallContext, write: Write, request: str) -> Written | None:
        principal, operation = context.principal, write.operation
        if write.idempotency_key is None:
            minted = isinstance(operation, Create) and operation.id is None
            head = self.heads.get(CubeKey(principal.tenant, operation.cube_id))
            if not (write.retried and minted) or head is None:
                return None
            if (head.governance.owner, head.namespace) != (principal.id, write.namespace):
                return None
            return Written(head.id, 1, self.partition, head.version.lsn, replayed=True)
        stored = self.replies.get((principal.tenant, principal.id, write.idempotency_key))
        if stored is None:
            return None
        if stored.request != request:
            raise IdempotencyConflictError("the idempotency key belongs to another request")
        return Written(**orjson.loads(stored.body), replayed=True)

    def _plan(self, context: CallContext, write: Write, request: str) -> Written:
        operation = write.operation
        key = CubeKey(context.principal.tenant, operation.cube_id)
        cube: MemCube | None
        facets: Facets = {}
        detail: Detail = {}
        if isinstance(operation, Create):
            namespace = write.namespace
            check_sources(write, context.principal.tenant, self.heads)
            cube, facets = self._create(context, write, operation, key)
            detail = extraction_told(context) if write.extract else {}
            storable.check_cube(cube, facets)
        else:
            head = self._head(write, key)
            flat = facets_of(head)
            namespace, cube = head.namespace, self._revise(context, write, operation, head, flat)
            detail = move_told(operation, head, cube)
            if cube is not None and only_moved(cube, head):
                # What the store holds already, it can hold in another state.
                facets = moved_facets(flat, cube)
            elif cube is not None:
                facets = facets_of(cube)
                storable.check_cube(cube, facets)
        # Nothing below can fail: a write is in the commit as a whole or not at all.
        lsn = self._log(context, write, namespace, Outcome.DONE, cube, detail)
        self._tell_sources(write, key.id)
        if cube is None:
            del self.heads[key]
            self._cubes = [c for c in self._cubes if CubeKey(c[0].tenant, c[0].id) != key]
            self._erased[key] = None
            version = 0
        else:
            self.heads[key] = cube
            self._cubes.append((cube, facets))
            version = cube.version.number
        written = Written(key.id, version, self.partition, lsn)
        self._remember(context, write, request, written)
        return written

    def _create(
        self, context: CallContext, write: Write, operation: Create, key: CubeKey
    ) -> tuple[MemCube, Facets]:
        tenant = context.principal.tenant
        cube = create(
            operation,
            tenant=tenant,
            namespace=write.namespace,
            author=context.principal.id,
            now=self.now,
            default_visibility=self.guard.default_visibility(tenant, write.namespace),
            reason=write.reason,
            lsn=self._next_lsn(),
        )
        # Whether an id is taken is told only to those who may create here.
        facets = facets_of(cube)
        self.guard.check(context, Action.CREATE, write.namespace, facets, self.now)
        if key in self.heads:
            raise AlreadyExistsError("the id is taken", cube_id=key.id)
        return cube, facets

    def _tell_sources(self, write: Write, derived: str) -> None:
        made, learnt = self._events[-1], write.learnt
        through: Detail = {THROUGH: learnt.parameter} if learnt else {}
        for cube_id, number in write.derived_from:
            self._tell(made, DERIVE, cube_id, {DERIVED: derived, "of": number, **through})
        if learnt is None:
            return
        for cube_id in learnt.ids:
            told = (CubeKey(made.tenant, cube_id), learnt.parameter)
            if told not in self._learnt:
                self._learnt.add(told)
                self._tell(made, LEARN, cube_id, {DERIVED: learnt.parameter})

    def _tell(self, made: Event, operation: str, cube_id: str, detail: Detail) -> None:
        self._events.append(
            replace(
                made,
                lsn=self._next_lsn(),
                operation=operation,
                cube_id=cube_id,
                version=None,
                detail=detail,
            )
        )

    def _head(self, write: Write, key: CubeKey) -> MemCube:
        head = self.heads.get(key)
        if head is None or write.namespace not in ("", head.namespace):
            # In the words that a hidden memory is denied with.
            raise no_memory()
        return head

    def _revise(
        self,
        context: CallContext,
        write: Write,
        operation: Revision,
        head: MemCube,
        flat: Facets,
    ) -> MemCube | None:
        if not isinstance(operation, Age):
            self._judge(context, operation, head, flat)
        number = target_of(operation)
        target = None if number is None else self._target(number, head)
        if move_of(operation) not in (Move.ERASE, Move.COLLECT):
            check_content(head)
            check_content(target)
        return revise(
            operation,
            head,
            author=context.principal.id,
            now=self.now,
            reason=write.reason,
            target=target,
            lsn=self._next_lsn(),
        )

    def _judge(
        self, context: CallContext, operation: Revision, head: MemCube, flat: Facets
    ) -> None:
        """Asks the policy.

        What has expired may be brought back, or thawed, by whoever might change it before; to all
        others it stays hidden.
        """
        action, facets = _ACTIONS[type(operation)], dict(flat)
        try:
            self.guard.check(context, action, head.namespace, facets, self.now)
        except (NotFoundError, PermissionDeniedError):
            if facets.pop("expires_at", None) is None or not comes_back(operation, head):
                raise
            with suppress(NotFoundError, PermissionDeniedError):
                self.guard.check(context, action, head.namespace, facets, self.now)
                return
            raise

    def _target(self, number: int, head: MemCube) -> MemCube | None:
        key = CubeKey(head.tenant, head.id)
        for cube, _ in self._cubes:
            if cube.version.number == number and CubeKey(cube.tenant, cube.id) == key:
                return cube
        # What was read before belongs to an erased memory whose id has been given anew.
        return None if key in self._erased else self.targets.get((key, number))

    def _log_denial(self, context: CallContext, write: Write, error: MemosError) -> None:
        head = self.heads.get(CubeKey(context.principal.tenant, write.operation.cube_id))
        namespace = write.namespace or (head.namespace if head else "")
        self._log(context, write, namespace, Outcome.DENIED, None, {"code": error.code})

    def _next_lsn(self) -> int:
        return self.last_lsn + len(self._events) + 1

    def _log(
        self,
        context: CallContext,
        write: Write,
        namespace: str,
        outcome: Outcome,
        cube: MemCube | None,
        detail: Detail,
    ) -> int:
        lsn = self._next_lsn()
        operation = write.operation
        self._events.append(
            Event(
                lsn=lsn,
                at=self.now,
                tenant=context.principal.tenant,
                namespace=namespace,
                principal=context.principal.id,
                operation=verb_of(operation),
                cube_id=operation.cube_id,
                version=cube.version.number if cube else None,
                outcome=outcome,
                purpose=context.purpose,
                role=context.role,
                application=context.application,
                credential=context.principal.credential,
                request_id=context.request_id,
                detail=detail,
            )
        )
        return lsn

    def _remember(self, context: CallContext, write: Write, request: str, written: Written) -> None:
        if write.idempotency_key is None:
            return
        principal = context.principal
        body = orjson.dumps(
            {
                "cube_id": written.cube_id,
                "version": written.version,
                "partition": written.partition,
                "lsn": written.lsn,
            }
        )
        reply = Reply(
            principal.tenant, principal.id, write.idempotency_key, request, body, self.now
        )
        self.replies[reply.tenant, reply.scope, reply.key] = reply
        self._new_replies.append(reply)
