"""Proposals to have a model begin its prompts with memories, or learn them. Pure.

Which memories those are is decided where promotion is: `core.scheduling.promotion` for KV caches,
`core.scheduling.learning` for adapters. Here is only what becomes of it as a proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.payload import Form
from memos_ray.core.evolution.proposals import ID_DIGITS, EvolutionKind, Evolved, EvolvedState
from memos_ray.core.scheduling import alike

_OVER = (EvolvedState.REFUSED, EvolvedState.UNDONE)


def promotion_of(
    tenant: str,
    namespace: str,
    model: str,
    form: Form,
    sources: Sequence[SourceVersion],
    reasons: tuple[str, ...],
    now: datetime,
    id: str | None = None,
) -> Evolved:
    """Makes a proposal to promote memories.

    Args:
        id: where the policy has a name for it already.
    """
    ordered = sorted(sources, key=lambda one: one.cube_id)
    if id is None:
        named = (f"{one.cube_id}@{one.version}".encode() for one in ordered)
        id = digest(b"memos-promotion-1", model.encode(), form.value.encode(), *named)[:ID_DIGITS]
    return Evolved(
        id,
        tenant,
        namespace,
        EvolutionKind.PROMOTION,
        tuple((one.cube_id, one.version) for one in ordered),
        reasons,
        now,
        model=model,
        form=form,
    )


def fresh_promotions(found: Sequence[Evolved], known: Sequence[Evolved]) -> list[Evolved]:
    """Returns those that are new: nothing like them is open, was refused or undone."""
    held = [one for one in known if one.state is EvolvedState.OPEN or one.state in _OVER]
    return [one for one in found if not any(_same(one, other) for other in held)]


def outdated_promotions(
    found: Sequence[Evolved], known: Sequence[Evolved], decided: frozenset[tuple[str, Form]]
) -> list[Evolved]:
    """Returns the open ones that pay no longer, or that another has taken the place of.

    Args:
        decided: the models and forms of which all that pays is in `found`.
    """
    return [
        one
        for one in known
        if one.kind is EvolutionKind.PROMOTION
        and one.state is EvolvedState.OPEN
        and (one.model, one.form) in decided
        and not any(_same(one, other) for other in found)
    ]


def _same(one: Evolved, other: Evolved) -> bool:
    about = (one.kind, one.model, one.form) == (other.kind, other.model, other.form)
    return about and alike(_versions(one), _versions(other))


def _versions(one: Evolved) -> frozenset[SourceVersion]:
    return frozenset(SourceVersion(id, version) for id, version in one.sources)
