"""The cells of the decision table in `policy`: which memories each kind of permission covers."""

from __future__ import annotations

from collections.abc import Iterator

from memos_ray.core.access.compiled import Admission
from memos_ray.core.access.context import Action
from memos_ray.core.access.decision import Term
from memos_ray.core.access.model import NamespaceSpec, Reach
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.predicate import Everything, HasAny, OneOf, Predicate, all_of, any_of

NAMED_READER = "reader"
SCOPES = {
    Action.READ: (NAMED_READER, "readers"),
    Action.UPDATE: ("writer", "writers"),
    Action.SHARE: ("sharer", "sharers"),
}
"""For each action that a memory's scopes give: the reason in decisions, and the facet."""

_SHARED = Visibility.SHARED.value
_PRIVATE = Visibility.PRIVATE.value
_READ_ONLY = Visibility.READ_ONLY.value
_NOT_PRIVATE = OneOf("visibility", (_SHARED, _READ_ONLY))
_NOT_READ_ONLY = OneOf("visibility", (_SHARED, _PRIVATE))
_IS_SHARED = OneOf("visibility", (_SHARED,))


def membership(
    spec: NamespaceSpec, me: str, subjects: tuple[str, ...], action: Action, own: Predicate
) -> Iterator[Term]:
    """The memories that an owner or member of a shared namespace reaches; may yield nothing."""
    owner = spec.owner == me
    if not owner and not any(subject in spec.members for subject in subjects):
        return
    match action:
        case Action.READ:
            yield Term("member", any_of(own, _NOT_PRIVATE))
        case Action.ADMINISTER:
            if owner:
                yield Term("member", Everything())
        case _:
            yield Term("member", own)


def covered(action: Action, admission: Admission, own: Predicate) -> Predicate:
    """The memories that a rule or grant covers, before its own condition (the table's cells)."""
    everyone = admission.reach is Reach.PRIVATE
    match action:
        case Action.ADMINISTER:
            return Everything()
        case Action.CREATE:
            return own
        case Action.READ:
            return Everything() if everyone else any_of(own, _NOT_PRIVATE)
        case _:
            return any_of(own, _NOT_READ_ONLY if everyone else _IS_SHARED)


def named(action: Action, names: tuple[str, ...]) -> Term:
    """The memories whose scopes name the caller for an action in `SCOPES`."""
    reason, scope = SCOPES[action]
    mentioned = HasAny(scope, names)
    return Term(reason, mentioned if action is Action.READ else all_of(_NOT_READ_ONLY, mentioned))
