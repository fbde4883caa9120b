"""Searches one place: resident, through the vector store, or as it was at an earlier moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime

from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.actors.vault.embedding import touched_keys
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.cube.cube import Change, MemCube
from memos_ray.core.cube.facets import Facets, facets_of
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import Everything, OneOf, Predicate, all_of, evaluate
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.retrieval import (
    IndexedMemory,
    ResidentIndex,
    RetrievalQuery,
    Scored,
    VectorSet,
    rank_candidates,
)
from memos_ray.core.retrieval.requests import Hit, SearchRequest
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.scheduling.fairness import Priority, priority_of
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import DimensionMismatchError, StoreCorruptError, VectorStoreError
from memos_ray.ports import EventQuery, RecordStorePort, VectorStorePort

_PAST_INDEXES = 4
_NEAREST = 400
# Milvus returns no more than 16,384.
_DEEPEST = 16_000
_LATE = 512
_ALIVE: Predicate = all_of(
    OneOf("state", tuple(state.value for state in LIVE)), OneOf("form", (Form.PLAINTEXT.value,))
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and how.

    Attributes:
        partial: memories may be missing, because the vector store has not caught up.
        cached: ids whose bodies came out of memory.
    """

    hits: tuple[Hit, ...]
    unembedded: int
    resident: bool
    cached: frozenset[str]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class _Past:
    """A place as it was; `today` is what the memories that are still there are like now."""

    index: ResidentIndex
    cubes: dict[str, MemCube]
    today: Mapping[str, Facets]

    def shown(self, visible: Predicate) -> Predicate:
        """Returns a filter over the past that shows what may be seen by the rules of today."""
        ids = (cube_id for cube_id, facets in self.today.items() if evaluate(visible, facets))
        return OneOf("id", tuple(ids))


@dataclass(slots=True)
class _Ranked:
    """What was ranked so far, best first, and all that was looked at; `wanted` is how many."""

    wanted: int
    hits: list[Hit] = field(default_factory=list)
    keys: set[CubeKey] = field(default_factory=set)
    unembedded: int = 0

    @property
    def missing(self) -> int:
        """How many are still wanted."""
        return self.wanted - len(self.hits)


@dataclass(slots=True, eq=False)
class _Building:
    """A look at the past that is under way; `outdated` once a commit has changed what it reads."""

    place: Place
    at: datetime
    outdated: bool = False


