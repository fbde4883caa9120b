"""How each operation turns one version of a memory into the next. Pure: data in, data out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, State, VersionInfo
from memos_ray.core.cube.fingerprint import Fingerprint, simhash
from memos_ray.core.cube.metadata import (
    Descriptive,
    ExpiresAt,
    Forever,
    Governance,
    Origin,
    Usage,
    Visibility,
)
from memos_ray.core.cube.payload import Payload, Plaintext
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import Living, again, lifespan_over, moved
from memos_ray.core.vault.checking import check_expected
from memos_ray.core.vault.contents import (
    kept,
    shared,
    united,
    updated_attributes,
    updated_lifespan,
    updated_payload,
)
from memos_ray.core.vault.operations import (
    Age,
    Archive,
    Clearable,
    Create,
    Delete,
    Freeze,
    Hold,
    Restore,
    Rollback,
    Share,
    Update,
    UpdateMode,
)
from memos_ray.errors import InvalidInputError

Revision = Update | Share | Delete | Restore | Rollback | Freeze | Hold | Archive | Age

CHANGES = {
    UpdateMode.APPEND: Change.APPEND,
    UpdateMode.MERGE: Change.MERGE,
    UpdateMode.OVERWRITE: Change.OVERWRITE,
}
"""The kind of version that each mode of an update makes."""

BY_MOVE = {
    Move.ARCHIVE: Change.ARCHIVE,
    Move.EXPIRE: Change.EXPIRE,
    Move.DELETE: Change.DELETE,
    Move.RESTORE: Change.RESTORE,
    Move.CLOSE: Change.SHARE,
}
"""The kind of version that each move makes which changes nothing but the state, or the rules."""

_MACHINE_MADE = (Origin.INFERENCE, Origin.CONVERSION)


def create(
    operation: Create,
    *,
    tenant: str,
    namespace: str,
    author: str,
    now: datetime,
    default_visibility: Visibility,
    reason: str | None,
    lsn: int = 0,
) -> tuple[MemCube, wire.Content]:
    """Makes the first version of a memory, owned by its author.

    Returns:
        The version, and its content as it will rest.

    Raises:
        InvalidInputError: no id, no namespace, or a value that cannot be stored.
    """
    for name, value in (("id", operation.cube_id), ("namespace", namespace)):
        if not value:
            raise InvalidInputError("a memory needs an id and a namespace", field=name)
    about = Descriptive(
        created_at=now,
        updated_at=now,
        origin=operation.origin,
        semantic_type=operation.semantic_type,
        arrangement=operation.arrangement,
        tags=operation.tags,
        setting=operation.setting,
        event_time=operation.event_time,
        valid_from=operation.valid_from,
        valid_to=operation.valid_to,
        mentions=operation.mentions,
        sources=operation.sources,
        attributes=operation.attributes,
    )
    rules = Governance(
        owner=author,
        visibility=operation.visibility or default_visibility,
        readers=operation.readers,
        writers=operation.writers,
        sharers=operation.sharers,
        lifespan=operation.lifespan,
        priority=operation.priority,
        sensitivity=operation.sensitivity,
        compliance=operation.compliance,
        watermark=operation.watermark,
        legal_hold=operation.legal_hold,
    )
    payload = operation.payload
    content = _content(payload, about, rules)
    version = VersionInfo(
        number=1,
        digest=content.digest,
        change=Change.CREATE,
        author=author,
        created_at=now,
        reason=reason,
        lsn=lsn,
    )
    cube = MemCube(
        id=operation.cube_id,
        provenance_id=operation.provenance_id or operation.cube_id,
        tenant=tenant,
        namespace=namespace,
        payload=payload,
        descriptive=about,
        governance=rules,
        version=version,
        fingerprint=Fingerprint(_simhash(payload)),
        state=State.GENERATED if operation.origin in _MACHINE_MADE else State.ACTIVATED,
    )
    return cube, content


def labelled(operation: Create, learnt: Sequence[MemCube]) -> Create:
    """Puts on a new memory all labels of what it may say anything of, as these are now."""
    if not learnt:
        return operation
    rules = [cube.governance for cube in learnt]
    sensitivity = {*operation.sensitivity, *(one for rule in rules for one in rule.sensitivity)}
    compliance = {*operation.compliance, *(one for rule in rules for one in rule.compliance)}
    if (len(sensitivity), len(compliance)) == (
        len(operation.sensitivity),
        len(operation.compliance),
    ):
        return operation
    return replace(
        operation, sensitivity=tuple(sorted(sensitivity)), compliance=tuple(sorted(compliance))
    )


def revise(
    operation: Revision,
    head: MemCube,
    *,
    author: str,
    now: datetime,
    reason: str | None,
    target: MemCube | None = None,
    lsn: int = 0,
) -> MemCube | None:
    """Makes the next version of a memory, or nothing when it is to be erased.

    A rollback goes back in content only: governance stays as it is, so that who has lost access
    does not get it back.

    Args:
        target: the version that a `Rollback` or `Restore` goes back to.
        lsn: where the log will have the new version.

    Raises:
        VersionConflictError: the head is not the expected version.
        FrozenError: the memory is frozen and this is no thaw.
        IllegalStateError: the memory's state forbids the operation.
        LegalHoldError: deletion of a memory under legal hold.
        InvalidInputError: nothing to change, a target version that is not there, or a value that
            cannot be stored.
    """
    check_expected(operation.expected, head.id, head.version.number)
    state = moved(head, move_of(operation), now, cause_of(operation))
    if state is None:
        return None
    step = _Step(head, author, now, reason, lsn, _state(operation, state, head, target))
    match operation:
        case Update():
            return _update(operation, step)
        case Share():
            return _next(step, Change.SHARE, rules=shared(operation, head))
        case Delete():
            return _next(step, Change.DELETE)
        case Restore():
            over = lifespan_over(head, now)
            rules = replace(head.governance, lifespan=Forever()) if over else None
            return _next(step, Change.RESTORE, rules=rules)
        case Rollback(to=to):
            return _rolled_back(to, target, step)
        case Freeze(frozen=frozen):
            change = Change.FREEZE if frozen else Change.UNFREEZE
            return _next(step, change, frozen=frozen)
        case Hold(held=held):
            change = Change.HOLD if held else Change.RELEASE
            return _next(step, change, rules=replace(head.governance, legal_hold=held))
        case Archive():
            return _next(step, Change.ARCHIVE)
        case Age(move=move, rules=rules):
            return _next(step, BY_MOVE[move], rules=rules)
        case _ as never:
            assert_never(never)


def _state(operation: Revision, state: State, head: MemCube, target: MemCube | None) -> State:
    """Returns the state that an operation leads to, which may be that of an earlier version."""
    match operation:
        case Restore(state_of=int(number)):
            if target is None or not 0 < number <= head.version.number:
                raise _no_version(head, number)
        case Rollback(with_state=True) if target is not None:
            pass
        case _:
            return state
    return again(target.state, state)


def move_of(operation: Revision) -> Move:
    """Names the move of the state machine that an operation is."""
    match operation:
        case Update(merged_from=parents):
            return Move.UNITE if parents else Move.REVISE
        case Share() | Rollback():
            return Move.REVISE
        case Delete(hard=hard):
            return Move.ERASE if hard else Move.DELETE
        case Restore():
            return Move.RESTORE
        case Freeze(frozen=frozen):
            return Move.FREEZE if frozen else Move.UNFREEZE
        case Hold(held=held):
            return Move.HOLD if held else Move.RELEASE
        case Archive():
            return Move.ARCHIVE
        case Age(move=move):
            return move
        case _ as never:
            assert_never(never)


def cause_of(operation: Revision) -> Cause:
    """Tells why an operation moves a memory."""
    return operation.cause if isinstance(operation, Age) else Cause.REQUEST


def comes_back(operation: Revision, head: Living) -> bool:
    """Tells whether an operation is one that an expired memory may be asked for."""
    thaws = isinstance(operation, Freeze) and not operation.frozen
    return isinstance(operation, Restore) or (thaws and head.frozen)


@dataclass(frozen=True, slots=True)
class _Step:
    """What every new version of a memory is made from."""

    head: MemCube
    author: str
    now: datetime
    reason: str | None
    lsn: int
    state: State


def _content(payload: Payload, about: Descriptive, rules: Governance) -> wire.Content:
    until = rules.lifespan.at if isinstance(rules.lifespan, ExpiresAt) else None
    spans = (edge for span in about.mentions for edge in (span.start, span.end))
    for moment in (about.event_time, about.valid_from, about.valid_to, until, *spans):
        if moment is not None and moment.tzinfo is None:
            raise InvalidInputError("a time needs its offset from UTC")
    try:
        return wire.Content.of(payload, about, rules)
    except TypeError:
        raise InvalidInputError("the memory holds a value that cannot be encoded") from None


def _simhash(payload: Payload) -> str:
    return simhash(payload.text if isinstance(payload, Plaintext) else "")


def _update(operation: Update, step: _Step) -> MemCube:
    head, old = step.head, step.head.descriptive
    overwrite = operation.mode is UpdateMode.OVERWRITE
    about = replace(
        old,
        semantic_type=operation.semantic_type or old.semantic_type,
        tags=tuple(operation.tags or ()) if overwrite else united(old.tags, operation.tags),
        attributes=updated_attributes(operation, old.attributes),
        event_time=kept(operation, Clearable.EVENT_TIME, old.event_time),
        valid_from=kept(operation, Clearable.VALID_FROM, old.valid_from),
        valid_to=kept(operation, Clearable.VALID_TO, old.valid_to),
        sources=tuple(dict.fromkeys((*old.sources, *operation.sources))),
    )
    rules = replace(
        head.governance,
        lifespan=updated_lifespan(operation, head.governance.lifespan),
        priority=head.governance.priority if operation.priority is None else operation.priority,
        sensitivity=united(head.governance.sensitivity, operation.sensitivity),
        compliance=united(head.governance.compliance, operation.compliance),
    )
    payload = updated_payload(operation, head)
    same = (payload, about, rules) == (head.payload, old, head.governance)
    # A merge with an equal memory changes the lineage, if nothing else.
    if same and not operation.merged_from:
        raise InvalidInputError("the update changes nothing", cube_id=head.id)
    return _next(
        step,
        CHANGES[operation.mode],
        payload=payload,
        about=about,
        rules=rules,
        parents=tuple(ParentRef(cube_id, number) for cube_id, number in operation.merged_from),
    )


def _rolled_back(to: int, target: MemCube | None, step: _Step) -> MemCube:
    head = step.head
    if target is None or not 0 < to < head.version.number:
        raise _no_version(head, to)
    return _next(
        replace(step, reason=step.reason or f"rollback to version {to}"),
        Change.ROLLBACK,
        payload=target.payload,
        about=replace(target.descriptive, created_at=head.descriptive.created_at),
        parents=(ParentRef(head.id, to),),
    )


def _no_version(head: MemCube, number: int) -> InvalidInputError:
    return InvalidInputError(
        "there is no such earlier version",
        cube_id=head.id,
        to=number,
        current=head.version.number,
    )


def _next(
    step: _Step,
    change: Change,
    *,
    payload: Payload | None = None,
    about: Descriptive | None = None,
    rules: Governance | None = None,
    frozen: bool | None = None,
    parents: tuple[ParentRef, ...] = (),
) -> MemCube:
    head = step.head
    # Owners change and clocks differ, but time does not run backwards along a chain: reads as of a
    # moment rely on it.
    now = max(step.now, head.version.created_at)
    payload = payload or head.payload
    about = replace(about or head.descriptive, updated_at=now)
    rules = rules or head.governance
    version = VersionInfo(
        number=head.version.number + 1,
        digest=_content(payload, about, rules).digest,
        change=change,
        author=step.author,
        created_at=now,
        parents=(ParentRef(head.id, head.version.number), *parents),
        reason=step.reason,
        lsn=step.lsn,
    )
    same = payload == head.payload
    return replace(
        head,
        payload=payload,
        descriptive=about,
        governance=rules,
        version=version,
        state=step.state,
        frozen=head.frozen if frozen is None else frozen,
        fingerprint=head.fingerprint if same else Fingerprint(_simhash(payload)),
        usage=Usage(),
    )
