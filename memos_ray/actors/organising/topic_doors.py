"""What a shard is asked about topics, predicted tags and relations."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from memos_ray.actors.organising.organising import Organiser
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import CallContext
from memos_ray.core.organising.predicting import PredictedTag
from memos_ray.core.organising.relations import Entity, Related
from memos_ray.core.organising.topic_reports import TopicMatch, TopicMemories, TopicReport


class TopicDoors(ABC):
    """The part of `ports.ShardPort` that browses; a shard is the rest."""

    _organiser: Organiser

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    async def topics(self, partition: int, context: CallContext, namespace: str) -> TopicReport:
        """Returns the topics of a namespace; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.browser.topics(place, context)

    async def topic(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        offset: int,
        limit: int,
    ) -> TopicMemories:
        """Returns a topic with some of its memories; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.browser.topic(place, context, name, offset, limit)

    async def topic_matches(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        vector: npt.NDArray[np.float32],
        most: int,
    ) -> tuple[TopicMatch, ...]:
        """Returns the topics that a query is about; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.browser.matches(place, context, vector, most)

    async def predicted_tags(
        self, partition: int, context: CallContext, cube_id: str
    ) -> tuple[PredictedTag, ...]:
        """Returns what is predicted of a memory; see `ShardPort`."""
        await self._serve(partition)
        return await self._organiser.browser.predicted(partition, context, cube_id)

    async def entities(
        self, partition: int, context: CallContext, namespace: str, most: int
    ) -> tuple[Entity, ...]:
        """Returns the names that memories tell; see `ShardPort`."""
        await self._serve(partition)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._organiser.browser.entities(place, context, most)

    async def related(
        self, partition: int, context: CallContext, cube_id: str, most: int
    ) -> tuple[Related, ...]:
        """Returns what a memory has to do with others; see `ShardPort`."""
        await self._serve(partition)
        return await self._organiser.browser.related(partition, context, cube_id, most)
