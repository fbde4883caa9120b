"""Embeds what has been written, after the write was acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext

import numpy as np

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.actors.vault.salvaging import readable
from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.cube.fingerprint import sketch
from memos_ray.core.cube.predicate import OneOf, all_of
from memos_ray.core.retrieval import ResidentIndex, VectorSet, ViewKind, ViewPlan, plan_views
from memos_ray.core.retrieval.settings import ViewSettings
from memos_ray.core.vault.entries import EXTRACT, changes
from memos_ray.core.vault.log import CubeKey, Event, Outcome
from memos_ray.errors import (
    DimensionMismatchError,
    EmbedderError,
    InvalidInputError,
    StoreCorruptError,
)
from memos_ray.ports import EmbedderPort, RecordStorePort, StoredVectors, Vectors

_log = logging.getLogger(__name__)
_PLANS = 64
_ANYTHING = "memory"
_PAUSE_S = 0.02
_AWAY = frozenset((Change.ARCHIVE.value, Change.EXPIRE.value))


class EmbedConsumer:
    """Computes the missing vectors of the places that log entries speak of.

    Which texts a memory needs follows from it and its neighbours, so a resident index is asked; a
    namespace too large to be resident is planned from the store, memory by memory. Texts that the
    embedder refuses, and memories that cannot be read, keep no others from being embedded; the
    former are tried again by the next owner, the latter are owed (see `LogFeed`).

    Args:
        position: up to where the log has been consumed.
        late: opens what vectors are stored in whose entries were passed without any.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        *,
        store: RecordStorePort,
        residency: Residency,
        embedder: EmbedderPort,
        views: ViewSettings,
        executor: Executor,
        embed_executor: Executor,
        courtesy: Courtesy,
        position: Callable[[], int],
        late: Callable[[Sequence[Event]], AbstractAsyncContextManager[None]],
    ) -> None:
        self._partition = partition
        self._epoch = epoch
        self._store = store
        self._residency = residency
        self._embedder = embedder
        self._views = views
        self._executor = executor
        self._embed_executor = embed_executor
        self._courtesy = courtesy
        self._position = position
        self._late = late
        self._unread: dict[Place, set[str]] = {}
        self._refused: dict[Place, dict[str, tuple[int, ...]]] = {}

    async def consume(self, events: Sequence[Event]) -> None:
        """Embeds until nothing in the events' places is missing or stale.

        Raises:
            StoreCorruptError: memories of the events cannot be read; all others are embedded.
        """
        touched: dict[Place, dict[str, None]] = {}
        for event in events:
            if event.outcome is Outcome.DONE and event.cube_id is not None and changes(event):
                place = Place(self._partition, event.tenant, event.namespace)
                if event.operation in _AWAY and place not in self._residency:
                    # There is nothing to embed, and no reason to load what nobody searches.
                    continue
                touched.setdefault(place, {})[event.cube_id] = None
        owed = [await self._embed_place(place, list(ids)) for place, ids in touched.items()]
        if count := sum(owed):
            raise StoreCorruptError("memories cannot be read, and are not embedded", count=count)

    async def outdated(self) -> bool:
        """Vectors are kept with the memories themselves; they do not get lost apart."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    async def _embed_place(self, place: Place, ids: Sequence[str]) -> int:
        """Embeds what is there; returns how many of the memories cannot be read."""
        again = True
        while (index := await self._residency.index(place, self._courtesy)) is not None:
            plans = self._unrefused(place, index)
            if not plans:
                damaged, mended = await self._looked_at(place, ids)
                if not mended or not again:
                    return damaged
                again = False
                self._residency.outdate(place, index)
            elif not await self._embed(place, plans):
                # All of them are being erased; the index hears of it with the commit.
                await asyncio.sleep(_PAUSE_S)
            await self._courtesy.turn()
        # Too large to be resident, perhaps since a moment ago.
        loop = asyncio.get_running_loop()
        plans, unread = await loop.run_in_executor(self._executor, self._plan, place, ids)
        self._overlook(place, unread)
        for start in range(0, len(plans), _PLANS):
            await self._courtesy.turn()
            await self._embed(place, plans[start : start + _PLANS])
        return len(unread)

    async def _looked_at(self, place: Place, ids: Sequence[str]) -> tuple[int, int]:
        """Looks at those that could not be read: how many still cannot, and how many can."""
        unread = self._unread.get(place, set())
        doubtful = (unread | self._residency.damaged(place)).intersection(ids)
        if not doubtful:
            return 0, 0
        keys = [CubeKey(place.tenant, id) for id in doubtful]
        loop = asyncio.get_running_loop()
        heads, damaged = await loop.run_in_executor(
            self._executor, readable, self._store, self._partition, keys
        )
        for key in heads:
            unread.discard(key.id)
            self._refused.get(place, {}).pop(key.id, None)
        return len(damaged), len(heads)

    def _unrefused(self, place: Place, index: ResidentIndex) -> list[ViewPlan]:
        """Returns what is to be embedded, without what has been refused already."""
        refused = self._refused.get(place, {})
        stale = index.stale_views(_PLANS + len(refused))
        if len(stale) < _PLANS + len(refused) and refused:
            # What is gone, or was rewritten and embedded, is not to be remembered.
            ids = {plan.id for plan in stale}
            self._refused[place] = {id: texts for id, texts in refused.items() if id in ids}
        return [plan for plan in stale if refused.get(plan.id) != _digest(plan)][:_PLANS]

    async def _embed(self, place: Place, plans: Sequence[ViewPlan]) -> bool:
        """Embeds; tells whether anything has come of it.

        Raises:
            EmbedderError: the embedder is away, or refuses everything.
        """
        try:
            return await self._embed_together(place, plans)
        except DimensionMismatchError:
            raise
        except InvalidInputError as error:
            if len(plans) == 1:
                refused = [plans[0]]
            else:
                refused = []
                for plan in plans:
                    try:
                        await self._embed_together(place, [plan])
                    except InvalidInputError:
                        refused.append(plan)
                if len(refused) == len(plans) and not await self._answers():
                    raise EmbedderError("the embedder refuses whatever it is given") from None
            self._leave(place, refused)
            self._residency.counters["embed_refused"] += len(refused)
            _log.warning("%d memories are not embedded: %s", len(refused), error.code)
            return True

    def _leave(self, place: Place, plans: Iterable[ViewPlan]) -> None:
        """Remembers not to plan these again."""
        self._refused.setdefault(place, {}).update({plan.id: _digest(plan) for plan in plans})

    def _overlook(self, place: Place, damaged: Set[str]) -> None:
        """Counts what cannot be read, each once."""
        met = damaged - self._unread.get(place, set())
        if met:
            self._unread.setdefault(place, set()).update(met)
            self._residency.counters["memories_damaged"] += len(met)
            _log.error(
                "%d memories of partition %d cannot be read, and are not embedded",
                len(met),
                self._partition,
            )

    async def _answers(self) -> bool:
        """Tells whether the embedder takes any text at all."""
        loop, anything = asyncio.get_running_loop(), [_ANYTHING]
        try:
            await loop.run_in_executor(self._embed_executor, self._embedder.embed, anything)
        except InvalidInputError:
            return False
        return True

    async def _embed_together(self, place: Place, plans: Sequence[ViewPlan]) -> bool:
        loop = asyncio.get_running_loop()
        rows, late, damaged = await loop.run_in_executor(
            self._embed_executor, self._compute, place, plans
        )
        if damaged:
            self._leave(place, [plan for plan in plans if plan.id in damaged])
            self._overlook(place, damaged)
        async with self._late(late) if late else nullcontext():
            await loop.run_in_executor(
                self._executor, self._store.save_vectors, self._partition, self._epoch, rows
            )
        await self._residency.attach(place, rows)
        return bool(rows or damaged)

    def _compute(
        self, place: Place, plans: Sequence[ViewPlan]
    ) -> tuple[list[StoredVectors], list[Event], set[str]]:
        """Returns vectors, the entries of those that come late, and ids of what cannot be read."""
        keys = [CubeKey(place.tenant, plan.id) for plan in plans]
        heads, damaged = readable(self._store, self._partition, keys)
        present = [
            (plan, heads[key]) for plan, key in zip(plans, keys, strict=True) if key in heads
        ]
        texts = [view.text for plan, _ in present for view in plan.views]
        vectors = self._embedder.embed(texts)
        rows, start = [], 0
        for plan, head in present:
            end = start + len(plan.views)
            rows.append(self._row(head, VectorSet.quantise(plan.views, vectors[start:end])))
            start = end
        return rows, self._passed(heads), {key.id for key in damaged}

    def _passed(self, heads: Mapping[CubeKey, MemCube]) -> list[Event]:
        """Returns the entries of memories that have been passed, and have no vectors."""
        at = self._position()
        passed = [key for key, head in heads.items() if head.version.lsn <= at]
        if not passed:
            return []
        stored = self._store.vectors(self._partition, passed, self._embedder.space.digest)
        return [_entry(heads[key]) for key in passed if key not in stored]

    def _row(self, head: MemCube, vectors: VectorSet) -> StoredVectors:
        return StoredVectors(
            key=CubeKey(head.tenant, head.id),
            version=head.version.number,
            space=self._embedder.space.digest,
            body=vectors.to_bytes(),
            sketch=sketch(representative(vectors)),
        )

    def _plan(self, place: Place, ids: Sequence[str]) -> tuple[list[ViewPlan], set[str]]:
        """Returns plans, and the ids of what cannot be read."""
        keys = [CubeKey(place.tenant, cube_id) for cube_id in ids]
        heads, damaged = readable(self._store, self._partition, keys)
        plans = [
            ViewPlan(head.id, plan_views(head.text, self._predecessor(head), self._views))
            for head in heads.values()
            if head.text
        ]
        return plans, {key.id for key in damaged}

    def _predecessor(self, head: MemCube) -> str | None:
        setting = head.descriptive.setting
        if setting.conversation is None or not setting.position:
            return None
        where = all_of(
            OneOf("conversation", (setting.conversation,)),
            OneOf("session", (setting.session,)) if setting.session else _ANY_SESSION,
            OneOf("position", (setting.position - 1,)),
            OneOf("owner", (head.governance.owner,)),
        )
        place = self._partition, head.tenant, head.namespace
        # One that cannot be read is none.
        found = self._store.scan(*place, where, None, 1, damaged=lambda _: None)
        return found[0].text if found else None


_ANY_SESSION = all_of()


def _entry(head: MemCube) -> Event:
    """Returns the log entry that has made a version, as far as the version tells."""
    made = head.version
    who = head.tenant, head.namespace, made.author
    return Event(made.lsn, made.created_at, *who, made.change.value, head.id, made.number)


def _digest(plan: ViewPlan) -> tuple[int, ...]:
    return tuple(view.digest for view in plan.views)


def representative(vectors: VectorSet) -> Vectors:
    """Returns one vector for a memory: the normalised mean of its own views, `[dim]`."""
    mean: Vectors = vectors.vectors()[vectors.kinds == ViewKind.OWN].sum(axis=0)
    norm = float(np.linalg.norm(mean))
    if norm:
        mean /= norm
    return mean


def touched_keys(events: Iterable[Event]) -> list[CubeKey]:
    """Returns the distinct cubes that log entries have changed, in order."""
    return list(
        dict.fromkeys(
            CubeKey(event.tenant, event.cube_id)
            for event in events
            if event.outcome is Outcome.DONE
            and event.cube_id is not None
            and event.operation != EXTRACT
            and changes(event)
        )
    )
