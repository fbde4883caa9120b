"""What updates and sharings make of what a memory says, and of who may reach it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Attribute, Decay, ExpiresAt, Forever, Governance, Lifespan
from memos_ray.core.cube.payload import Payload, Plaintext
from memos_ray.core.vault.operations import Clearable, Share, Update, UpdateMode
from memos_ray.errors import InvalidInputError


def united(old: Iterable[str], new: Iterable[str] | None) -> tuple[str, ...]:
    """Returns the names of both, each once, in order."""
    return tuple(dict.fromkeys((*old, *(new or ()))))


def updated_payload(operation: Update, head: MemCube) -> Payload:
    """Returns what a memory says behind an update.

    Raises:
        InvalidInputError: the update does not fit its mode, or the form of the memory.
    """
    if operation.payload is not None and operation.text is not None:
        raise InvalidInputError("give either a text or a payload", cube_id=head.id)
    if operation.mode is UpdateMode.APPEND:
        if operation.text is None or not isinstance(head.payload, Plaintext):
            raise InvalidInputError("only text can be appended, to plaintext", cube_id=head.id)
        return replace(head.payload, text=f"{head.payload.text}\n{operation.text}")
    if operation.text is not None:
        if not isinstance(head.payload, Plaintext):
            raise InvalidInputError("this form of memory has no text", cube_id=head.id)
        return replace(head.payload, text=operation.text)
    if operation.payload is not None:
        return operation.payload
    if operation.mode is UpdateMode.OVERWRITE:
        raise InvalidInputError("an overwrite needs a text or a payload", cube_id=head.id)
    return head.payload


def updated_attributes(operation: Update, old: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
    """Returns the attributes behind an update."""
    if operation.mode is UpdateMode.OVERWRITE:
        return operation.attributes or {}
    return {**old, **(operation.attributes or {})}


def kept(operation: Update, field: Clearable, old: datetime | None) -> datetime | None:
    """Returns a time of a memory behind an update: a new one, the old one, or none any more."""
    new: datetime | None = getattr(operation, field)
    return None if field in operation.clear else new or old


def updated_lifespan(operation: Update, old: Lifespan) -> Lifespan:
    """Returns the lifespan behind an update; without its end or half-life it is for ever."""
    if operation.lifespan is not None:
        return operation.lifespan
    match old:
        case ExpiresAt() if Clearable.EXPIRES_AT in operation.clear:
            return Forever()
        case Decay() if Clearable.HALF_LIFE_S in operation.clear:
            return Forever()
        case _:
            return old


def shared(operation: Share, head: MemCube) -> Governance:
    """Returns the rules behind a sharing.

    Raises:
        InvalidInputError: they are the same as before.
    """
    old = head.governance

    def scope(names: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in united(names, added) if name not in operation.remove)

    rules = replace(
        old,
        visibility=operation.visibility or old.visibility,
        readers=scope(old.readers, operation.readers),
        writers=scope(old.writers, operation.writers),
        sharers=scope(old.sharers, operation.sharers),
    )
    if rules == old:
        raise InvalidInputError("the sharing changes nothing", cube_id=head.id)
    return rules
