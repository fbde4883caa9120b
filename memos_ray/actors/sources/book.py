"""The trusted sources of a shard's partitions and what they were found to supersede, as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from memos_ray.actors.vault.residency import Place
from memos_ray.core.organising import Proposed
from memos_ray.core.sources import Finding, Source
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import PayloadTooLargeError
from memos_ray.ports import Derivation, RecordStorePort

_SOURCE, _FINDING = "source", "source_finding"
_MOST_SOURCES, _MOST_OPEN = 1000, 10_000


@dataclass(slots=True)
class _Held:
    epoch: int
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    said_by: dict[tuple[str, str], Source] = field(default_factory=dict)
    placed: dict[tuple[str, str], dict[str, Source]] = field(default_factory=dict)
    newest: dict[tuple[str, str], dict[str, Source]] = field(default_factory=dict)
    about: dict[CubeKey, set[str]] = field(default_factory=dict)

    def find(self, finding: Finding) -> None:
        self.findings[finding.tenant, finding.id] = finding
        for key in _memories(finding):
            self.about.setdefault(key, set()).add(finding.id)

    def lose(self, tenant: str, id: str) -> None:
        finding = self.findings.pop((tenant, id), None)
        for key in _memories(finding) if finding is not None else ():
            ids = self.about.get(key, set())
            ids.discard(id)
            if not ids:
                self.about.pop(key, None)

    def note(self, source: Source) -> None:
        place = (source.tenant, source.namespace)
        self.newest.pop(place, None)
        self.placed.setdefault(place, {})[source.id] = source
        self.sources[source.tenant, source.id] = source
        self.said_by.update({(source.tenant, cube_id): source for cube_id in source.sections})


class SourceBook:
    """What has been said by whom, and what follows from it.

    Rows say which memories are concerned and never what they say. They are read when a partition is
    first asked about under an epoch; a row is written before it is known here, under that epoch, so
    that an owner that was overtaken writes nothing.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._held: dict[int, _Held] = {}
        self._loading = asyncio.Lock()
        self._adding = asyncio.Lock()

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; its rows stay."""
        self._held.pop(partition, None)

    async def sources(self, place: Place, epoch: int) -> list[Source]:
        """Returns the sources of a namespace, the newest editions first."""
        held = await self._rows(place.partition, epoch)
        found = held.placed.get((place.tenant, place.namespace), {}).values()
        return sorted(found, key=lambda one: (one.name, one.issuer, -one.valid_from.timestamp()))

    async def source(self, place: Place, epoch: int, id: str) -> Source | None:
        """Returns a source of a namespace."""
        found = (await self._rows(place.partition, epoch)).sources.get((place.tenant, id))
        return found if found is not None and _is_at(found, place) else None

    async def said_by(self, place: Place, epoch: int, cube_id: str) -> Source | None:
        """Returns the source that a memory is a section of, if it is one."""
        return (await self._rows(place.partition, epoch)).said_by.get((place.tenant, cube_id))

    async def newest(self, place: Place, epoch: int) -> Mapping[str, Source]:
        """Returns the sections of the newest editions in a namespace, each with its source."""
        held = await self._rows(place.partition, epoch)
        found = held.newest.get((place.tenant, place.namespace))
        if found is None:
            known = await self.sources(place, epoch)
            if not known:
                return {}
            newest: dict[tuple[str, str], Source] = {}
            for one in known:
                # The newest edition comes first; one without sections says nothing yet.
                if one.sections:
                    newest.setdefault((one.name, one.issuer), one)
            found = {cube_id: one for one in newest.values() for cube_id in one.sections}
            held.newest[place.tenant, place.namespace] = found
        return found

    async def put_source(self, place: Place, epoch: int, source: Source) -> None:
        """Writes a source down.

        Raises:
            PayloadTooLargeError: the namespace has too many.
        """
        held = await self._rows(place.partition, epoch)
        known = (source.tenant, source.id) in held.sources
        if not known and len(await self.sources(place, epoch)) >= _MOST_SOURCES:
            raise PayloadTooLargeError("too many sources in one namespace", limit=_MOST_SOURCES)
        await self._save(place, epoch, _SOURCE, source.id, source.to_bytes())
        held.note(source)

    async def findings(self, place: Place, epoch: int, *, decided: bool = False) -> list[Finding]:
        """Returns the open findings of a namespace, or the decided ones; the surest first."""
        held = await self._rows(place.partition, epoch)
        found = [
            one
            for one in held.findings.values()
            if _is_at(one, place) and (one.state is not Proposed.OPEN) is decided
        ]
        # What is outranked comes last: deciding about all of a source passes it over.
        return sorted(found, key=lambda one: (one.outranked, -one.confidence, one.found_at, one.id))

    async def finding(self, place: Place, epoch: int, id: str) -> Finding | None:
        """Returns a finding of a namespace, whatever has become of it."""
        found = (await self._rows(place.partition, epoch)).findings.get((place.tenant, id))
        return found if found is not None and _is_at(found, place) else None

    async def add(self, place: Place, epoch: int, finding: Finding) -> bool:
        """Keeps a new finding; tells whether it is one, and there is room."""
        # A source that is compared and a memory that comes behind it may find the same at once.
        async with self._adding:
            held = await self._rows(place.partition, epoch)
            if (finding.tenant, finding.id) in held.findings:
                return False
            if len(await self.findings(place, epoch)) >= _MOST_OPEN:
                return False
            await self.put(place, epoch, finding)
            return True

    async def put(self, place: Place, epoch: int, finding: Finding) -> None:
        """Writes a finding down."""
        held = await self._rows(place.partition, epoch)
        await self._save(place, epoch, _FINDING, finding.id, finding.to_bytes())
        held.find(finding)

    async def forget(self, place: Place, epoch: int, findings: Iterable[Finding]) -> None:
        """Removes findings about memories that are gone."""
        ids = [one.id for one in findings]
        if not ids:
            return
        held = await self._rows(place.partition, epoch)
        await self._run(
            self._store.forget_derivations, place.partition, epoch, place.tenant, _FINDING, ids
        )
        for id in ids:
            held.lose(place.tenant, id)

    async def forget_about(self, partition: int, epoch: int, keys: Iterable[CubeKey]) -> None:
        """Removes the findings of a partition that are about memories, whatever their namespace."""
        held = await self._rows(partition, epoch)
        for key in keys:
            for id in sorted(held.about.get(key, ())):
                one = held.findings.get((key.tenant, id))
                if one is not None:
                    place = Place(partition, one.tenant, one.namespace)
                    await self.forget(place, epoch, [one])

    async def _save(self, place: Place, epoch: int, kind: str, name: str, body: bytes) -> None:
        row = Derivation(place.tenant, kind, name, place.namespace, "", 0, body)
        await self._run(self._store.save_derivation, place.partition, epoch, row)

    async def _rows(self, partition: int, epoch: int) -> _Held:
        async with self._loading:
            held = self._held.get(partition)
            if held is None or held.epoch != epoch:
                held = _Held(epoch)
                for row in await self._run(self._store.derivations, partition, _SOURCE):
                    held.note(Source.from_bytes(row.name, row.tenant, row.namespace, row.body))
                for row in await self._run(self._store.derivations, partition, _FINDING):
                    held.find(Finding.from_bytes(row.name, row.tenant, row.namespace, row.body))
                self._held[partition] = held
            return held

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _memories(finding: Finding) -> set[CubeKey]:
    return {CubeKey(finding.tenant, id) for id in (finding.held, finding.replacing) if id}


def _is_at(one: Source | Finding, place: Place) -> bool:
    return (one.tenant, one.namespace) == (place.tenant, place.namespace)
