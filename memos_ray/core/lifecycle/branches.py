"""What-if branches of a namespace (LIFE-3). Pure.

A branch shows a namespace as it was at a moment, under what has been changed in the branch since.
Only changes are stored: as memories of a space of their own, whose name no caller can utter, under
ids that tell what they stand for. Their first version goes on from the one that was taken over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.names import BRANCH_MARK, base_of
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Usage
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.lifecycle.past import Difference, Differing
from memos_ray.core.lifecycle.states import GONE, LIVE, state_at

KIND = "branch"
"""The kind of derivation that a branch is recorded as."""


@crossing
@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a namespace.

    Attributes:
        at: the moment that it shows where nothing has been changed.
        lsn: how far the partition's log had come when it was made.
        author: who made it.
        closing: whether it has been merged or discarded, and its memories are being erased.
        merge_reason: of a merge that has begun, and may have been cut off.
    """

    name: str
    namespace: str
    at: datetime
    lsn: int
    author: str
    reason: str | None = None
    closing: bool = False
    merge_reason: str | None = None

    @property
    def space(self) -> str:
        """The namespace that its own memories are stored in."""
        return f"{self.namespace}{BRANCH_MARK}{self.name}"

    def stored(self, cube_id: str) -> str:
        """Returns the id under which its version of a memory is stored."""
        return f"{cube_id}{BRANCH_MARK}{self.name}"


@crossing
@dataclass(frozen=True, slots=True)
class BranchPage:
    """Asks for memories that a branch shows, newest first; see `PastPage`."""

    context: CallContext
    namespace: str
    branch: str
    predicate: Predicate = field(default_factory=Everything)
    after: tuple[int, str] | None = None
    limit: int = 256


@crossing
@dataclass(frozen=True, slots=True)
class BranchView:
    """How a branch covers what it was made from.

    Attributes:
        covered: memories of the namespace that it has a version of its own of, or has deleted.
        orphans: stored ids of its versions of memories that have been erased since, or are closed
            to the caller today.
    """

    branch: Branch
    covered: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has done: all of the branch's changes, or nothing because of `conflicts`.

    Attributes:
        changed: ids of memories that were made, changed or deleted.
        conflicts: (id, code of the error) of those that stand against it.
    """

    changed: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()


def shown(cube: MemCube) -> MemCube:
    """Returns a stored memory of a branch as callers see it."""
    origin = base_of(cube.provenance_id)
    return replace(
        cube, id=base_of(cube.id), provenance_id=origin, namespace=base_of(cube.namespace)
    )


def taken_over(cube: MemCube) -> bool:
    """Tells whether a stored memory of a branch goes on from one of the namespace."""
    return BRANCH_MARK not in cube.provenance_id


def fork(then: MemCube, today: MemCube, cube_id: str, space: str) -> MemCube:
    """Returns what a branch changes when it has no version of its own yet.

    Content is of then, rules are of today. What is frozen stays so in the branch. A legal hold is
    on the memory itself, which no branch touches: it keeps no branch from ending.
    """
    return replace(
        then,
        id=cube_id,
        namespace=space,
        governance=replace(today.governance, legal_hold=False),
        frozen=then.frozen or today.frozen,
        usage=Usage(),
    )


def differing(cube: MemCube, then: MemCube | None, now: datetime) -> Differing | None:
    """Returns how a branch's version of a memory differs from that of its moment.

    What says the same again, such as one that was deleted and restored, is no difference; unless it
    was put away, and is in use now.
    """
    gone = state_at(cube, now) in GONE
    before = None if then is None else then.version.number
    after = None if gone else cube.version.number
    if then is None:
        kind = Difference.ADDED
    else:
        kind = Difference.REMOVED if gone else Difference.CHANGED
    none = gone if then is None else not gone and unchanged(cube, then, now)
    if then is not None and brought_back(cube, then, now):
        none = False
    return None if none else Differing(base_of(cube.id), kind, before, after)


def brought_back(cube: MemCube, then: MemCube, now: datetime) -> bool:
    """Tells whether a memory that was put away is in use in a branch."""
    return then.state is State.ARCHIVED and state_at(cube, now) in LIVE


def unchanged(cube: MemCube, then: MemCube, now: datetime) -> bool:
    """Tells whether a branch's version of a memory says what the one of its moment does."""
    rules, before = cube.governance, then.governance
    return (
        cube.payload,
        replace(cube.descriptive, updated_at=now),
        rules.lifespan,
        rules.priority,
    ) == (
        then.payload,
        replace(then.descriptive, updated_at=now),
        before.lifespan,
        before.priority,
    )


def covers(cubes: Sequence[MemCube], there: Mapping[str, MemCube]) -> tuple[set[str], set[str]]:
    """Returns what `BranchView` says.

    Args:
        cubes: stored memories of the branch.
        there: memories of the namespace that have not been erased, by id.
    """
    forks = [cube for cube in cubes if taken_over(cube)]
    orphans = {cube.id for cube in forks if base_of(cube.id) not in there}
    return {base_of(cube.id) for cube in forks}, orphans
