"""What must hold of a write before it is planned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Hold, Operation, Write
from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    VersionConflictError,
)

if TYPE_CHECKING:
    from memos_ray.core.vault.guarding import GuardPort


def checked(context: CallContext, write: Write) -> str:
    """Returns the digest of a request with an idempotency key, nothing for others.

    Raises:
        InvalidInputError: the log could not hold the write.
    """
    storable.check_names(
        namespace=write.namespace,
        id=write.operation.cube_id,
        idempotency_key=write.idempotency_key or "",
    )
    check_circumstances(context, write.reason)
    if write.idempotency_key is None:
        return ""
    try:
        return write.digest()
    except TypeError:
        raise InvalidInputError("the write holds a value that cannot be encoded") from None


def check_circumstances(context: CallContext, reason: str | None) -> None:
    """Sees that the log can hold what a call says of itself.

    Raises:
        InvalidInputError: it cannot.
    """
    _check_texts(context.request_id, reason, context.purpose, context.role, context.application)


@lru_cache(maxsize=64)
def _check_texts(
    request_id: str, reason: str | None, purpose: str | None, role: str | None, app: str | None
) -> None:
    """Checks what the writes of one call have in common: once for all of them."""
    storable.check_names(request_id=request_id)
    storable.check_texts(reason=reason, purpose=purpose, role=role, application=app)


def check_expected(expected: int | None, cube_id: str, number: int) -> None:
    """Sees that a write is about the newest version, if it names one.

    Raises:
        VersionConflictError: it is about another.
    """
    if expected is not None and expected != number:
        raise VersionConflictError(
            "the memory has moved on", cube_id=cube_id, expected=expected, current=number
        )


def check_release(
    guard: GuardPort, context: CallContext, operation: Operation, now: datetime
) -> None:
    """Sees that a legal hold is lifted by who administers the tenant, and nobody else.

    Whoever administers a namespace, his own home for one, may put memories there under hold; what
    another has put under hold there is not his to release.

    Raises:
        PermissionDeniedError: the caller does not administer the tenant.
    """
    if not isinstance(operation, Hold) or operation.held:
        return
    try:
        guard.check(context, Action.ADMINISTER, TENANT_ITSELF, {}, now)
    except (NotFoundError, PermissionDeniedError):
        raise PermissionDeniedError(
            "only who administers the tenant lifts a legal hold", action=Action.ADMINISTER.value
        ) from None


def check_content(cube: MemCube | None) -> None:
    """Sees that a version's content can be had.

    Raises:
        UnavailableError: it is archived, and the archive is away.
    """
    if cube is not None and isinstance(cube.payload, ArchivedRef):
        raise content_away(cube.id)


def content_away(cube_id: str) -> UnavailableError:
    """Returns the error for content that is archived where nobody can read it now."""
    return UnavailableError("the archived content cannot be read now", cube_id=cube_id)


def check_sources(write: Write, tenant: str, heads: Mapping[CubeKey, MemCube]) -> None:
    """Sees that what a new memory was derived from is as it was read, or there at least.

    Raises:
        VersionConflictError: a source has another version now, or is gone; or what an adapter has
            learnt is.
    """
    for cube_id, number in write.derived_from:
        head = heads.get(CubeKey(tenant, cube_id))
        if head is None or head.version.number != number:
            raise VersionConflictError("a source has moved on", cube_id=cube_id)
    for cube_id in write.learnt.ids if write.learnt else ():
        head = heads.get(CubeKey(tenant, cube_id))
        if head is None or head.state in GONE:
            raise VersionConflictError("a memory that was learnt is gone", cube_id=cube_id)
