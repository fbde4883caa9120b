"""What is known of a memory whose newest version cannot be read: enough to erase it (GOV-9). Pure.

A store keeps beside the bodies of versions what is filtered on, which is also all that policies ask
of a memory. So whoever might erase it if it could be read may erase it still. A legal hold is
lifted before, by an entry in the log alone: what cannot be read gets no version that could be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, Facets, facets_of, from_micros
from memos_ray.core.cube.fingerprint import Fingerprint
from memos_ray.core.cube.metadata import (
    Descriptive,
    ExpiresAt,
    Forever,
    Governance,
    Origin,
    SemanticType,
    Setting,
    Visibility,
)
from memos_ray.core.cube.payload import ArchivedRef, Form
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import moved
from memos_ray.core.vault.changes import Revision, cause_of, move_of
from memos_ray.core.vault.checking import check_expected, check_release
from memos_ray.core.vault.guarding import GuardPort, judge
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Age, Create, Hold, Operation
from memos_ray.errors import (
    LegalHoldError,
    NotFoundError,
    PermissionDeniedError,
    StoreCorruptError,
)


@dataclass(frozen=True, slots=True)
class Remnant:
    """A memory as far as it is known without its newest version.

    Attributes:
        cube: with its facets; its content is away, and what is no facet is as if never given.
        held: whether it is under legal hold; nothing when nobody can tell.
    """

    cube: MemCube
    held: bool | None


def remnant(key: CubeKey, facets: Facets, version: VersionInfo, held: bool | None) -> Remnant:
    """Puts together what is known.

    Raises:
        StoreCorruptError: what is kept beside the version cannot be read either.
    """
    # Of any type, as they rest.
    flat: dict[str, object] = dict(facets)
    try:
        about, rules = _descriptive(flat), _governance(flat, held)
        payload, state = ArchivedRef("", 0, Form(str(flat["form"]))), State(str(flat["state"]))
        namespace, frozen = str(flat["namespace"]), bool(flat["frozen"])
    except (KeyError, TypeError, ValueError, OverflowError):
        # `from None`: the message would quote the row.
        raise StoreCorruptError("a memory's row cannot be read", cube_id=key.id) from None
    mark = Fingerprint("")
    where = key.id, key.id, key.tenant, namespace
    return Remnant(MemCube(*where, payload, about, rules, version, mark, state, frozen), held)


def possible_unread(operation: Operation) -> bool:
    """Tells whether an operation may be about what cannot be read: an erasure, or a release."""
    return not isinstance(operation, Create) and move_of(operation) in (Move.ERASE, Move.RELEASE)


def released(
    guard: GuardPort, context: CallContext, operation: Hold, left: Remnant, now: datetime
) -> Remnant:
    """Returns what is known of a memory behind its release, by who may lift a legal hold.

    Where nobody can tell whether there is a hold, there is none from then on. What is frozen is
    released as it is, for nobody can thaw it.

    Raises:
        PermissionDeniedError: the caller may not lift the hold.
        NotFoundError: the caller may not even see the memory.
        VersionConflictError: the head is not the expected version.
        IllegalStateError: the memory is not under legal hold.
    """
    cube = left.cube
    judge(guard, context, operation, cube, cube.namespace, facets_of(cube), now)
    check_release(guard, context, operation, now)
    check_expected(operation.expected, cube.id, cube.version.number)
    rules = replace(cube.governance, legal_hold=left.held is not False)
    moved(replace(cube, governance=rules, frozen=False), Move.RELEASE, now)
    return Remnant(replace(cube, governance=replace(rules, legal_hold=False)), held=False)


def erasable(
    guard: GuardPort, context: CallContext, operation: Revision, left: Remnant, now: datetime
) -> MemCube:
    """Returns what the state machine is to look at, for a caller who may erase the memory.

    What may be under legal hold is for who administers the tenant, who might lift that, wherever
    the memory is; what a branch holds is under none. Nobody can thaw what cannot be read, so that
    whoever might do so erases it frozen.

    Raises:
        LegalHoldError: nobody can tell whether there is a hold, and the caller could not lift it.
        PermissionDeniedError: the caller may see the memory, but not erase it.
        NotFoundError: the caller may not even see it.
    """
    cube = left.cube
    flat, place = facets_of(cube), cube.namespace
    unsure = left.held is None and cause_of(operation) is not Cause.BRANCH
    if unsure and all(
        _passes(guard, context, Action.ADMINISTER, where, facets, now)
        for where, facets in ((place, flat), (TENANT_ITSELF, {}))
    ):
        return replace(cube, frozen=False)
    if not isinstance(operation, Age):
        judge(guard, context, operation, cube, place, flat, now)
    if unsure:
        raise LegalHoldError(
            "the memory cannot be read, and may be under legal hold: "
            "only who administers the tenant erases it",
            cube_id=cube.id,
        )
    thaws = not isinstance(operation, Age) and _passes(
        guard, context, Action.UPDATE, place, flat, now
    )
    return replace(cube, frozen=cube.frozen and not thaws)


def _passes(
    guard: GuardPort,
    context: CallContext,
    action: Action,
    namespace: str,
    facets: Facets,
    now: datetime,
) -> bool:
    try:
        guard.check(context, action, namespace, facets, now)
    except (NotFoundError, PermissionDeniedError):
        return False
    return True


def _descriptive(flat: dict[str, object]) -> Descriptive:
    created, updated = _time(flat, "created_at"), _time(flat, "updated_at")
    if created is None or updated is None:
        raise KeyError("created_at")
    position = flat.get("position")
    return Descriptive(
        created,
        updated,
        Origin(str(flat["origin"])),
        SemanticType(str(flat["semantic_type"])),
        tags=_names(flat, "tags"),
        setting=Setting(
            _text(flat, "conversation"),
            _text(flat, "session"),
            position if isinstance(position, int) else None,
            _text(flat, "speaker"),
            _text(flat, "role"),
        ),
        event_time=_time(flat, "event_time"),
        valid_from=_time(flat, "valid_from"),
        valid_to=_time(flat, "valid_to"),
        attributes={
            name.removeprefix(ATTRIBUTE_PREFIX): value
            for name, value in flat.items()
            if name.startswith(ATTRIBUTE_PREFIX) and isinstance(value, str | int | float)
        },
    )


def _governance(flat: dict[str, object], held: bool | None) -> Governance:
    until, priority = _time(flat, "expires_at"), flat["priority"]
    return Governance(
        str(flat["owner"]),
        Visibility(str(flat["visibility"])),
        _names(flat, "readers"),
        _names(flat, "writers"),
        _names(flat, "sharers"),
        Forever() if until is None else ExpiresAt(until),
        priority if isinstance(priority, int) else 0,
        _names(flat, "sensitivity"),
        _names(flat, "compliance"),
        legal_hold=bool(held),
    )


def _names(flat: dict[str, object], name: str) -> tuple[str, ...]:
    found = flat.get(name, ())
    return tuple(map(str, found)) if isinstance(found, tuple) else ()


def _text(flat: dict[str, object], name: str) -> str | None:
    found = flat.get(name)
    return found if isinstance(found, str) else None


def _time(flat: dict[str, object], name: str) -> datetime | None:
    found = flat.get(name)
    return from_micros(found) if isinstance(found, int) else None
