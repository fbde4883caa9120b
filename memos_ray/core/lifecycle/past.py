"""What was at an earlier moment, how it differs, and how to go back to it (LIFE-3). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.lifecycle.states import GONE, state_at

SNAPSHOT = "snapshot"
"""The kind of derivation that a named moment is recorded as."""


@crossing
@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named moment of a namespace; it costs nothing but its name, for every version is kept.

    Attributes:
        at: the moment.
        lsn: how far the partition's log had come.
        author: who named it.
    """

    name: str
    namespace: str
    at: datetime
    lsn: int
    author: str
    reason: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class PastPage:
    """Asks for memories of a namespace in one partition, newest first.

    Attributes:
        at: the moment to look at; of a comparison, the later one.
        since: the earlier moment of a comparison.
        after: (`created_at` in microseconds, id) of the last memory looked at before.
        limit: most memories to return; of a comparison and a return, to look at.
    """

    context: CallContext
    namespace: str
    at: datetime
    since: datetime | None = None
    predicate: Predicate = field(default_factory=Everything)
    after: tuple[int, str] | None = None
    limit: int = 256
    reason: str | None = None


class Difference(StrEnum):
    """How a memory differs between two moments; changed: it has another version."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@crossing
@dataclass(frozen=True, slots=True)
class Differing:
    """A memory that differs; versions are absent where it was not there."""

    id: str
    kind: Difference
    before: int | None
    after: int | None


@crossing
@dataclass(frozen=True, slots=True)
class Differences:
    """A page of a comparison; `after` says where to go on, nothing that it is whole."""

    found: tuple[Differing, ...]
    after: tuple[int, str] | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Returned:
    """What a piece of a return has done.

    Attributes:
        changed: memories whose content or state went back.
        restored: memories that were gone and are there again.
        deleted: memories that came later, and are deleted now.
        refused: (id, code) of those that could not go back.
    """

    changed: int = 0
    restored: int = 0
    deleted: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Return:
    """What takes a memory back: a deletion, a putting away, or one or both of the others.

    Attributes:
        restore: the version whose state it takes again, when it is gone or away now.
        to: the version whose content is to be the newest again, with its state.
    """

    delete: bool = False
    archive: bool = False
    restore: int | None = None
    to: int | None = None


def number_at(versions: Sequence[VersionInfo], at: datetime) -> int | None:
    """Returns the number of the version that was the newest at a moment, if there was one."""
    return max((one.number for one in versions if one.created_at <= at), default=None)


def there_at(chain: Sequence[MemCube], at: datetime) -> MemCube | None:
    """Returns a memory as it was at a moment; nothing when it was not there, or gone."""
    then = [cube for cube in chain if cube.version.created_at <= at]
    if not then:
        return None
    newest = max(then, key=lambda cube: cube.version.number)
    return None if state_at(newest, at) in GONE else newest


def compare(chain: Sequence[MemCube], since: datetime, until: datetime) -> Differing | None:
    """Returns how a memory differs between two moments; nothing when it does not."""
    before, after = there_at(chain, since), there_at(chain, until)
    if before is None or after is None:
        cube = before or after
        if cube is None:
            return None
        kind = Difference.ADDED if before is None else Difference.REMOVED
    elif before.version.number == after.version.number:
        return None
    else:
        cube, kind = after, Difference.CHANGED
    return Differing(
        cube.id,
        kind,
        before.version.number if before else None,
        after.version.number if after else None,
    )


def way_back(head: MemCube, then: MemCube | None, now: datetime) -> Return | None:
    """Returns what takes a memory back to what it was; nothing when it is that already.

    Rules stay as they are, as in every rollback. What was put away then is put away again, and what
    was in use is in use.

    Args:
        then: with its content, as `there_at` returns it.
    """
    gone = state_at(head, now) in GONE
    if then is None:
        return None if gone else Return(delete=True)
    number = then.version.number
    same = number == head.version.number or _content(then) == _content(head)
    was, is_ = (one.state is State.ARCHIVED for one in (then, head))
    if gone:
        return Return(restore=number, to=None if same else number)
    if not same:
        return Return(to=number)
    if was == is_:
        return None
    return Return(archive=True) if was else Return(restore=number)


def _content(cube: MemCube) -> tuple[object, object]:
    born = cube.descriptive.created_at
    return cube.payload, replace(cube.descriptive, created_at=born, updated_at=born)
