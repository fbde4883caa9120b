"""What a pipeline would fail of that its definition alone does not show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.pipeline.definition import (
    Augment,
    Convert,
    Create,
    PipelineSpec,
    Publish,
    Retrieve,
    Step,
    Teach,
)
from memos_ray.ports import HookPort


def obstacles(
    spec: PipelineSpec,
    context: CallContext,
    policy: TenantPolicy,
    now: datetime,
    models: frozenset[str],
    hooks: HookPort,
) -> list[str]:
    """Returns a sentence for each thing that a run of this caller would fail of now.

    A namespace that the caller may not see reads like one that is not there.
    """
    found: list[str] = []
    for step in spec.steps:
        problems = (*_outside(step, models, hooks), *_denied(step, context, policy, now))
        found += [f"step {step.id}: {problem}" for problem in problems]
    return found


def _outside(step: Step, models: frozenset[str], hooks: HookPort) -> Iterator[str]:
    match step:
        case Augment(model=model) | Convert(model=model) | Teach(model=model):
            if model is not None and model not in models:
                yield f"there is no model {model}"
        case Publish(url=url):
            if not hooks.allows(url):
                yield "the settings allow no pipeline to publish there"


def _denied(step: Step, context: CallContext, policy: TenantPolicy, now: datetime) -> Iterator[str]:
    match step:
        case Retrieve(namespace=namespace):
            action = Action.READ
        case Create(namespace=namespace):
            action = Action.CREATE
        case _:
            return
    place = namespace or context.home
    # Being named in single memories there is no admission.
    if namespace is not None and place not in policy.visible_namespaces(context, now):
        yield f"there is no namespace {place} for you"
    elif isinstance(policy.permit(context, action, place, now), Nothing):
        yield f"you may not {action.value} in {place}"
