"""What models have learnt: LoRA adapters made of memories."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from typing import Any

from memos_ray.actors.parameter.adapter_files import AdapterFiles
from memos_ray.actors.parameter.adapter_rows import Adapter
from memos_ray.actors.parameter.relearning import Relearning
from memos_ray.actors.patience import patiently
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.parameter import AdapterPayload, TeachingReport, TeachingState
from memos_ray.core.scheduling import PromptMemory, Taught, holds, prompt_memory
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import IllegalStateError, NotFoundError, UnavailableError
from memos_ray.ports import ObjectsPort, RecordStorePort

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
    the caller; a deletion ends it in the commit, and erases row, file and the weights in replicas
    behind it. Where a memory has only changed, prompts use it with the new text.

    Concurrency: methods run on the actor's event loop; heads are read on `executor`.
    """

    def __init__(
        self,
        files: AdapterFiles,
        relearning: Relearning,
        *,
        store: RecordStorePort,
        objects: ObjectsPort,
        executor: Executor,
        now: Callable[[], datetime],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._files = files
        self._relearning = relearning
        self._store = store
        self._objects = objects
        self._executor = executor
        self._now = now
        self._adapters: dict[str, Adapter] = {}
        self._loaded: dict[str, object] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}

    @property
    def counts(self) -> Counter[str]:
        """What became of adapters and their files, and of what is learnt again."""
        return self.counters + self._files.counters + self._relearning.counters

    def __contains__(self, adapter_id: str) -> bool:
        return adapter_id in self._adapters

    async def save(self, adapter: Adapter, payload: AdapterPayload) -> Adapter:
        """Lays an adapter down; what is returned is used from `admit` on.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        return await self._files.save(adapter, payload, self._shared)

    async def retired(self, adapter_id: str) -> None:
        """Returns when nothing is left of an adapter that was given up."""
        await self._files.retired(adapter_id)

    async def admit(self, adapter: Adapter, payload: AdapterPayload) -> None:
        """Takes a saved adapter in."""
        self._adapters[adapter.id] = adapter
        # Not the trainer's object, which goes with its process.
        reference = await self._objects.put(payload)
        if adapter.id in self._adapters:
            self._loaded[adapter.digest] = reference

    def give_up(self, adapter: Adapter) -> None:
        """Erases an adapter, and uses it no more."""
        self._adapters.pop(adapter.id, None)
        if not self._shared(adapter):
            self._loaded.pop(adapter.digest, None)
        self._files.retire(adapter, shared=self._shared, first=self._relearning.secure)

    async def find(self, place: Place, model: str, visible: Predicate) -> Taught | None:
        """Returns the newest adapter that the caller may use, if its weights are at hand.

        Args:
            visible: what the caller may read.
        """
        for adapter in reversed(list(self._adapters.values())):
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

    def kept(self, model: str) -> list[Adapter]:
        """Returns the adapters of a model, rejected ones included, the newest last."""
        return [adapter for adapter in self._adapters.values() if adapter.model == model]

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
        self._files.open(partition, epoch)
        self._opening[partition] = asyncio.create_task(self._take_over(partition, epoch))

    async def opened(self, partition: int) -> None:
        """Returns when a partition's adapters are known, if it is being taken over."""
        if partition in self._opening:
            await asyncio.wait([self._opening[partition]])

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; the files stay for the next owner."""
        self._files.drop(partition)
        self._relearning.drop(partition)
        if (opening := self._opening.pop(partition, None)) is not None:
            opening.cancel()
        for id in [id for id, one in self._adapters.items() if one.place.partition == partition]:
            self._loaded.pop(self._adapters.pop(id).digest, None)

    def touching(self, partition: int, key: CubeKey) -> list[Adapter]:
        """Returns the adapters that have learnt a memory, or are it."""
        return [
            one
            for one in self._adapters.values()
            if (one.place.partition, one.place.tenant) == (partition, key.tenant)
            and key.id in {one.id, *(source.cube_id for source in one.sources)}
        ]

    def apply(self, commit: Commit) -> None:
        """Ends adapters that have learnt what a commit deletes, or are deleted themselves."""
        gone = gone_in(commit)
        if not gone:
            return
        self._relearning.forget(commit.partition, gone)
        for adapter in list(self._adapters.values()):
            tenant = adapter.place.tenant
            keys = {CubeKey(tenant, source.cube_id) for source in adapter.sources}
            keys.add(CubeKey(tenant, adapter.id))
            if adapter.place.partition != commit.partition or not keys & gone:
                continue
            self._retire(adapter, gone)

    async def close(self) -> None:
        """Returns when what was to be erased is, or has been left to the next owner."""
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await self._files.close()
        await self._relearning.settle()

    def _retire(self, adapter: Adapter, gone: set[CubeKey]) -> None:
        """Ends an adapter, and remembers what it knew beside what is gone."""
        tenant = adapter.place.tenant
        left = tuple(
            source.cube_id
            for source in adapter.sources
            if CubeKey(tenant, source.cube_id) not in gone
        )
        self.counters["adapters_retired"] += 1
        count = len(adapter.sources) - len(left)
        _log.info("adapter %s is retired: %d memories are gone", adapter.id, max(count, 1))
        if adapter.state is TeachingState.LIVE and CubeKey(tenant, adapter.id) not in gone:
            # Before the row of the adapter goes, from which it would be found again.
            self._relearning.note(adapter.place, adapter.model, left)
        self.give_up(adapter)

    def _shared(self, adapter: Adapter) -> bool:
        """Whether another adapter has the same weights."""
        others = self._adapters.values()
        return any(one.digest == adapter.digest and one.id != adapter.id for one in others)

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
        return Taught(adapter.id, adapter.digest, *found)

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
        reference = await self._files.load(adapter)
        if reference is not None and adapter.id in self._adapters:
            self._loaded[adapter.digest] = reference

    async def _take_over(self, partition: int, epoch: int) -> None:
        async def adopt() -> None:
            await self._relearning.open(partition, epoch)
            for adapter in await self._files.rows(partition):
                await self._adopt(adapter)

        await patiently(adopt, "the adapters of a partition")

    async def _adopt(self, adapter: Adapter) -> None:
        tenant = adapter.place.tenant
        wanted = {CubeKey(tenant, one.cube_id) for one in adapter.sources}
        wanted.add(CubeKey(tenant, adapter.id))
        heads = await self._run(self._store.heads, adapter.place.partition, list(wanted))
        gone = wanted - {key for key, head in heads.items() if head.state not in GONE}
        if gone:
            # A source is gone, or a crash came before the parameter memory was there.
            self._retire(adapter, gone)
        else:
            self._adapters.setdefault(adapter.id, adapter)

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
    deleted = {CubeKey(cube.tenant, cube.id) for cube in commit.cubes if cube.state in GONE}
    return deleted.union((one.key for one in commit.moved if one.state in GONE), commit.erased)
