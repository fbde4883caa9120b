"""What is written in a branch, and what merges it into its namespace (LIFE-3). Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from memos_ray.core.access.names import base_of
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Descriptive
from memos_ray.core.lifecycle.branches import Branch, brought_back, unchanged
from memos_ray.core.lifecycle.states import GONE, state_at
from memos_ray.core.vault.operations import (
    Clearable,
    Create,
    Delete,
    Operation,
    Restore,
    Update,
    UpdateMode,
    Write,
)
from memos_ray.errors import InvalidInputError


def written(branch: Branch, write: Write) -> Write:
    """Turns a write on what a branch shows into one on what it stores.

    Raises:
        InvalidInputError: branches take no such operation.
    """
    operation: Operation
    match write.operation:
        case Create(legal_hold=True):
            raise InvalidInputError(
                "a branch ends, and holds nothing: store it in the namespace", field="legal_hold"
            )
        case Create(id=chosen, minted_id=minted) as made:
            operation = replace(
                made,
                id=None if chosen is None else branch.stored(chosen),
                minted_id=branch.stored(minted),
            )
        case Update(sensitivity=sensitivity, compliance=compliance) if sensitivity or compliance:
            raise InvalidInputError(
                "labels are put on in the namespace", field="sensitivity, compliance"
            )
        case (Update() | Delete(hard=False) | Restore()) as change:
            operation = replace(change, cube_id=branch.stored(change.cube_id))
        case _:
            raise InvalidInputError("a branch takes additions, updates, deletions and restorations")
    return replace(write, namespace=branch.space, operation=operation, branched_at=branch.at)


def merging(cube: MemCube, then: MemCube | None, now: datetime) -> Operation | None:
    """Returns what brings a branch's version of a memory into the namespace.

    It is made for the version that the branch has taken over, and no other. What is in the branch
    as it was at its moment brings nothing: what the namespace has done since stays.
    """
    gone, about, rules = state_at(cube, now) in GONE, cube.descriptive, cube.governance
    cube_id = base_of(cube.id)
    if then is not None and gone:
        return Delete(cube_id, expected=then.version.number)
    if then is not None and unchanged(cube, then, now):
        back = brought_back(cube, then, now)
        return Restore(cube_id, expected=then.version.number) if back else None
    if then is not None:
        return Update(
            cube_id,
            UpdateMode.OVERWRITE,
            payload=cube.payload,
            semantic_type=about.semantic_type,
            tags=about.tags,
            attributes=about.attributes,
            event_time=about.event_time,
            valid_from=about.valid_from,
            valid_to=about.valid_to,
            lifespan=rules.lifespan,
            priority=rules.priority,
            expected=then.version.number,
            sources=about.sources,
            clear=_cleared(about),
        )
    if gone:
        return None
    return Create(
        cube.payload,
        id=cube_id,
        origin=about.origin,
        semantic_type=about.semantic_type,
        arrangement=about.arrangement,
        tags=about.tags,
        setting=about.setting,
        event_time=about.event_time,
        valid_from=about.valid_from,
        valid_to=about.valid_to,
        mentions=about.mentions,
        sources=about.sources,
        attributes=about.attributes,
        visibility=rules.visibility,
        readers=rules.readers,
        writers=rules.writers,
        sharers=rules.sharers,
        lifespan=rules.lifespan,
        priority=rules.priority,
        sensitivity=rules.sensitivity,
        compliance=rules.compliance,
        watermark=rules.watermark,
        legal_hold=rules.legal_hold,
    )


def _cleared(about: Descriptive) -> tuple[Clearable, ...]:
    """Returns what a branch's version of a memory has not, and its namespace's is to have not."""
    times = (Clearable.EVENT_TIME, Clearable.VALID_FROM, Clearable.VALID_TO)
    return tuple(name for name in times if getattr(about, name) is None)


def key_of_merge(branch: Branch, cube: MemCube) -> str:
    """Names the write of a merge, so that one whose answer was lost is not made twice."""
    return f"branch:{branch.lsn}:{cube.id}:{cube.version.number}:{cube.version.lsn}"
