"""Plans one group commit: many callers' writes, each with its own outcome, in one transaction.

The shard is the only writer of its partition, so what was read before planning is still true when
the commit's fence check succeeds. Writes are planned in order, and each sees those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple

import orjson

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import Facets, facets_of, moved_facets
from memos_ray.core.lifecycle.moves import Move
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.vault import storable
from memos_ray.core.vault.changes import Revision, create, labelled, move_of, revise
from memos_ray.core.vault.checking import check_content, check_release, check_sources, checked
from memos_ray.core.vault.entries import (
    DERIVE,
    DERIVED,
    EXTRACT,
    LEARN,
    REASON,
    THROUGH,
    UNREAD,
    Detail,
    PlannedLog,
    extraction_told,
    labels_told,
    mark_of,
    move_told,
    only_moved,
)
from memos_ray.core.vault.guarding import GuardPort, judge
from memos_ray.core.vault.log import Commit, CubeKey, Event, Outcome, Reply
from memos_ray.core.vault.operations import (
    Age,
    Create,
    Hold,
    Write,
    Written,
    target_of,
)
from memos_ray.core.vault.quotas import Quotas, weight
from memos_ray.core.vault.remnants import Remnant, erasable, released
from memos_ray.errors import (
    AlreadyExistsError,
    IdempotencyConflictError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)


@crossing
@dataclass(frozen=True, slots=True)
class Submission:
    """One write with its caller."""

    context: CallContext
    write: Write


class _Made(NamedTuple):
    """A new version; `body` is how it rests, where that has come out in making it."""

    cube: MemCube
    facets: Facets
    body: bytes | None

    @property
    def key(self) -> CubeKey:
        return CubeKey(self.cube.tenant, self.cube.id)


@dataclass(slots=True)
class Planner:
    """Collects writes into one `Commit`.

    Attributes:
        heads: newest versions of the cubes concerned; kept up to date while planning.
        replies: stored answers by (tenant, principal, key).
        targets: older versions that rollbacks go to.
        quotas: what weighs the texts.
        remnants: of the heads, those that cannot be read; they are only ever erased, and released
            before.
    """

    partition: int
    epoch: int
    last_lsn: int
    now: datetime
    guard: GuardPort
    heads: dict[CubeKey, MemCube]
    replies: dict[tuple[str, str, str], Reply]
    targets: Mapping[tuple[CubeKey, int], MemCube]
    quotas: Quotas
    remnants: dict[CubeKey, Remnant] = field(default_factory=dict)
    _log: PlannedLog = field(init=False)
    _made: list[_Made] = field(default_factory=list)
    _erased: dict[CubeKey, None] = field(default_factory=dict)
    _new_replies: list[Reply] = field(default_factory=list)
    _learnt: set[tuple[CubeKey, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._log = PlannedLog(self.last_lsn, self.now)

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
            tuple(one.cube for one in self._made),
            tuple(self._erased),
            tuple(self._log.entries),
            tuple(self._new_replies),
            tuple(one.facets for one in self._made),
            tuple(one.body for one in self._made),
        )

    def denials(self) -> Commit:
        """Returns nothing of what was planned but the log entries of what was denied."""
        return Commit(self.partition, self.epoch, events=self._log.denied())

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
        answer = orjson.loads(stored.body)
        # Replies of older versions do not say where they wrote.
        place = answer.pop("namespace", write.namespace)
        if stored.request != request and not (write.known_by_key and place == write.namespace):
            raise IdempotencyConflictError(
                "the idempotency key belongs to another request",
                cube_id=answer["cube_id"],
                version=answer["version"],
                namespace=place,
                asked=write.namespace,
            )
        written = Written(**answer, replayed=True)
        if write.extract:
            self._have_read(context, write, written.cube_id)
        return written

    def _have_read(self, context: CallContext, write: Write, cube_id: str) -> None:
        """Marks what was stored before for extraction, once for each of its versions.

        Whoever may not read it any more gets the first answer again, and nothing is marked.
        """
        tenant, principal = context.principal.tenant, context.principal.id
        head = self.heads.get(CubeKey(tenant, cube_id))
        if head is None or head.state not in LIVE:
            return
        mark = (tenant, *mark_of(principal, cube_id, head.version.lsn))
        if mark in self.replies:
            return
        with suppress(NotFoundError, PermissionDeniedError):
            facets, told = facets_of(head), extraction_told(context)
            self.guard.check(context, Action.READ, head.namespace, facets, self.now)
            number = head.version.number
            self._log.tell(context, write, head.namespace, Outcome.DONE, number, told)
            entries = self._log.entries
            entries[-1] = entries[-1]._replace(operation=EXTRACT, cube_id=cube_id)
            self._keep_reply(Reply(*mark, "", b"{}", self.now))

    def _plan(self, context: CallContext, write: Write, request: str) -> Written:
        operation = write.operation
        key = CubeKey(context.principal.tenant, operation.cube_id)
        if isinstance(operation, Hold) and key in self.remnants:
            return self._release(context, write, request, operation, key)
        cube: MemCube | None
        facets: Facets = {}
        body: bytes | None = None
        detail: Detail = {}
        head: MemCube | None = None
        if isinstance(operation, Create):
            namespace = write.namespace
            check_sources(write, context.principal.tenant, self.heads)
            cube, facets, body = self._create(context, write, operation, key)
            detail = extraction_told(context) if write.extract else {}
        else:
            head = self._head(write, key)
            flat = facets_of(head)
            namespace, cube = head.namespace, self._revise(context, write, operation, head, flat)
            told = move_told(operation, head.state, cube.state if cube else None)
            detail = {**told, **labels_told(head, cube)}
            if cube is not None and only_moved(cube, head):
                # What the store holds already, it can hold in another state.
                facets = moved_facets(flat, cube)
            elif cube is not None:
                facets = facets_of(cube)
                storable.check_cube(cube, facets)
        before, after = partial(weight, head), partial(weight, cube)
        self.quotas.weigh(key, namespace, before, after, by_age=isinstance(operation, Age))
        # Nothing below can fail: a write is in the commit as a whole or not at all.
        number = cube.version.number if cube else None
        lsn = self._log.tell(context, write, namespace, Outcome.DONE, number, detail)
        self._tell_sources(write, key.id)
        if cube is None:
            del self.heads[key]
            self._made = [one for one in self._made if one.key != key]
            self._erased[key] = None
            version = 0
        else:
            self.heads[key] = cube
            self._made.append(_Made(cube, facets, body))
            version = cube.version.number
        written = Written(key.id, version, self.partition, lsn)
        self._remember(context, write, request, written)
        return written

    def _release(
        self, context: CallContext, write: Write, request: str, operation: Hold, key: CubeKey
    ) -> Written:
        """Releases what cannot be read, and so gets no version: the log alone says so."""
        head = self._head(write, key)
        left = released(self.guard, context, operation, self.remnants[key], self.now)
        told: Detail = {UNREAD: True}
        if write.reason is not None:
            # There is no version to keep it.
            told[REASON] = write.reason
        lsn = self._log.tell(context, write, head.namespace, Outcome.DONE, None, told)
        self.remnants[key] = left
        written = Written(key.id, head.version.number, self.partition, lsn)
        self._remember(context, write, request, written)
        return written

    def _create(self, context: CallContext, write: Write, operation: Create, key: CubeKey) -> _Made:
        tenant = context.principal.tenant
        cube, content = create(
            labelled(operation, self._learnt_by(write, tenant)),
            tenant=tenant,
            namespace=write.namespace,
            author=context.principal.id,
            now=self.now,
            default_visibility=self.guard.default_visibility(tenant, write.namespace),
            reason=write.reason,
            lsn=self._log.next_lsn,
        )
        # Whether an id is taken is told only to those who may create here.
        facets = facets_of(cube)
        self.guard.check(context, Action.CREATE, write.namespace, facets, self.now)
        if key in self.heads:
            raise AlreadyExistsError("the id is taken", cube_id=key.id)
        storable.check_cube(cube, facets)
        return _Made(cube, facets, content.within(cube))

    def _learnt_by(self, write: Write, tenant: str) -> list[MemCube]:
        ids = write.learnt.ids if write.learnt else ()
        return [self.heads[CubeKey(tenant, cube_id)] for cube_id in ids]

    def _tell_sources(self, write: Write, derived: str) -> None:
        made, learnt = self._log.entries[-1], write.learnt
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
        self._log.entries.append(
            made._replace(
                lsn=self._log.next_lsn,
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
        left = self.remnants.get(CubeKey(head.tenant, head.id))
        if left is not None:
            head = erasable(self.guard, context, operation, left, self.now)
        elif not isinstance(operation, Age):
            judge(self.guard, context, operation, head, head.namespace, flat, self.now)
            check_release(self.guard, context, operation, self.now)
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
            lsn=self._log.next_lsn,
        )

    def _target(self, number: int, head: MemCube) -> MemCube | None:
        key = CubeKey(head.tenant, head.id)
        for one in self._made:
            if one.cube.version.number == number and one.key == key:
                return one.cube
        # What was read before belongs to an erased memory whose id has been given anew.
        return None if key in self._erased else self.targets.get((key, number))

    def _log_denial(self, context: CallContext, write: Write, error: MemosError) -> None:
        head = self.heads.get(CubeKey(context.principal.tenant, write.operation.cube_id))
        namespace = write.namespace or (head.namespace if head else "")
        self._log.tell(context, write, namespace, Outcome.DENIED, None, {"code": error.code})

    def _remember(self, context: CallContext, write: Write, request: str, written: Written) -> None:
        if write.idempotency_key is None:
            return
        principal = context.principal
        body = orjson.dumps(
            {
                "namespace": write.namespace,
                "cube_id": written.cube_id,
                "version": written.version,
                "partition": written.partition,
                "lsn": written.lsn,
            }
        )
        tenant = principal.tenant
        self._keep_reply(
            Reply(tenant, principal.id, write.idempotency_key, request, body, self.now)
        )
        if write.extract and isinstance(write.operation, Create):
            # The entry of the creation is its mark.
            mark = mark_of(principal.id, written.cube_id, written.lsn)
            self._keep_reply(Reply(tenant, *mark, "", b"{}", self.now))

    def _keep_reply(self, reply: Reply) -> None:
        self.replies[reply.tenant, reply.scope, reply.key] = reply
        self._new_replies.append(reply)
