"""The part of a shard's handle that browses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from memos_ray.cluster.shard.calls import Calls
from memos_ray.core.access.context import CallContext
from memos_ray.core.organising.predicting import PredictedTag
from memos_ray.core.organising.relations import Entity, Related
from memos_ray.core.organising.topic_reports import TopicMatch, TopicMemories, TopicReport


class BrowsingCalls(Calls):
    """Implements `ports.shard.browsing.BrowsingPort`."""

    async def topics(self, partition: int, context: CallContext, namespace: str) -> TopicReport:
        """Returns topics."""
        report: TopicReport = await self._call("topics", partition, context, namespace)
        return report

    async def topic(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        offset: int,
        limit: int,
    ) -> TopicMemories:
        """Returns a topic with its memories."""
        found: TopicMemories = await self._call(
            "topic", partition, context, namespace, name, offset, limit
        )
        return found

    async def topic_matches(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        vector: npt.NDArray[np.float32],
        most: int,
    ) -> tuple[TopicMatch, ...]:
        """Returns the topics of a query."""
        found: tuple[TopicMatch, ...] = await self._call(
            "topic_matches", partition, context, namespace, vector, most
        )
        return found

    async def predicted_tags(
        self, partition: int, context: CallContext, cube_id: str
    ) -> tuple[PredictedTag, ...]:
        """Returns predictions."""
        found: tuple[PredictedTag, ...] = await self._call(
            "predicted_tags", partition, context, cube_id
        )
        return found

    async def entities(
        self, partition: int, context: CallContext, namespace: str, most: int
    ) -> tuple[Entity, ...]:
        """Returns names."""
        found: tuple[Entity, ...] = await self._call(
            "entities", partition, context, namespace, most
        )
        return found

    async def related(
        self, partition: int, context: CallContext, cube_id: str, most: int
    ) -> tuple[Related, ...]:
        """Returns relations."""
        found: tuple[Related, ...] = await self._call("related", partition, context, cube_id, most)
        return found
