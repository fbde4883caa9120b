"""Adapters that no lesson here has trained: combined of others, or brought; and taken away."""

from __future__ import annotations

import numpy as np

from memos_ray.actors.parameter.adapters import Adapters
from memos_ray.actors.parameter.lesson_state import Making
from memos_ray.actors.parameter.lessons import Lessons
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.metadata import Origin
from memos_ray.core.parameter import (
    AdapterPart,
    AdapterPayload,
    TeachingReport,
    TeachingState,
    plan_fusion,
)
from memos_ray.core.parameter.peft_format import to_peft
from memos_ray.core.vault.requests import ImportRequest, MergeRequest, TeachRequest
from memos_ray.errors import (
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
)
from memos_ray.ports import ClockPort, CombinedAdapters, ForeignAdapter, ObjectsPort

_PART_BYTES = 4 << 20


class AdapterExchange:
    """Begins lessons in which nothing is trained, and gives adapters away.

    Whatever comes of them has sources and has passed the gate, like any other adapter.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        adapters: Adapters | None,
        lessons: Lessons | None,
        *,
        reader: RecordReader,
        guard: PolicyGuard,
        clock: ClockPort,
        objects: ObjectsPort | None,
    ) -> None:
        self._adapters = adapters
        self._lessons = lessons
        self._reader = reader
        self._guard = guard
        self._clock = clock
        self._objects = objects

    async def merge(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters; see `ShardPort`.

        Raises:
            NotFoundError: there is no such adapter for this caller, or nothing can be taught.
            InvalidInputError: they are of different models, or do not go together.
            IllegalStateError: not all are live, or the model is learning something already.
        """
        context, namespace = request.context, request.namespace
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        policy.require_namespace(context, Action.CREATE, namespace, now)
        if self._lessons is None or self._adapters is None:
            raise NotFoundError("no models can be taught here")
        place = Place(partition, context.principal.tenant, namespace)
        parents = []
        for id in request.ids:
            adapter, state = await self._adapters.known(place, id, visible)
            if state is not TeachingState.LIVE:
                raise IllegalStateError(
                    "only live adapters are combined", adapter=id, state=state.value
                )
            parents.append(adapter)
        models = sorted({one.model for one in parents})
        if len(models) != 1:
            raise InvalidInputError("the adapters are of different models", models=models)
        plan = plan_fusion(
            parents,
            request.method,
            weights=request.weights,
            density=request.density,
            rank_max=self._lessons.room(models[0]).rank_max,
        )
        references = [await self._adapters.reference(one) for one in parents]
        sources = dict.fromkeys(source for one in parents for source in one.sources)
        ids = tuple(source.cube_id for source in sources)
        found = await self._reader.get(partition, context, ids)
        heads = [head for head in found if head is not None]
        # The weights know the old text; what is asked at the gate is the new one.
        if {(one.id, one.version.number) for one in heads} != {
            (source.cube_id, source.version) for source in sources
        }:
            raise IllegalStateError("a memory of the adapters has changed meanwhile")
        teaching = TeachRequest(
            context, namespace, ids, models[0], request.minted_id, request.reason
        )
        making = Making(
            CombinedAdapters(plan, tuple(references)),
            attributes={"method": plan.method.value, "merged_from": " ".join(request.ids)},
        )
        return await self._lessons.teach(place, teaching, heads, making)

    async def bring(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to take an adapter in that was made elsewhere; see `ShardPort`.

        Raises:
            NotFoundError: one of the memories is not there, or no such model can be taught.
            PayloadTooLargeError: the file is larger than the model's replicas take.
            InvalidInputError: not all of the memories are texts.
            IllegalStateError: the model is learning something already.
        """
        context, namespace = request.context, request.namespace
        found = await self._reader.get(partition, context, request.ids)
        heads = [head for head in found if head is not None and head.namespace == namespace]
        if len(heads) < len(request.ids) or not heads:
            raise no_memory()
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, namespace, self._clock.now())
        if self._lessons is None or self._objects is None:
            raise NotFoundError("no models can be taught here", model=request.model)
        limit = self._lessons.room(request.model).bytes_max
        if len(request.tensors) > limit:
            raise PayloadTooLargeError("the adapter is too large", limit=limit)
        tensors = await self._objects.put(np.frombuffer(request.tensors, np.uint8))
        place = Place(partition, context.principal.tenant, namespace)
        teaching = TeachRequest(
            context, namespace, request.ids, request.model, request.minted_id, request.reason
        )
        making = Making(ForeignAdapter(request.config, (tensors,)), Origin.IMPORT)
        return await self._lessons.teach(place, teaching, heads, making)

    async def part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file; see `ShardPort`.

        Raises:
            NotFoundError: there is no such adapter for this caller.
            IllegalStateError: a memory that it has learnt does not hold any more.
            UnavailableError: its file cannot be read.
        """
        policy = await self._guard.ensure_for(context)
        visible = policy.require_namespace(context, Action.READ, namespace, self._clock.now())
        place = Place(partition, context.principal.tenant, namespace)
        if self._adapters is None or self._objects is None:
            raise NotFoundError("there is no such adapter", adapter=adapter_id)
        adapter, _ = await self._adapters.known(place, adapter_id, visible)
        reference = await self._adapters.reference(adapter)
        payload: AdapterPayload = await self._objects.get(reference)
        files = to_peft(payload, adapter.model)
        data = files.part(start, _PART_BYTES)
        return AdapterPart(adapter.digest, files.config, files.size_bytes, data)
