"""What models have learnt: LoRA adapters made of memories."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np

from memos_ray.actors.adapter_rows import KIND, Adapter, adapter_of, row_of
from memos_ray.actors.errands import Errands
from memos_ray.actors.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.parameter import AdapterPayload, TeachingReport, TeachingState
from memos_ray.core.scheduling import PromptMemory, Taught, holds, prompt_memory
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import (
    IllegalStateError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    StoreCorruptError,
    UnavailableError,
)
from memos_ray.ports import BlobStorePort, ObjectsPort, RecordStorePort

_PATIENCE_S = 0.5
# Of who has named an adapter, and so gets it or an error.
_NAMED_PATIENCE_S = 8.0
# Of who combines adapters, or takes one away.
_LONG_PATIENCE_S = 60.0
_STALE_MOST = 32
_log = logging.getLogger(__name__)


class Adapters:
    """Keeps the adapters of a shard's namespaces, and finds the one that a prompt may use.

    An adapter is used only as long as every memory that it has learnt is there and may be read by
    the caller; a deletion ends it in the commit, and erases row and file behind it. Where a memory
    has only changed, prompts use it with the new text. A row comes before its file and goes after
    it, so that whatever a crash leaves has one, and is erased by the next owner of the partition.

    Concurrency: methods run on the actor's event loop; files and rows are written on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        blobs: Callable[[], BlobStorePort],
        objects: ObjectsPort,
        executor: Executor,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._open_blobs = blobs
        self._objects = objects
        self._executor = executor
        self._now = now
        self._epochs: dict[int, int] = {}
        self._adapters: dict[str, Adapter] = {}
        self._loaded: dict[str, object] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._to_relearn: dict[tuple[Place, str], tuple[str, ...]] = {}
        self._errands = Errands("an adapter")

    def __contains__(self, adapter_id: str) -> bool:
        return adapter_id in self._adapters

    async def save(self, adapter: Adapter, payload: AdapterPayload) -> Adapter:
        """Lays an adapter down; it is used from `admit` on.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        epoch = self._epochs.get(adapter.place.partition)
        if epoch is None:
            raise NotOwnerError("the partition is not here", partition=adapter.place.partition)
        saved: Adapter = await self._run(self._write, adapter, payload, epoch)
        return saved

    async def admit(self, adapter: Adapter, payload: AdapterPayload) -> None:
        """Takes a saved adapter in."""
        # Not the trainer's object, which goes with its process.
        self._loaded[adapter.digest] = await self._objects.put(payload)
        self._adapters[adapter.id] = adapter

    def give_up(self, adapter: Adapter) -> None:
        """Erases an adapter, and uses it no more."""
        self._adapters.pop(adapter.id, None)
        self._loaded.pop(adapter.digest, None)
        self._errands.leave(self._erased(adapter))

    async def find(self, place: Place, model: str, visible: Predicate) -> Taught | None:
        """Returns the newest adapter that the caller may use, if its weights are at hand.

        Args:
            visible: what the caller may read.
        """
        for adapter in reversed(self._adapters.values()):
            found = await self._known(adapter, place, model, visible)
            if found is not None and (weights := await self._weights(adapter, _PATIENCE_S)):
                return replace(found, weights=weights)
        return None

    async def named(self, place: Place, model: str, adapter_id: str, visible: Predicate) -> Taught:
        """Returns an adapter that the caller names.

        Args:
            visible: what the caller may read.

        Raises:
            NotFoundError: there is none that the caller may use with this model.
            UnavailableError: its weights cannot be had now.
        """
        adapter = self._adapters.get(adapter_id)
        found = await self._known(adapter, place, model, visible) if adapter else None
        if adapter is None or found is None:
            raise no_adapter(adapter_id)
        weights = await self._weights(adapter, _NAMED_PATIENCE_S)
        if adapter_id not in self._adapters:
            raise no_adapter(adapter_id)
        if weights is None:
            raise UnavailableError("the adapter cannot be read now", adapter=adapter_id)
        return replace(found, weights=weights)

    async def reports(self, place: Place, visible: Predicate) -> list[TeachingReport]:
        """Says what is known of a namespace's adapters whose memories the caller may read.

        Args:
            visible: what the caller may read.
        """
        found = []
        for adapter in list(self._adapters.values()):
            if adapter.place != place:
                continue
            heads = await self._heads(adapter)
            if all(evaluate(visible, facets_of(head)) for head in heads):
                found.append(self._report(adapter, heads))
        return found

    async def known(
        self, place: Place, adapter_id: str, visible: Predicate
    ) -> tuple[Adapter, TeachingState]:
        """Returns an adapter whose memories are all there, and may all be read.

        Args:
            visible: what the caller may read.

        Raises:
            NotFoundError: there is none that this caller may know of.
            IllegalStateError: a memory that it has learnt does not hold any more.
        """
        adapter = self._adapters.get(adapter_id)
        if adapter is not None and adapter.place == place:
            heads = await self._heads(adapter)
            if all(evaluate(visible, facets_of(head)) for head in heads):
                if self._usable(adapter, heads) is None:
                    raise IllegalStateError("the adapter is retired", adapter=adapter_id)
                return adapter, self._state(adapter, heads)
        raise NotFoundError("there is no such adapter", adapter=adapter_id)

    async def reference(self, adapter: Adapter) -> object:
        """Returns a reference to the weights of an adapter.

        Raises:
            UnavailableError: its file cannot be read.
        """
        found = await self._weights(adapter, _LONG_PATIENCE_S)
        if found is None:
            raise UnavailableError("the adapter's file cannot be read", adapter=adapter.id)
        return found

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition's adapters."""
        self._epochs[partition] = epoch
        self._errands.leave(self._take_over(partition))

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; the files stay for the next owner."""
        self._epochs.pop(partition, None)
        for id in [id for id, one in self._adapters.items() if one.place.partition == partition]:
            self._loaded.pop(self._adapters.pop(id).digest, None)

    def apply(self, commit: Commit) -> None:
        """Ends adapters that have learnt what a commit deletes, or are deleted themselves."""
        gone = gone_in(commit)
        if not gone:
            return
        for (place, model), ids in list(self._to_relearn.items()):
            if place.partition == commit.partition:
                left = tuple(id for id in ids if CubeKey(place.tenant, id) not in gone)
                self._to_relearn[place, model] = left
        for adapter in list(self._adapters.values()):
            tenant = adapter.place.tenant
            keys = {CubeKey(tenant, source.cube_id) for source in adapter.sources}
            keys.add(CubeKey(tenant, adapter.id))
            if adapter.place.partition != commit.partition or not keys & gone:
                continue
            self.give_up(adapter)
            left = tuple(
                source.cube_id
                for source in adapter.sources
                if CubeKey(tenant, source.cube_id) not in gone
            )
            if adapter.state is TeachingState.LIVE and CubeKey(tenant, adapter.id) not in gone:
                self._to_relearn[adapter.place, adapter.model] = left

    def take_unlearnt(self, place: Place, model: str) -> tuple[str, ...]:
        """Returns, once, what a model is to learn again, since it knew something deleted beside."""
        return self._to_relearn.pop((place, model), ())

    def put_unlearnt(self, place: Place, model: str, ids: tuple[str, ...]) -> None:
        """Gives back what `take_unlearnt` returned and nobody could teach."""
        self._to_relearn.setdefault((place, model), ids)

    async def close(self) -> None:
        """Returns when what was to be written or erased is."""
        await self._errands.settle()

    def _usable(
        self, adapter: Adapter, heads: Sequence[MemCube]
    ) -> tuple[tuple[SourceVersion, ...], tuple[PromptMemory, ...]] | None:
        """Returns what is learnt as it is, and what has changed; nothing when some is gone."""
        now = self._now()
        there = {head.id: head for head in heads if holds(head, now)}
        learnt, stale = [], []
        for source in adapter.sources:
            head = there.get(source.cube_id)
            if head is None:
                return None
            if head.version.number == source.version:
                learnt.append(source)
            else:
                stale.append(prompt_memory(head))
        # With too much to put right, the text alone is the better memory.
        return None if len(stale) > _STALE_MOST else (tuple(learnt), tuple(stale))

    async def _known(
        self, adapter: Adapter, place: Place, model: str, visible: Predicate
    ) -> Taught | None:
        """Returns what an adapter knows, without its weights; nothing when it may not be used."""
        live = adapter.state is TeachingState.LIVE
        if not live or (adapter.place, adapter.model) != (place, model):
            return None
        heads = await self._heads(adapter)
        found = self._usable(adapter, heads)
        if found is None or not all(evaluate(visible, facets_of(head)) for head in heads):
            return None
        return Taught(adapter.digest, *found)

    async def _heads(self, adapter: Adapter) -> list[MemCube]:
        keys = [CubeKey(adapter.place.tenant, source.cube_id) for source in adapter.sources]
        found = await self._run(self._store.heads, adapter.place.partition, keys)
        return list(found.values())

    async def _weights(self, adapter: Adapter, patience_s: float) -> object | None:
        """Returns a reference to the weights; nothing while they are on their way."""
        if adapter.digest not in self._loaded:
            loading = self._loading.get(adapter.digest)
            if loading is None:
                loading = asyncio.create_task(self._load(adapter))
                loading.add_done_callback(lambda _: self._loading.pop(adapter.digest, None))
                self._loading[adapter.digest] = loading
            await asyncio.wait([loading], timeout=patience_s)
        return self._loaded.get(adapter.digest)

    async def _load(self, adapter: Adapter) -> None:
        try:
            data = await self._run(self._open_blobs().get, adapter.blob)
            payload = AdapterPayload.seal(
                np.frombuffer(data, np.uint8),
                base=adapter.base,
                rank=adapter.rank,
                alpha=adapter.alpha,
            )
            if payload.manifest.digest != adapter.digest:
                raise StoreCorruptError("an adapter's file is another one")
            reference = await self._objects.put(payload)
        except MemosError as error:
            _log.warning("an adapter cannot be read: %s", error.code)
            return
        if adapter.id in self._adapters:
            self._loaded[adapter.digest] = reference

    async def _erased(self, adapter: Adapter) -> None:
        epoch = self._epochs.get(adapter.place.partition)
        if epoch is not None:
            await self._run(self._erase, adapter, epoch)

    async def _take_over(self, partition: int) -> None:
        for row in await self._run(self._store.derivations, partition, KIND):
            adapter = adapter_of(partition, row)
            keys = [CubeKey(row.tenant, one.cube_id) for one in adapter.sources]
            keys.append(CubeKey(row.tenant, adapter.id))
            heads = await self._run(self._store.heads, partition, keys)
            there = {key for key, head in heads.items() if head.state not in GONE}
            if there >= set(keys):
                self._adapters.setdefault(adapter.id, adapter)
            else:
                # A source is gone, or a crash came before the parameter memory was there.
                await self._erased(adapter)

    def _write(self, adapter: Adapter, payload: AdapterPayload, epoch: int) -> Adapter:
        data = payload.data.tobytes()
        adapter = replace(adapter, blob=blake2b(data, digest_size=32).hexdigest())
        self._store.save_derivation(adapter.place.partition, epoch, row_of(adapter))
        self._open_blobs().put(data)
        return adapter

    def _erase(self, adapter: Adapter, epoch: int) -> None:
        self._open_blobs().delete(adapter.blob)
        place = adapter.place
        self._store.forget_derivations(place.partition, epoch, place.tenant, KIND, [adapter.id])

    def _state(self, adapter: Adapter, heads: Sequence[MemCube]) -> TeachingState:
        if adapter.state is not TeachingState.LIVE:
            return adapter.state
        found = self._usable(adapter, heads)
        if found is None:
            return TeachingState.RETIRED
        return TeachingState.STALE if found[1] else TeachingState.LIVE

    def _report(self, adapter: Adapter, heads: Sequence[MemCube]) -> TeachingReport:
        return TeachingReport(
            id=adapter.id,
            namespace=adapter.place.namespace,
            model=adapter.model,
            state=self._state(adapter, heads),
            share=1.0,
            loss=None,
            reason=None,
            adapter=adapter.digest,
            size_bytes=adapter.size_bytes,
            report=adapter.report,
            sources=adapter.sources,
            figures=adapter.figures,
        )

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def no_adapter(adapter_id: str) -> NotFoundError:
    """Returns the error for an adapter that is not there, or may not be used."""
    return NotFoundError("there is no such adapter in this namespace", adapter=adapter_id)


def gone_in(commit: Commit) -> set[CubeKey]:
    """Returns the memories that a commit deletes or erases."""
    deleted = [cube for cube in commit.cubes if cube.state in GONE]
    return {CubeKey(cube.tenant, cube.id) for cube in deleted}.union(commit.erased)
