"""What is said of memories, and what their use tells without a word."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from memos_ray.actors.evolution.opinions import IMPLICIT, Opinions, Said
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.evolution import FeedbackReport, FeedbackRequest, Opinion
from memos_ray.core.evolution.worth import IMPLICIT as STEP
from memos_ray.core.evolution.worth import QUIET
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import MemosError, NotFoundError
from memos_ray.ports import ClockPort, RecordStorePort

_TALKS = 4096
_MOST_HEARD = 20_000
_log = logging.getLogger(__name__)


class Usefulness:
    """What memories of a shard are worth, by opinions and by signs of use.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        reader: RecordReader,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.opinions = Opinions(store, executor)
        self._store = store
        self._reader = reader
        self._usage = usage
        self._clock = clock
        self._executor = executor
        self._talks: OrderedDict[tuple[Place, str, str], tuple[str, ...]] = OrderedDict()

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what a caller says of memories that the caller may read; see `ShardPort`.

        Raises:
            NotFoundError: there is none of them for this caller.
        """
        context, now = request.context, self._clock.now()
        found = await self._reader.peek(partition, context, request.ids)
        cubes = [cube for cube in found if cube is not None]
        if not cubes:
            raise NotFoundError("there is no such memory")
        worth, who, opinion = {}, context.principal.id, Opinion(request.value)
        steps = await self.opinions.put(
            partition,
            [
                Said(CubeKey(cube.tenant, cube.id), cube.namespace, who, opinion, request.note)
                for cube in cubes
            ],
        )
        for cube in cubes:
            key = CubeKey(cube.tenant, cube.id)
            self._usage.found(partition, key, steps[key], now)
            self._usage.noted(
                partition,
                context,
                cube,
                now,
                {"value": request.value, "response": request.response},
            )
            worth[cube.id] = self.opinions.worth(partition, key)
        self.counters["feedback"] += len(cubes)
        return FeedbackReport(worth)

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answer without being told: what came back, and what was asked again."""
        context = answered.context
        place = Place(partition, context.principal.tenant, answered.namespace)
        talk = place, context.principal.id, answered.conversation
        before = self._talks.get(talk, ()) if answered.repeated else ()
        signs = [(cube_id, -STEP, tuple[int, ...]()) for cube_id in before]
        signs += [(cube_id, STEP, tuple(parts)) for cube_id, parts in answered.echoes]
        if signs:
            await self._heard(place, signs)
        self._talks[talk] = tuple(cube_id for cube_id, _ in answered.hits)
        self._talks.move_to_end(talk)
        while len(self._talks) > _TALKS:
            self._talks.popitem(last=False)

    async def levels(self, place: Place) -> Mapping[str, float]:
        """Returns how far memories are moved in rankings, of those that are moved at all."""
        try:
            await self.opinions.of(place.partition)
        except MemosError as error:
            # A search needs no opinions.
            _log.info("opinions cannot be read: %s", error.code)
        return self.opinions.levels(place.partition, place.tenant)

    def promotable(self, partition: int, answered: AnsweredPrompt) -> AnsweredPrompt:
        """Leaves out what does not help: it is not promoted to a cache or taught."""
        place = Place(partition, answered.context.principal.tenant, answered.namespace)
        worth = self.worth(place, [cube_id for cube_id, _ in answered.hits])
        hits = tuple(one for one in answered.hits if worth.get(one[0], 0.0) > -QUIET)
        return answered if len(hits) == len(answered.hits) else replace(answered, hits=hits)

    def worth(self, place: Place, ids: Sequence[str]) -> dict[str, float]:
        """Returns what memories are worth, of those that anything is known of."""
        if not self.opinions.known(place.partition):
            return {}
        keys = {cube_id: CubeKey(place.tenant, cube_id) for cube_id in ids}
        found = {id: self.opinions.worth(place.partition, key) for id, key in keys.items()}
        return {id: value for id, value in found.items() if value}

    async def _heard(
        self, place: Place, signs: Sequence[tuple[str, float, tuple[int, ...]]]
    ) -> None:
        """Keeps the signs of one answer in one transaction: ids, what each counts, and parts."""
        partition = place.partition
        known = await self.opinions.of(partition)
        keys = list(dict.fromkeys(CubeKey(place.tenant, cube_id) for cube_id, _, _ in signs))
        heads: dict[CubeKey, MemCube] = await self._run(self._store.heads, partition, keys)
        heard: dict[CubeKey, Opinion] = {}
        for cube_id, step, parts in signs:
            key = CubeKey(place.tenant, cube_id)
            if key in heads and (known.get(key) or len(known) < _MOST_HEARD):
                before = heard.get(key) or known.get(key, {}).get(IMPLICIT, Opinion(0.0))
                heard[key] = before.heard(step, parts)
        if not heard:
            return
        said = [Said(key, heads[key].namespace, IMPLICIT, one) for key, one in heard.items()]
        for key, changed in (await self.opinions.put(partition, said)).items():
            self._usage.found(partition, key, changed, self._clock.now())
        self.counters["feedback_implicit"] += len(signs)

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