class Searcher:
    """Answers searches of the partitions that a shard owns.

    Concurrency: runs on the actor's event loop; an index is searched there, in one go, one at a
    time in an order that is fair to tenants; the store and the vector store are asked on
    `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        vectors: VectorStorePort | None,
        space: EmbeddingSpace,
        residency: Residency,
        bodies: BodyCache,
        settings: RetrievalSettings,
        new_index: Callable[[], ResidentIndex],
        executor: Executor,
        turns: FairGate,
    ) -> None:
        """Takes the turns of whatever keeps the event loop busy."""
        self._turns = turns
        self._store = store
        self._vectors = vectors
        self._space = space
        self._residency = residency
        self._bodies = bodies
        self._settings = settings
        self._new_index = new_index
        self._executor = executor
        self._past: OrderedDict[tuple[Place, datetime], _Past] = OrderedDict()
        self._building: set[_Building] = set()

    async def search(
        self,
        place: Place,
        request: SearchRequest,
        visible: Predicate,
        indexed_lsn: Callable[[], int],
        worth: Mapping[str, float],
    ) -> Found:
        """Finds the best memories among those that `visible` and the request's filter admit.

        Args:
            indexed_lsn: tells how far the vector store has come.
            worth: see `RetrievalQuery`.

        Raises:
            DimensionMismatchError: the query vector is of another embedding space.
            VectorStoreError: the namespace is too large to be resident, and Milvus is away.
            StoreCorruptError: a memory of a namespace that is not resident cannot be read.
        """
        if request.vector is not None and request.space != self._space.digest:
            raise DimensionMismatchError(
                "the query was embedded by another model", expected=self._space.name
            )
        query = RetrievalQuery(
            text=request.text,
            vector=request.vector,
            predicate=request.predicate,
            visible=visible,
            k=request.k,
            offset=request.offset,
            hints=request.hints,
            explain=request.explain,
            nameless=request.nameless,
            legible=request.legible,
            min_relevance=request.min_relevance,
            worth=worth,
        )
        if request.as_of is not None:
            return await self._search_past(place, request, query)
        again, priority = True, priority_of(request.context)
        while (index := await self._residency.index(place)) is not None:
            try:
                return await self._search_resident(place, index, query, priority)
            except StoreCorruptError:
                # Damaged since it was loaded: the next load sets it aside.
                if not again:
                    raise
                again = False
                self._residency.outdate(place, index)
        if place.archived:
            # The vector store is asked for what is in use only.
            return Found((), 0, False, frozenset(), partial=True)
        return await self._search_stored(place, query, indexed_lsn)

    async def _search_resident(
        self, place: Place, index: ResidentIndex, query: RetrievalQuery, priority: Priority
    ) -> Found:
        visible = query.visible or all_of()
        since = self._bodies.generation(place.partition)
        async with self._turns.turn(place.tenant, priority):
            scored = index.search(query)
        unembedded = index.unembedded_among(visible)
        cubes, cached = await self._fetch(place, [one.id for one in scored], visible, since)
        hits = tuple(Hit(cubes[one.id], one) for one in scored if one.id in cubes)
        return Found(hits, unembedded, True, cached)

    def forget(self, commit: Commit) -> None:
        """Drops what is known of the past and is no longer so.

        A memory that has been changed or erased is seen by other rules at every moment; a new one
        belongs to the moments that come after it, which somebody may have asked for already.
        """
        changed = any(cube.version.change is not Change.CREATE for cube in commit.cubes)
        if changed or commit.erased or commit.moved:
            self._drop_past(commit.partition, None)
        elif commit.cubes:
            since = min(cube.version.created_at for cube in commit.cubes)
            self._drop_past(commit.partition, since)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self._drop_past(partition, None)

    def _drop_past(self, partition: int, since: datetime | None) -> None:
        """Drops moments of a partition, from one moment on if one is given."""
        for place, at in list(self._past):
            if place.partition == partition and (since is None or at >= since):
                del self._past[place, at]
        for one in self._building:
            if one.place.partition == partition and (since is None or one.at >= since):
                one.outdated = True

    async def _fetch(
        self, place: Place, ids: Sequence[str], visible: Predicate, since: int
    ) -> tuple[dict[str, MemCube], frozenset[str]]:
        """Returns memories that the index has found, and which of them were in the cache.

        Args:
            since: the generation of the cache that the index was as new as.
        """
        cubes: dict[str, MemCube] = {}
        missing: list[CubeKey] = []
        every = isinstance(visible, Everything)
        generation = self._bodies.generation(place.partition)
        for cube_id in ids:
            key = CubeKey(place.tenant, cube_id)
            cube = self._bodies.get(place.partition, key)
            if cube is None:
                missing.append(key)
            elif generation == since or (
                # It may have been deleted, or closed, since the index was brought up to date.
                place.holds(cube) and (every or evaluate(visible, facets_of(cube)))
            ):
                cubes[cube_id] = cube
        cached = frozenset(cubes)
        if missing:
            loop = asyncio.get_running_loop()
            heads = await loop.run_in_executor(
                self._executor, self._store.heads, place.partition, missing
            )
            for head in heads.values():
                # It may have been deleted, or closed, while the store was asked.
                if place.holds(head):
                    self._bodies.put(place.partition, head, generation)
                    if every or evaluate(visible, facets_of(head)):
                        cubes[head.id] = head
        return cubes, cached

    async def _search_stored(
        self, place: Place, query: RetrievalQuery, indexed_lsn: Callable[[], int]
    ) -> Found:
        loop = asyncio.get_running_loop()
        since = indexed_lsn()
        found = await loop.run_in_executor(self._executor, self._rank_stored, place, query, since)
        # Meanwhile the vector store may have been found damaged, and emptied to be filled anew.
        return replace(found, partial=found.partial or indexed_lsn() < since)

    def _rank_stored(self, place: Place, query: RetrievalQuery, indexed_lsn: int) -> Found:
        admitted = all_of(query.visible or all_of(), query.predicate, _ALIVE)
        if query.vector is None or not query.text:
            return Found(self._newest(place, query, admitted), 0, False, frozenset())
        late = self._written_since(place, indexed_lsn)
        ranked = _Ranked(query.offset + query.k)
        for nearest in self._blocks(place, query, admitted):
            keys = nearest if ranked.keys else [*late[:_LATE], *nearest]
            if not self._rank_block(place, query, admitted, keys, ranked):
                break
        hits = tuple(ranked.hits[query.offset :])
        return Found(hits, ranked.unembedded, False, frozenset(), len(late) > _LATE)

    def _rank_block(
        self,
        place: Place,
        query: RetrievalQuery,
        admitted: Predicate,
        keys: Sequence[CubeKey],
        ranked: _Ranked,
    ) -> bool:
        """Ranks candidates among themselves, behind those before; tells whether more are wanted."""
        fresh = [key for key in dict.fromkeys(keys) if key not in ranked.keys]
        ranked.keys.update(fresh)
        # The vector store may lag behind: what it found is judged again by the truth.
        heads = {
            key.id: head
            for key, head in self._store.heads(place.partition, fresh).items()
            if head.namespace == place.namespace and evaluate(admitted, facets_of(head))
        }
        admitted_keys = [CubeKey(place.tenant, cube_id) for cube_id in heads]
        stored = self._store.vectors(place.partition, admitted_keys, self._space.digest)
        scored = rank_candidates(
            replace(query, offset=0, k=ranked.missing),
            [IndexedMemory.of(head) for head in heads.values()],
            {key.id: VectorSet.from_bytes(row.body) for key, row in stored.items()},
            self._settings,
        )
        # Where some are not relevant enough, those that are less near are not, either.
        relevant = len(scored) == min(ranked.missing, len(heads))
        ranked.hits += [Hit(heads[one.id], one) for one in scored]
        ranked.unembedded += len(heads) - len(stored)
        return relevant and ranked.missing > 0

    def _written_since(self, place: Place, lsn: int) -> list[CubeKey]:
        """Returns what was written behind an LSN: up to `_LATE` memories, or one more."""
        query = EventQuery(tenant=place.tenant, namespace=place.namespace)
        return touched_keys(self._store.events(place.partition, lsn, _LATE + 1, query))

    def _blocks(
        self, place: Place, query: RetrievalQuery, admitted: Predicate
    ) -> Iterator[list[CubeKey]]:
        """Yields the nearest memories, then those behind them, and so on.

        A score depends on who else is ranked. So that no page moves what another one has shown,
        who that is follows from the query alone, and not from the page.
        """
        if self._vectors is None or query.vector is None:
            raise VectorStoreError(
                "the namespace exceeds the memory budget and there is no vector store",
                namespace=place.namespace,
            )
        for limit in range(_NEAREST, _DEEPEST + 1, _NEAREST):
            where = (place.partition, place.tenant, place.namespace)
            nearest = self._vectors.search(self._space, *where, admitted, query.vector, limit)
            yield [CubeKey(place.tenant, cube_id) for cube_id, _ in nearest]
            if len(nearest) < limit:
                return

    def _newest(self, place: Place, query: RetrievalQuery, admitted: Predicate) -> tuple[Hit, ...]:
        if query.min_relevance:
            return ()
        wanted = query.offset + query.k
        cubes = self._store.scan(
            place.partition, place.tenant, place.namespace, admitted, None, wanted
        )
        return tuple(Hit(cube, Scored(cube.id, 0.0)) for cube in cubes[query.offset :])

    async def _search_past(
        self, place: Place, request: SearchRequest, query: RetrievalQuery
    ) -> Found:
        at = request.as_of
        assert at is not None
        past = self._past.get((place, at))
        if past is None:
            building = _Building(place, at)
            self._building.add(building)
            loop = asyncio.get_running_loop()
            try:
                past = await loop.run_in_executor(self._executor, self._build_past, place, at)
            finally:
                self._building.discard(building)
            if not building.outdated:
                self._past[place, at] = past
            while len(self._past) > _PAST_INDEXES:
                self._past.popitem(last=False)
        shown = past.shown(query.visible or all_of())
        async with self._turns.turn(place.tenant, priority_of(request.context)):
            scored = past.index.search(replace(query, visible=shown))
        hits = tuple(Hit(past.cubes[one.id], one) for one in scored)
        return Found(hits, past.index.unembedded_among(shown), True, frozenset())

    def _build_past(self, place: Place, at: datetime) -> _Past:
        index = self._new_index()
        cubes: dict[str, MemCube] = {}
        vectors: dict[str, VectorSet] = {}
        rows = self._store.as_of(
            place.partition, place.tenant, place.namespace, at, self._space.digest
        )
        for cube, stored in rows:
            if not place.holds(cube):
                continue
            cubes[cube.id] = cube
            if stored is not None:
                vectors[cube.id] = VectorSet.from_bytes(stored.body)
        heads = self._store.heads(
            place.partition, [CubeKey(place.tenant, cube_id) for cube_id in cubes]
        )
        # Content is as it was; who may see it is decided by the rules of today.
        cubes = {
            key.id: replace(cubes[key.id], governance=head.governance)
            for key, head in heads.items()
        }
        index.upsert([IndexedMemory.of(cube) for cube in cubes.values()])
        for cube_id, vector_set in vectors.items():
            if cube_id in cubes:
                index.attach_vectors(cube_id, vector_set)
        today = {key.id: facets_of(head) for key, head in heads.items()}
        return _Past(index, cubes, today)
