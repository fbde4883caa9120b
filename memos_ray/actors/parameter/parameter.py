"""What a shard answers about parameter memory, judged by policy."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from memos_ray.actors.parameter.adapter_exchange import AdapterExchange
from memos_ray.actors.parameter.adapters import Adapters, no_adapter
from memos_ray.actors.parameter.externalising import Externalising
from memos_ray.actors.parameter.lesson_state import by_training
from memos_ray.actors.parameter.lessons import Lessons
from memos_ray.actors.parameter.proposal_doors import ProposalDoors
from memos_ray.actors.parameter.proposals import Proposals
from memos_ray.actors.parameter.proposing import Proposing
from memos_ray.actors.parameter.relearning import Relearning
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import TenantPolicy, no_memory
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.parameter import ExternaliseReport, TeachingReport
from memos_ray.core.scheduling import AnsweredPrompt, Taught
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.receipts import Derived, ErasedThing
from memos_ray.core.vault.requests import ExternaliseRequest, TeachRequest
from memos_ray.errors import InvalidInputError, MemosError, NotFoundError
from memos_ray.ports import ClockPort, ObjectsPort

_log = logging.getLogger(__name__)


class ParameterMemory:
    """Lessons and adapters of a shard, for who may read what they are about.

    Attributes:
        exchange: adapters that are not trained here, and those that are taken away.
        proposals: what models should learn, by what is used.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        adapters: Adapters | None,
        lessons: Lessons | None,
        externalising: Externalising | None,
        relearning: Relearning | None,
        proposals: Proposals | None,
        proposing: Proposing | None,
        *,
        reader: RecordReader,
        guard: PolicyGuard,
        clock: ClockPort,
        objects: ObjectsPort | None,
    ) -> None:
        self.exchange = AdapterExchange(
            adapters, lessons, reader=reader, guard=guard, clock=clock, objects=objects
        )
        self.proposals = ProposalDoors(
            proposals, proposing, guard=guard, clock=clock, teach=self.teach
        )
        self._adapters = adapters
        self._lessons = lessons
        self._externalising = externalising
        self._relearning = relearning
        self._reader = reader
        self._guard = guard
        self._clock = clock

    @property
    def counters(self) -> Counter[str]:
        """What became of adapters, of what is learnt again, and of proposals."""
        found = Counter(self.proposals.counters)
        if self._adapters is not None:
            found += self._adapters.counts
        return found

    async def taught(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        adapter: str | None = None,
    ) -> Taught | None:
        """Returns what a model has learnt of a namespace, if this caller may have it.

        Args:
            adapter: the one that is wanted; the newest that may be used when absent.

        Raises:
            NotFoundError: there is no such adapter that may be used.
            UnavailableError: its weights cannot be had now.
        """
        policy = await self._guard.ensure_for(context)
        visible = policy.permit(context, Action.READ, namespace, self._clock.now())
        if self._adapters is None or isinstance(visible, Nothing):
            if adapter is not None:
                raise no_adapter(adapter)
            return None
        place = Place(partition, context.principal.tenant, namespace)
        if adapter is not None:
            return await self._adapters.named(place, model, adapter, visible)
        return await self._adapters.find(place, model, visible)

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins a lesson; see `ShardPort`."""
        context, namespace = request.context, request.namespace
        heads = await self._readable(partition, request, request.ids)
        blocks = [
            head
            for head in heads
            if head.payload.form is Form.ACTIVATION and head.state not in GONE
        ]
        known = {head.id for head in heads}
        sources = [one.cube_id for block in blocks for one in block.descriptive.sources]
        more = [id for id in dict.fromkeys(sources) if id is not None and id not in known]
        if more:
            heads += await self._readable(partition, request, more)
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, namespace, self._clock.now())
        if self._lessons is None:
            raise NotFoundError("no models can be taught here", model=request.model)
        place = Place(partition, context.principal.tenant, namespace)
        through = tuple(SourceVersion(block.id, block.version.number) for block in blocks)
        return await self._lessons.teach(place, request, heads, by_training(request, through))

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Counts what was used, or has a model learn again what it knew beside something deleted.

        With the rights of the caller whose prompt was answered: for one who may not, the next one's
        prompt tries.
        """
        context, model = answered.context, answered.model
        place = Place(partition, context.principal.tenant, answered.namespace)
        if self._relearning is None or self._lessons is None:
            return
        ids = self._relearning.take(place, model)
        if not ids:
            await self.proposals.answered(partition, answered)
            return
        request = TeachRequest(
            context,
            answered.namespace,
            ids,
            model,
            answered.lesson_id,
            reason="learnt again without what was deleted",
        )
        try:
            await self.teach(partition, request)
        except InvalidInputError:
            # None of it is a text that holds any more.
            self._relearning.done(place, model, ids)
        except MemosError as error:
            _log.info("nothing is learnt again: %s", error.code)
            self._relearning.put_back(place, model)
            await self.proposals.answered(partition, answered)
        except BaseException:
            self._relearning.put_back(place, model)
            raise
        else:
            self._relearning.done(place, model, ids)

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Says how lessons are going, and what there is; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        place = Place(partition, context.principal.tenant, namespace)
        learning: list[TeachingReport] = []
        if self._lessons is not None:
            await self._lessons.opened(partition)
        if self._lessons is not None and self._may_teach(policy, context, namespace):
            # Before anything is waited for: a lesson that ends meanwhile is in one of the two.
            learning = self._lessons.reports(place)
        found = [] if self._adapters is None else await self._adapters.reports(place, visible)
        return found + learning

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, namespace, self._clock.now())
        place = Place(partition, context.principal.tenant, namespace)
        if self._lessons is not None:
            await self._lessons.opened(partition)
        if self._lessons is None or self._lessons.place(lesson_id) != place:
            raise NotFoundError("there is no such lesson", lesson=lesson_id)
        await self._lessons.cancel(lesson_id)

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter; see `ShardPort`."""
        context, namespace = request.context, request.namespace
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        policy.require_namespace(context, Action.CREATE, namespace, now)
        if self._externalising is None:
            raise no_adapter(request.adapter_id)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._externalising.externalise(place, request, visible)

    def touching(self, partition: int, key: CubeKey) -> list[ErasedThing]:
        """Returns the adapters that have learnt a memory, and the lessons about it."""
        adapters = [] if self._adapters is None else self._adapters.touching(partition, key)
        lessons = [] if self._lessons is None else self._lessons.touching(partition, key)
        return [
            *(ErasedThing(Derived.ADAPTER, one.id, one.digest) for one in adapters),
            *(ErasedThing(Derived.LESSON, id) for id in lessons),
        ]

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition's adapters, and goes on with its lessons."""
        if self._adapters is not None:
            self._adapters.open(partition, epoch)
        if self._lessons is not None:
            self._lessons.open(partition, epoch)
        self.proposals.open(partition, epoch)

    def apply(self, commit: Commit) -> None:
        """Ends what has learnt, or is learning, what a commit deletes."""
        if self._adapters is not None:
            self._adapters.apply(commit)
        self.proposals.apply(commit)
        if self._lessons is not None:
            self._lessons.apply(commit)
        if self._externalising is not None:
            self._externalising.apply(commit)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        if self._adapters is not None:
            self._adapters.drop(partition)
        self.proposals.drop(partition)
        if self._lessons is not None:
            self._lessons.drop(partition)
        if self._externalising is not None:
            self._externalising.drop(partition)

    async def close(self) -> None:
        """Leaves the lessons, and returns when what was to be written or erased is."""
        await self.proposals.close()
        if self._lessons is not None:
            await self._lessons.close()
        if self._externalising is not None:
            await self._externalising.close()
        if self._adapters is not None:
            await self._adapters.close()

    async def _readable(
        self, partition: int, request: TeachRequest, ids: Sequence[str]
    ) -> list[MemCube]:
        found = await self._reader.get(partition, request.context, ids)
        heads = [one for one in found if one is not None and one.namespace == request.namespace]
        if len(heads) < len(ids) or not heads:
            raise no_memory()
        return heads

    def _may_teach(self, policy: TenantPolicy, context: CallContext, namespace: str) -> bool:
        permitted = policy.permit(context, Action.CREATE, namespace, self._clock.now())
        return not isinstance(permitted, Nothing)
