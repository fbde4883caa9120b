"""The jobs of extraction of a shard's partitions, what they led to and cost: in memory, as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from memos_ray.actors.evolution.book import PROPOSAL
from memos_ray.actors.extraction.names import SourceNames
from memos_ray.actors.vault.residency import Place
from memos_ray.core.extraction import Aside, Done, Job, Totals
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import NotOwnerError
from memos_ray.ports import Derivation, RecordStorePort

FEED = "extract"
"""The cursor of extraction in a partition's log."""

JOB, TOTALS = "extraction_job", "extraction_totals"
MODE, MADE = "extraction", "made"
ASIDE = "extraction_aside"
CAUGHT_UP = "extraction_caught_up"

Key = tuple[int, str, str]
"""A job: its partition, tenant and id."""


@dataclass(slots=True)
class _Held:
    """What is known of one partition."""

    epoch: int
    jobs: dict[tuple[str, str], Job] = field(default_factory=dict)
    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)
    automatic: set[tuple[str, str]] = field(default_factory=set)
    aside: dict[CubeKey, Aside] = field(default_factory=dict)
    derived: bool = False
    told: bool = False
    caught_up: bool = False
    loaded: bool = False


class ExtractionBook:
    """Which jobs there are, and what was done.

    A row is written before what it says is relied on: a job before the log's cursor passes its
    memories, an attempt before a model is asked. Rows have no content of memories.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.

    Attributes:
        waiting: jobs that are not parked, by tenant, the oldest of each partition first.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._names = SourceNames(store, executor)
        self._held: dict[int, _Held] = {}
        self.waiting: dict[str, dict[Key, Job]] = {}
        self._loading = asyncio.Lock()
        self._counting = asyncio.Lock()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self._held[partition] = _Held(epoch)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; its rows stay."""
        for tenant, id in self._held[partition].jobs if partition in self._held else ():
            self._unqueue((partition, tenant, id))
        self._held.pop(partition, None)

    async def load(self, partition: int) -> None:
        """Reads the rows of a partition, unless that is done.

        Jobs of memories behind the log's cursor have never run, and are made anew.
        """
        if self._of(partition).loaded:
            return
        async with self._loading:
            held = self._of(partition)
            if held.loaded:
                return
            lsn = await self._run(self._store.cursor, partition, FEED)
            jobs = [
                Job.from_bytes(row.name, row.tenant, row.namespace, row.body)
                for row in await self._run(self._store.derivations, partition, JOB)
            ]
            for job in sorted(jobs, key=lambda one: one.last_lsn):
                if job.last_lsn > lsn:
                    await self._forget(partition, held.epoch, job)
                else:
                    self._keep(partition, held, job)
            for row in await self._run(self._store.derivations, partition, TOTALS):
                held.totals[row.tenant, row.namespace] = Totals.from_bytes(row.body)
            modes = await self._run(self._store.derivations, partition, MODE)
            held.automatic = {(row.tenant, row.namespace) for row in modes}
            for row in await self._run(self._store.derivations, partition, ASIDE):
                key = CubeKey(row.tenant, row.name)
                held.aside[key] = Aside.from_bytes(key, row.namespace, row.body)
            held.told = bool(await self._run(self._store.derivations, partition, MADE))
            held.caught_up = bool(await self._run(self._store.derivations, partition, CAUGHT_UP))
            # Evolution has made something, or has begun to, where it has proposed something.
            held.derived |= held.told or bool(
                await self._run(self._store.derivations, partition, PROPOSAL)
            )
            held.loaded = True

    @property
    def queued(self) -> int:
        """How many jobs there are that are not parked."""
        return sum(map(len, self.waiting.values()))

    def epoch(self, partition: int) -> int:
        """Returns the epoch that a partition is held under.

        Raises:
            NotOwnerError: it is not.
        """
        return self._of(partition).epoch

    def extracted(self, partition: int) -> bool:
        """Tells whether anything may have been made of memories in a partition, ever."""
        held = self._of(partition)
        return not held.loaded or held.derived or bool(held.jobs or held.totals)

    def note_derived(self, partition: int) -> None:
        """Notes that something was made of memories in a partition."""
        self._of(partition).derived = True

    async def tell(self, partition: int, tenant: str) -> None:
        """Writes down, before it is so, that something is made of memories in a partition."""
        held = self._of(partition)
        if not held.told:
            row = Derivation(tenant, MADE, MADE, "", "", 0, b"")
            await self._run(self._store.save_derivation, partition, held.epoch, row)
            held.told = held.derived = True

    def caught_up(self, partition: int) -> bool:
        """Tells whether all follows that was stored before it was followed as it is now."""
        return self._of(partition).caught_up

    async def note_caught_up(self, partition: int) -> None:
        """Writes down that it does."""
        held = self._of(partition)
        row = Derivation("", CAUGHT_UP, CAUGHT_UP, "", "", 0, b"")
        await self._run(self._store.save_derivation, partition, held.epoch, row)
        held.caught_up = True

    def job(self, key: Key) -> Job | None:
        """Returns a job, if there is one."""
        partition, tenant, id = key
        held = self._held.get(partition)
        return held.jobs.get((tenant, id)) if held else None

    def of(self, partition: int, tenant: str, namespace: str) -> list[Job]:
        """Returns the jobs of a namespace, the oldest first."""
        found = self._of(partition).jobs.values()
        here = [one for one in found if (one.tenant, one.namespace) == (tenant, namespace)]
        return sorted(here, key=lambda one: one.last_lsn)

    def totals(self, partition: int, tenant: str, namespace: str) -> Totals:
        """Returns what was done in a namespace."""
        return self._of(partition).totals.get((tenant, namespace), Totals())

    def asides(self, partition: int) -> list[Aside]:
        """Returns what could not follow its sources."""
        return list(self._of(partition).aside.values())

    def aside(self, partition: int, key: CubeKey) -> Aside | None:
        """Returns how a memory is set aside, if it is."""
        return self._of(partition).aside.get(key)

    async def set_aside(self, partition: int, one: Aside) -> None:
        """Writes down that a memory could not follow its sources."""
        held, key = self._of(partition), one.key
        row = Derivation(key.tenant, ASIDE, key.id, one.namespace, "", 0, one.to_bytes())
        await self._run(self._store.save_derivation, partition, held.epoch, row)
        held.aside[key] = one

    async def follows(self, partition: int, key: CubeKey) -> bool:
        """Notes that a memory has followed; tells whether it was set aside."""
        held = self._of(partition)
        if key not in held.aside:
            return False
        forget = self._store.forget_derivations
        await self._run(forget, partition, held.epoch, key.tenant, ASIDE, [key.id])
        return held.aside.pop(key, None) is not None

    async def discard(self, partition: int, lsn: int) -> None:
        """Removes the jobs of memories from an LSN on, which have not run: they are made anew."""
        held = self._of(partition)
        for job in [one for one in held.jobs.values() if one.last_lsn >= lsn]:
            await self._forget(partition, held.epoch, job)
            held.jobs.pop((job.tenant, job.id), None)
            self._unqueue((partition, job.tenant, job.id))

    async def erased(self, partition: int, keys: Set[CubeKey], before: int) -> None:
        """Takes memories that are gone out of jobs, which may wait for long, or for good.

        Args:
            before: an LSN; jobs of memories from there on are of those that have the ids now.
        """
        held = self._of(partition)
        for job in [one for one in held.jobs.values() if one.last_lsn < before]:
            left = tuple(id for id in job.ids if CubeKey(job.tenant, id) not in keys)
            if left and left != job.ids:
                await self.put(partition, replace(job, ids=left))
            elif not left:
                await self._forget(partition, held.epoch, job)
                held.jobs.pop((job.tenant, job.id), None)
                self._unqueue((partition, job.tenant, job.id))

    async def put(self, partition: int, job: Job) -> None:
        """Writes a job down."""
        held = self._of(partition)
        row = Derivation(job.tenant, JOB, job.id, job.namespace, "", 0, job.to_bytes())
        await self._run(self._store.save_derivation, partition, held.epoch, row)
        self._keep(partition, held, job)

    async def done(self, partition: int, job: Job, done: Done) -> None:
        """Counts what a job led to, once, and removes it."""
        held = self._of(partition)
        place = Place(partition, job.tenant, job.namespace)
        await self._count(place, lambda totals: totals.plus(done))
        if len(await self.known(partition, job.tenant, job.ids)) < len(set(job.ids)):
            # Some were erased while they were read.
            await self.forget_names(place)
        await self._forget(partition, held.epoch, job)
        held.jobs.pop((job.tenant, job.id), None)
        self._unqueue((partition, job.tenant, job.id))

    async def forget_names(self, place: Place) -> None:
        """Forgets the names of conversations and documents that are erased as a whole."""
        totals = self.totals(place.partition, place.tenant, place.namespace)
        if any(one.source for one in totals.sources):
            found = await self._names.witnesses(place, totals)
            await self._count(place, lambda newest: newest.witnessed(found))

    async def _count(self, place: Place, change: Callable[[Totals], Totals]) -> None:
        async with self._counting:
            held, key = self._of(place.partition), (place.tenant, place.namespace)
            before = held.totals.get(key, Totals())
            after = held.totals[key] = change(before)
            row = Derivation(
                place.tenant, TOTALS, place.namespace, place.namespace, "", 0, after.to_bytes()
            )
            await self._run(self._store.save_derivation, place.partition, held.epoch, row)

    def automatic(self, partition: int, tenant: str, namespace: str) -> bool:
        """Tells whether all that is stored in a namespace is read."""
        return (tenant, namespace) in self._of(partition).automatic

    async def automate(
        self, partition: int, tenant: str, namespace: str, principal: str | None
    ) -> None:
        """Has all that is stored in a namespace read, as a principal wants, or no longer."""
        held = self._of(partition)
        if principal is None:
            forget = self._store.forget_derivations
            await self._run(forget, partition, held.epoch, tenant, MODE, [namespace])
            held.automatic.discard((tenant, namespace))
            return
        row = Derivation(tenant, MODE, namespace, namespace, "", 0, principal.encode())
        await self._run(self._store.save_derivation, partition, held.epoch, row)
        held.automatic.add((tenant, namespace))

    async def replies(self, partition: int, job: Job, keys: Sequence[str]) -> int:
        """Returns how many of these idempotency keys the job's owner has used."""
        found = await self._run(self._store.replies, partition, job.tenant, job.owner, keys)
        return len(found)

    async def known(self, partition: int, tenant: str, ids: Sequence[str]) -> set[str]:
        """Returns which of these memories there are, deleted ones included."""
        keys = [CubeKey(tenant, id) for id in ids]
        return {key.id for key in await self._run(self._store.heads, partition, keys)}

    def _keep(self, partition: int, held: _Held, job: Job) -> None:
        held.jobs[job.tenant, job.id] = job
        key = (partition, job.tenant, job.id)
        if job.parked is None:
            self.waiting.setdefault(job.tenant, {})[key] = job
        else:
            self._unqueue(key)

    def _unqueue(self, key: Key) -> None:
        queue = self.waiting.get(key[1], {})
        queue.pop(key, None)
        if not queue:
            self.waiting.pop(key[1], None)

    async def _forget(self, partition: int, epoch: int, job: Job) -> None:
        forget = self._store.forget_derivations
        await self._run(forget, partition, epoch, job.tenant, JOB, [job.id])

    def _of(self, partition: int) -> _Held:
        if partition not in self._held:
            raise NotOwnerError("the partition has moved", partition=partition)
        return self._held[partition]

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
