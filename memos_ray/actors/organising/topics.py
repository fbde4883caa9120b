"""Keeps the concepts of resident indexes, and shows each reader the topics that follow."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import blake2b
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.extraction.asking import Asking
from memos_ray.actors.organising.titles import TopicTitles
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.cube.predicate import OneOf, Predicate, Present
from memos_ray.core.cube.predicted import Predicted
from memos_ray.core.defects import describe_defect
from memos_ray.core.organising.concepts import Concepts, Work
from memos_ray.core.organising.labels import Labeller
from memos_ray.core.organising.predicted_filters import (
    PredictedColumns,
    asks_feelings,
    kind_of,
    leaves,
    settle,
    topic_codes,
    values_of,
)
from memos_ray.core.organising.topics import TopicView, look, topics
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.errors import InvalidFilterError

_AT_ONCE = 128
_TEXTS_AT_ONCE = 256
_PATIENCE_S = 1.0
_REST = 4.0
_VIEWS = 32
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    """What is known of one index."""

    concepts: Concepts
    columns: PredictedColumns = field(default_factory=PredictedColumns)
    waiting: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The topics of a place for one reader.

    Attributes:
        codes: the concept of each visible memory, by slot, `[high]`; 0 for the others.
        waiting: whether memories are still to be sorted in: whoever asks does not wait for many.
    """

    view: TopicView
    store: MemoryStore
    codes: npt.NDArray[np.int32]
    waiting: bool

    def code_of(self, id: str) -> int:
        """The concept of a memory; 0 when it is in none, or cannot be seen."""
        slot = self.store.frame.slot_of.get(id)
        return 0 if slot is None or slot >= len(self.codes) else int(self.codes[slot])

    def likeness(self, id: str) -> float:
        """How much like its concept's centre a memory is, 0 to 1; 0 when it is in none."""
        code, slot = self.code_of(id), self.store.frame.slot_of.get(id)
        if not code or slot is None:
            return 0.0
        data, scales = self.store.own.rows(np.array([slot]))
        alike = np.einsum("i,i->", data[0] * np.float64(scales[0]), self.view.centre(code))
        return round(min(1.0, max(0.0, float(alike))), 3)

    def members(self, codes: Iterable[int]) -> list[str]:
        """Ids of the memories in some concepts, the newest first."""
        slots = np.flatnonzero(np.isin(self.codes, list(codes)) & (self.codes > 0))
        times = self.store.frame.times(slots, ("event_time", "created_at"), 0)
        ids = [self.store.frame.ids[slot] for slot in slots.tolist()]
        order = sorted(zip((-times).tolist(), ids, strict=True))
        return [id for _, id in order if id]


