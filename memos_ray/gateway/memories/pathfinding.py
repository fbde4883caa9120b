"""Plans where a search goes: asks the namespaces that it may go to what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.organising.layers import Placed, layers
from memos_ray.core.organising.paths import MemoryPathResolver, Path
from memos_ray.core.organising.topic_reports import TopicMatch
from memos_ray.core.organising.topics import label_of
from memos_ray.core.reader.query import MemoryCall
from memos_ray.errors import NotFoundError
from memos_ray.gateway.browsing.models import RoutePlan, RouteStep, RouteTopic
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort, Vectors

_TOPICS = 3


class Pathfinder:
    """Finds the namespaces that a request is about, among those that the caller may read."""

    def __init__(self, router: Router, placement: Placement, clock: ClockPort) -> None:
        self._router = router
        self._placement = placement
        self._clock = clock
        self._resolver = MemoryPathResolver()

    async def path(
        self,
        context: CallContext,
        policy: TenantPolicy,
        call: MemoryCall | None,
        vector: Vectors | None,
        *,
        explain: bool,
    ) -> Path:
        """Plans the way of a request; costs one remote call, to all namespaces at once.

        Args:
            explain: asks also where there is but one way to go.
        """
        placed = layers(policy, context, self._clock.now())
        candidates = self._resolver.candidates(call, placed)
        found: Sequence[Sequence[TopicMatch]] = [()] * len(candidates)
        if vector is not None and (explain or len(candidates) > 1):
            hop = context.hop()
            found = await asyncio.gather(*(self._matches(hop, one, vector) for one in candidates))
        matches = {one.namespace: held for one, held in zip(candidates, found, strict=True)}
        return self._resolver.resolve(call, placed, matches)

    async def _matches(
        self, context: CallContext, placed: Placed, vector: Vectors
    ) -> tuple[TopicMatch, ...]:
        name = placed.namespace
        partition = await self._placement.home(context, name)
        try:
            return await self._router.call(
                partition,
                lambda shard, _: shard.topic_matches(partition, context, name, vector, _TOPICS),
            )
        except NotFoundError:
            # It was closed to the caller meanwhile; a search says so.
            return ()


def plan_of(path: Path) -> RoutePlan:
    """Shows a plan to the outside."""
    return RoutePlan(
        steps=[
            RouteStep(
                namespace=step.namespace,
                layer=step.layer,
                topics=[
                    RouteTopic(
                        id=one.topic.id,
                        label=label_of(one.topic),
                        concept=label_of(one.concept),
                        alike=one.alike,
                    )
                    for one in step.matches
                ],
                reasons=list(step.reasons),
            )
            for step in path.steps
        ],
        left_out=dict(path.left_out),
        reasons=list(path.reasons),
    )


def report_of(path: Path) -> dict[str, Any]:
    """A plan as part of what was understood of a search."""
    return plan_of(path).model_dump(mode="json")
