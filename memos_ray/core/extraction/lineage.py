"""What becomes of something derived when its sources change. Pure; by how things stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.extraction.drafts import readers_of, visibility_of
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.vault.contents import shared, united
from memos_ray.core.vault.operations import Age, Operation, Share, Update, UpdateMode

STALE = "stale"
"""The attribute of what was derived from an earlier version of a source."""

_WIDTH = {Visibility.PRIVATE: 0, Visibility.READ_ONLY: 1, Visibility.SHARED: 2}


@dataclass(frozen=True, slots=True)
class Sources:
    """What something was derived from, by id.

    Attributes:
        now: as they are, of those that are not erased.
        then: as they were read, where that differs from how they are now.
        erased: whether any is.
    """

    now: Mapping[str, MemCube]
    then: Mapping[str, MemCube]
    erased: bool = False

    def changed(self) -> bool:
        """Tells whether any of them says something else now."""
        return any(cube.text != self.now[id].text for id, cube in self.then.items())


def due(derived: MemCube, sources: Sources) -> Operation | None:
    """Returns what is to be done about something that was extracted or made otherwise.

    An erased source takes all with it that was derived from it, a deleted one for as long as it
    is deleted, whatever other sources there are: no word of it is to stay. Of a changed one, what
    was derived is marked. Of one that is less open than before, nothing stays more open; the labels
    of each are on what was derived from it. What is archived stays so, see `away_again`.

    A parameter memory outlives what was learnt, of which it says no word, and only gets its labels.

    What is gone can be read by its id, and come back: it is closed as its sources are all the same.
    """
    if derived.payload.form is Form.PARAMETER:
        return _labelled(derived, sources)
    if sources.erased:
        return _follows(derived, Move.ERASE)
    cubes = list(sources.now.values())
    if not cubes:
        return None
    gone = any(cube.state in GONE for cube in cubes)
    if derived.state in GONE:
        back = not gone and _by_lineage(derived)
        closed = closing(derived, _narrowed(derived, cubes), _labels(derived, cubes))
        return closed or (_follows(derived, Move.RESTORE) if back else None)
    if gone:
        return _follows(derived, Move.DELETE)
    narrower = _narrowed(derived, cubes)
    if narrower is not None:
        return narrower
    return _marked(derived, cubes, stale=sources.changed())


def closing(derived: MemCube, *operations: Operation | None) -> Age | None:
    """Returns what closes something by itself, whoever might, and leaves it in its state.

    Args:
        operations: that would narrow it, or label it; of those that only mark it nothing is done.
    """
    before = rules = derived.governance
    for operation in operations:
        if isinstance(operation, Share):
            rules = shared(operation, replace(derived, governance=rules))
        elif isinstance(operation, Update):
            rules = replace(
                rules,
                sensitivity=united(rules.sensitivity, operation.sensitivity),
                compliance=united(rules.compliance, operation.compliance),
            )
    return None if rules == before else replace(_follows(derived, Move.CLOSE), rules=rules)


def away_again(derived: MemCube, operation: Operation, before: MemCube | None) -> Age | None:
    """Returns what puts something away again that following its sources brings back into use.

    Args:
        before: the version before `derived`, or, where that is gone, before it was; if there is
            one.
    """
    kept = before if isinstance(operation, Age) else derived
    brings = not isinstance(operation, Age) or operation.move is Move.RESTORE
    if not brings or kept is None or kept.state is not State.ARCHIVED:
        return None
    return Age(derived.id, Move.ARCHIVE, Cause.LINEAGE, derived.version.number + 1)


def ids_of(derived: MemCube) -> tuple[str, ...]:
    """Returns the ids of the memories that something names as its sources."""
    return tuple(one.cube_id for one in derived.descriptive.sources if one.cube_id is not None)


def _follows(derived: MemCube, move: Move) -> Age:
    return Age(derived.id, move, Cause.LINEAGE, derived.version.number)


def _by_lineage(derived: MemCube) -> bool:
    info = derived.version
    # A deletion, or what was closed since, for the reason of that.
    known = info.change in (Change.DELETE, Change.SHARE)
    return known and info.reason == Cause.LINEAGE.value


def _labelled(parameter: MemCube, sources: Sources) -> Operation | None:
    made = parameter.descriptive.created_at
    # What is younger has the id of something that was learnt.
    learnt = [cube for cube in sources.now.values() if cube.descriptive.created_at <= made]
    labels = _labels(parameter, learnt)
    return closing(parameter, labels) if parameter.state in GONE else labels


def _labels(derived: MemCube, cubes: Sequence[MemCube]) -> Update | None:
    return _marked(derived, cubes, stale=derived.descriptive.attributes.get(STALE) is True)


def _marked(derived: MemCube, cubes: Sequence[MemCube], *, stale: bool) -> Update | None:
    rules = derived.governance
    sensitivity = {label for cube in cubes for label in cube.governance.sensitivity}
    compliance = {label for cube in cubes for label in cube.governance.compliance}
    marked = derived.descriptive.attributes.get(STALE) is True
    update = Update(
        derived.id,
        UpdateMode.MERGE,
        attributes=None if stale == marked else {STALE: stale},
        expected=derived.version.number,
        sensitivity=tuple(sorted(sensitivity - {*rules.sensitivity})),
        compliance=tuple(sorted(compliance - {*rules.compliance})),
    )
    return update if update.attributes or update.sensitivity or update.compliance else None


def _narrowed(derived: MemCube, cubes: Sequence[MemCube]) -> Share | None:
    rules = derived.governance
    visibility = visibility_of(cubes)
    wider = _WIDTH[rules.visibility] > _WIDTH[visibility]
    readers = set(readers_of(cubes))
    # Where all may read a source, naming a reader opens nothing of it.
    closed = any(cube.governance.visibility is Visibility.PRIVATE for cube in cubes)
    extra = tuple(name for name in rules.readers if closed and name not in readers)
    if not (wider or extra):
        return None
    return Share(
        derived.id,
        visibility=visibility if wider else None,
        remove=extra,
        expected=derived.version.number,
    )