class TopicKeeper:
    """The topics of a shard's namespaces.

    Concepts live as long as the index that they are of: they are made again, behind whoever asks,
    when a namespace comes back into memory, from the vectors that rest with the memories. Nothing
    is written.

    Concurrency: runs on the actor's event loop, a few dozen memories at a time; labels are made on
    `executor`, one reader at a time.
    """

    def __init__(
        self, residency: Residency, executor: Executor, asking: Callable[[], Asking | None]
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._titles = TopicTitles(asking, self.counters)
        self._residency = residency
        self._executor = executor
        self._kept: WeakKeyDictionary[ResidentIndex, _Kept] = WeakKeyDictionary()
        # Dropped with every change of the concepts: they quote memories, of which one may be gone.
        self._views: OrderedDict[tuple[Place, bytes], TopicView] = OrderedDict()
        self._labeller = Labeller()
        self._labelling = asyncio.Lock()
        self._tasks: dict[Place, asyncio.Task[None]] = {}

    @property
    def memory_bytes(self) -> int:
        """RAM held."""
        return sum(kept.concepts.memory_bytes() for kept in self._kept.values())

    async def tend(self, places: Iterable[Place], courtesy: Courtesy) -> None:
        """Sorts in what is new, in the background."""
        for place in places:
            while (index := await self._residency.index(place, courtesy)) is not None:
                began = asyncio.get_running_loop().time()
                if not self._step(place, index):
                    break
                await courtesy.turn()
                # Nobody waits for it: searches have the loop four fifths of the time.
                await asyncio.sleep(_REST * (asyncio.get_running_loop().time() - began))

    async def view(self, place: Place, visible: Predicate) -> Shown | None:
        """The topics of a place for one reader; nothing where the place exceeds the budget."""
        index = await self._sorted(place)
        if index is None:
            return None
        kept, store = self._kept[index], index.store
        mask = store.frame.mask(visible)
        codes = np.where(mask, kept.concepts.standing(store), 0).astype(np.int32)
        # A memory in no concept yet moves nothing; a hidden one is in none of these.
        name = place, _digest(codes, np.where(codes > 0, store.own_keys()[: len(codes)], 0))
        view = self._views.get(name)
        if view is None:
            seen, version = look(kept.concepts, store, mask), kept.concepts.version
            async with self._labelling:
                view = await asyncio.get_running_loop().run_in_executor(
                    self._executor, topics, seen, self._labeller
                )
            self.counters["topics_labelled"] += len(view.topics)
            if version == kept.concepts.version:
                self._views[name] = view
                while len(self._views) > _VIEWS:
                    self._views.popitem(last=False)
        return Shown(self._titles.titled(place.tenant, view), store, codes, kept.waiting)

    async def settle(self, place: Place, predicate: Predicate, visible: Predicate) -> Predicate:
        """Puts the memories that it holds of in the place of what a filter says of predictions.

        Raises:
            InvalidFilterError: the namespace exceeds the memory budget.
        """
        wanted = list(dict.fromkeys(leaves(predicate)))
        if not wanted:
            return predicate
        shown = await self.view(place, visible)
        index = await self._residency.index(place)
        kept = None if index is None else self._kept.get(index)
        if shown is None or index is None or kept is None:
            raise InvalidFilterError(
                "tags are predicted in namespaces that fit in memory only",
                field=wanted[0].field,
            )
        columns, store = kept.columns, index.store
        if asks_feelings(predicate):
            left = True
            while left:
                left = columns.read(store, _TEXTS_AT_ONCE)
                await asyncio.sleep(0)
        found: dict[OneOf | Present, tuple[str, ...]] = {}
        for leaf in wanted:
            if kind_of(leaf) is Predicted.TOPIC:
                found[leaf] = tuple(shown.members(topic_codes(shown.view, leaf)))
            else:
                among = store.frame.mask(visible)
                held = columns.holders(store, kind_of(leaf), values_of(leaf), among)
                found[leaf] = tuple(held)
        return settle(predicate, found)

    async def close(self) -> None:
        """Stops what is asked of a model."""
        await self._titles.close()

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for name in [name for name in self._views if name[0].partition == partition]:
            del self._views[name]
        for place in [place for place in self._tasks if place.partition == partition]:
            self._tasks.pop(place).cancel()

    async def _sorted(self, place: Place) -> ResidentIndex | None:
        """An index with its concepts as far as they could be made within a moment."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while (index := await self._residency.index(place)) is not None:
            if not self._step(place, index):
                return index
            if loop.time() > until:
                self._go_on(place)
                return index
            await asyncio.sleep(0)
        return None

    def _step(self, place: Place, index: ResidentIndex) -> bool:
        """Takes a few memories in; tells whether there are more."""
        kept = self._kept.get(index)
        if kept is None:
            kept = self._kept[index] = _Kept(Concepts(index.store.dim))
        before = kept.concepts.version
        work = kept.concepts.tend(index.store, _AT_ONCE)
        kept.waiting = bool(work.waiting)
        if kept.concepts.version != before:
            self._forget(place)
            self._count(place, work)
        return kept.waiting

    def _forget(self, place: Place) -> None:
        for name in [name for name in self._views if name[0] == place]:
            del self._views[name]

    def _count(self, place: Place, work: Work) -> None:
        done = {
            "sorted": work.joined,
            "left": work.left,
            "made": work.founded,
            "split": work.split,
            "merged": work.merged,
        }
        for name, count in done.items():
            self.counters[f"topics_{name}"] += count
        if work.split or work.merged:
            told = ", ".join(f"{count} {name}" for name, count in done.items() if count)
            _log.info("topics: partition %d: %s", place.partition, told)

    def _go_on(self, place: Place) -> None:
        """Sorts the rest in while nobody waits for it."""
        if place in self._tasks:
            return
        task = asyncio.create_task(self.tend([place], Courtesy(lambda: False)))
        self._tasks[place] = task

        def done(ended: asyncio.Task[None]) -> None:
            self._tasks.pop(place, None)
            if not ended.cancelled() and (error := ended.exception()) is not None:
                # Whoever asks next begins it anew.
                _log.info("topics: sorting in has ended: %s", describe_defect(error))

        task.add_done_callback(done)


def _digest(*arrays: npt.NDArray[np.generic]) -> bytes:
    state = blake2b(digest_size=16)
    for array in arrays:
        state.update(np.ascontiguousarray(array).data)
    return state.digest()
