"""Shows a caller the order among memories: topics, predicted tags, relations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_ray.actors.organising.topics import TopicKeeper
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.cube.predicted import Predicted
from memos_ray.core.organising.predicted_filters import asks_predicted
from memos_ray.core.organising.predicting import TOPICS_MODEL, PredictedTag, predict
from memos_ray.core.organising.relations import Entity, Link, Related, Relation, upward
from memos_ray.core.organising.topic_reports import TopicMatch, TopicMemories, TopicReport
from memos_ray.core.organising.topics import label_of
from memos_ray.core.retrieval import related
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.errors import DimensionMismatchError, InvalidFilterError, NotFoundError
from memos_ray.ports import ClockPort, RecordStorePort

_BESIDE = 3
_DEEP = 5
_LOOKED_THROUGH = 1000


class Browser:
    """Everything that a caller may see of the order among memories, judged by policy.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        topics: TopicKeeper,
        *,
        store: RecordStorePort,
        residency: Residency,
        reader: RecordReader,
        guard: PolicyGuard,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._topics = topics
        self._store = store
        self._residency = residency
        self._reader = reader
        self._guard = guard
        self._clock = clock
        self._executor = executor

    async def topics(self, place: Place, context: CallContext) -> TopicReport:
        """Returns the topics of what the caller may read in a namespace.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
        """
        shown = await self._topics.view(place, await self._visible(place, context))
        if shown is None:
            return TopicReport((), waiting=False, resident=False)
        return TopicReport(shown.view.topics, shown.waiting, resident=True)

    async def topic(
        self, place: Place, context: CallContext, name: str, offset: int, limit: int
    ) -> TopicMemories:
        """Returns a topic, or a concept, with some of its memories.

        Raises:
            NotFoundError: there is none of this id or label that the caller may see.
        """
        shown = await self._topics.view(place, await self._visible(place, context))
        codes = () if shown is None else shown.view.named(name)
        found = shown.view.of_code(codes[0]) if shown is not None and codes else None
        if shown is None or found is None:
            raise NotFoundError("there is no such topic", topic=name)
        topic, concept = found
        if len(codes) > 1 or name in (topic.id, label_of(topic)):
            concept_shown, codes = None, tuple(one.code for one in topic.concepts)
        else:
            concept_shown = concept
        ids = shown.members(codes)
        page = ids[offset : offset + limit]
        cubes = await self._reader.get(place.partition, context, page)
        held = tuple(one for one in cubes if one is not None)
        return TopicMemories(topic, concept_shown, held, len(ids) > offset + limit)

    async def matches(
        self,
        place: Place,
        context: CallContext,
        vector: npt.NDArray[np.float32],
        most: int,
    ) -> tuple[TopicMatch, ...]:
        """Returns the topics that a query is about, the surest first.

        Raises:
            NotFoundError: as `topics`.
            DimensionMismatchError: the vector is of another embedding space.
        """
        shown = await self._topics.view(place, await self._visible(place, context))
        if shown is None:
            return ()
        if len(vector) != shown.store.dim:
            raise DimensionMismatchError(
                "the query vector is of another embedding space", expected=shown.store.dim
            )
        near = shown.view.nearest(vector.astype(np.float64), most)
        return tuple(TopicMatch(topic, concept, round(alike, 6)) for topic, concept, alike in near)

    async def predicted(
        self, partition: int, context: CallContext, cube_id: str
    ) -> tuple[PredictedTag, ...]:
        """Returns what is predicted of a memory, and why.

        Raises:
            NotFoundError: there is no such memory that the caller may read.
        """
        cube = await self._cube(partition, context, cube_id)
        place = Place(partition, cube.tenant, cube.namespace)
        if not isinstance(cube.payload, Plaintext):
            return ()
        made = predict(cube.text, facets_of(cube))
        policy = await self._guard.ensure_for(context)
        visible = policy.permit(context, Action.READ, place.namespace, self._clock.now())
        shown = await self._topics.view(place, visible)
        found = None if shown is None else shown.view.of_code(shown.code_of(cube_id))
        if shown is None or found is None:
            return made
        topic, concept = found
        words = label_of(concept)
        why = f"it is the most like {concept.memories - 1} others: {words}"
        if concept.memories == 1:
            why = f"no other is much like it: {words}"
        tag = PredictedTag(
            Predicted.TOPIC, label_of(topic), shown.likeness(cube_id), TOPICS_MODEL, (why,)
        )
        return (tag, *made)

    async def settle(
        self, place: Place, request: SearchRequest, visible: Predicate
    ) -> SearchRequest:
        """Makes a search's filter one over memories, where it is about predicted tags.

        Raises:
            InvalidFilterError: they are not known: of the past, or of a namespace too large.
        """
        if not asks_predicted(request.predicate):
            return request
        if request.as_of is not None:
            raise InvalidFilterError("tags are predicted of today's memories only", field="as_of")
        settled = await self._topics.settle(place, request.predicate, visible)
        return replace(request, predicate=settled)

    async def entities(self, place: Place, context: CallContext, most: int) -> tuple[Entity, ...]:
        """Returns the names that most memories tell, and who speaks, among what may be read.

        Raises:
            NotFoundError: as `topics`.
        """
        visible = await self._visible(place, context)
        index = await self._residency.index(place)
        if index is None:
            return ()
        frame = index.store.frame
        shown = frame.mask(visible)
        speakers = frame.coded("speaker")
        spoken = {} if speakers is None else speakers.counts(shown)
        found = [Entity(str(name), count, speaks=True) for name, count in spoken.items()]
        told = index.store.told.counted(shown, most)
        found += [Entity(name, count, speaks=False) for name, count in told]
        return tuple(sorted(found, key=lambda one: (-one.memories, one.name))[:most])

    async def related(
        self, partition: int, context: CallContext, cube_id: str, most: int
    ) -> tuple[Related, ...]:
        """Returns what a memory has to do with others, relation by relation.

        Raises:
            NotFoundError: there is no such memory that the caller may read.
        """
        cube = await self._cube(partition, context, cube_id)
        place = Place(partition, cube.tenant, cube.namespace)
        links = await self._made_of(partition, context, cube)
        links += await self._made_from(place, cube)
        policy = await self._guard.ensure_for(context)
        visible = policy.permit(context, Action.READ, place.namespace, self._clock.now())
        links += await self._near(place, cube, visible, most)
        kept = list({(link.relation, link.id): link for link in reversed(links)}.values())[::-1]
        cubes = await self._reader.get(partition, context, [link.id for link in kept])
        return tuple(
            Related(link, other)
            for link, other in zip(kept, cubes, strict=True)
            # What lies in an archive that cannot be read now is left out, too.
            if other is not None
            and other.state is not State.DELETED
            and not isinstance(other.payload, ArchivedRef)
        )

    async def _made_of(self, partition: int, context: CallContext, cube: MemCube) -> list[Link]:
        """What a memory depends on, and what that depends on, as far as the caller may read."""
        links = upward(cube, 1)
        met, edge = {cube.id}, list(links)
        for steps in range(2, _DEEP + 1):
            ids = [link.id for link in edge if link.relation is Relation.DEPENDS_ON]
            ids = [id for id in dict.fromkeys(ids) if id not in met]
            met.update(ids)
            readable = await self._reader.get(partition, context, ids)
            edge = [link for one in readable if one is not None for link in upward(one, steps)]
            edge = [link for link in edge if link.id not in met]
            links += edge
            if not edge:
                break
        return links

    async def _made_from(self, place: Place, cube: MemCube) -> list[Link]:
        """What was made of a memory, or overtaken by it, among the newest of its namespace."""
        newest: Sequence[MemCube] = await self._run(
            self._store.scan,
            *(place.partition, place.tenant, place.namespace, Everything(), None, _LOOKED_THROUGH),
        )
        links = []
        for other in newest:
            for link in upward(other, 1):
                if link.id != cube.id or other.id == cube.id:
                    continue
                if link.relation is Relation.OVERTAKEN_BY:
                    why = "this ended what it said"
                    links.append(Link(Relation.OVERTAKES, other.id, why))
                else:
                    links.append(Link(Relation.NEEDED_BY, other.id, "it was made of this"))
        return links

    async def _near(self, place: Place, cube: MemCube, visible: Predicate, most: int) -> list[Link]:
        index = await self._residency.index(place)
        if index is None:
            return []
        store = index.store
        shown = store.frame.mask(visible)
        before, after = related.beside(store, cube.id)
        links = [
            Link(relation, id, "in the same session")
            for relation, id in ((Relation.BEFORE, before), (Relation.AFTER, after))
            if id is not None
        ]
        earlier, later = related.in_time(store, cube.id, shown, _BESIDE)
        for relation, found in ((Relation.BEFORE, earlier), (Relation.AFTER, later)):
            links += [
                Link(relation, one.id, f"both tell of {', '.join(one.words)}") for one in found
            ]
        for one in related.sharing(store, cube.id, shown, most):
            links.append(Link(Relation.SHARES, one.id, f"both have {', '.join(one.words)}"))
        return links

    async def _cube(self, partition: int, context: CallContext, cube_id: str) -> MemCube:
        (cube,) = await self._reader.get(partition, context, [cube_id])
        if cube is None:
            raise no_memory()
        return cube

    async def _visible(self, place: Place, context: CallContext) -> Predicate:
        policy = await self._guard.ensure_for(context)
        return policy.require_namespace(context, Action.READ, place.namespace, self._clock.now())

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
