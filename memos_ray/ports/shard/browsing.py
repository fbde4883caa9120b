"""A shard, as those see it who browse the order among memories."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from memos_ray.core.access.context import CallContext
from memos_ray.core.organising.predicting import PredictedTag
from memos_ray.core.organising.relations import Entity, Related
from memos_ray.core.organising.topic_reports import TopicMatch, TopicMemories, TopicReport


class BrowsingPort(Protocol):
    """Topics, predicted tags and relations; raises as `ShardPort`."""

    async def topics(self, partition: int, context: CallContext, namespace: str) -> TopicReport:
        """Returns the topics of what the caller may read in a namespace."""
        ...

    async def topic(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        offset: int,
        limit: int,
    ) -> TopicMemories:
        """Returns a topic or concept, by id or label, with some of its memories."""
        ...

    async def topic_matches(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        vector: npt.NDArray[np.float32],
        most: int,
    ) -> tuple[TopicMatch, ...]:
        """Returns the topics that a query is about, the surest first."""
        ...

    async def predicted_tags(
        self, partition: int, context: CallContext, cube_id: str
    ) -> tuple[PredictedTag, ...]:
        """Returns what is predicted of a memory."""
        ...

    async def entities(
        self, partition: int, context: CallContext, namespace: str, most: int
    ) -> tuple[Entity, ...]:
        """Returns the names that most readable memories tell, and who speaks."""
        ...

    async def related(
        self, partition: int, context: CallContext, cube_id: str, most: int
    ) -> tuple[Related, ...]:
        """Returns what a memory has to do with others."""
        ...
