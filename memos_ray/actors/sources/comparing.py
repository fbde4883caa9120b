"""Compares the sections of a trusted source with what its namespace holds, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from memos_ray.actors.sources.book import SourceBook
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.organising import statements
from memos_ray.core.retrieval import ResidentIndex
from memos_ray.core.sources import (
    Finding,
    Section,
    Source,
    Stage,
    Verdict,
    align,
    compare,
    compare_editions,
    find,
    neighbours,
    uri_of,
    withdrawn,
)
from memos_ray.core.sources.claims import claims, cues
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import ClockPort, RecordStorePort

_RIVALS, _CUES = 64, 1000
_HEADS = 500


@dataclass(frozen=True, slots=True)
class Editions:
    """How a source stands among the editions of its document.

    Attributes:
        before: the edition that it takes the place of.
        after: the edition that takes its place.
        replaced: for each section of the source, the one of `before` that it replaces.
        replacing: for each section of the source, the one of `after` in its place, or none.
        withdrawn: sections of `before` that have no place in the source.
    """

    before: Source | None
    after: Source | None
    replaced: Mapping[str, str]
    replacing: Mapping[str, str | None]
    withdrawn: Sequence[str]


class SourceComparing:
    """Finds what a source supersedes. It reads without a caller: nothing of it is shown unjudged.

    Bounded: a section is compared with at most some hundred memories that share its words, and with
    one section of each neighbouring edition. A namespace beyond the memory budget has its editions
    compared, and nothing else.

    Concurrency: runs on the actor's event loop; texts are compared on `executor`.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        residency: Residency,
        book: SourceBook,
        clock: ClockPort,
        executor: Executor,
    ) -> None:
        self._store = store
        self._residency = residency
        self._book = book
        self._clock = clock
        self._executor = executor
        self._editions: dict[tuple[Place, str, str, str], Editions] = {}

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for names in [names for names in self._editions if names[0].partition == partition]:
            del self._editions[names]

    async def piece(self, place: Place, epoch: int, source: Source, most: int) -> list[Finding]:
        """Compares the next sections of a source; returns what follows, not yet written down."""
        editions = await self._among(place, epoch, source)
        ids = source.sections[source.compared : source.compared + most]
        heads = await self.heads(place, ids)
        found: list[Finding] = []
        for section_id in ids:
            section = heads.get(section_id)
            if section is None or not in_force(section):
                continue
            found += await self._by_editions(place, source, section, editions)
            # What an edition says that has been replaced overrules nothing any more.
            if editions.after is None:
                found += await self._by_words(place, epoch, source, section)
        if source.compared == 0 and editions.before is not None:
            found += await self._gone(place, source, editions.withdrawn)
        return found

    async def later(self, place: Place, epoch: int, held: MemCube) -> list[Finding] | None:
        """Compares a memory with what the newest editions of all sources say of the same.

        Returns:
            What follows, not yet written down; nothing when there is nothing to compare.
        """
        said = await self._book.newest(place, epoch)
        if not said or not in_force(held) or await self._of_a_source(place, epoch, held):
            return None
        index = await self._residency.index(place)
        if index is None:
            return None
        speaker = held.descriptive.setting.speaker
        near = await self._run(_near, index, held.text, speaker, said)
        sections = await self.heads(place, near)
        found = []
        for section in sections.values():
            verdict = await self.verdict(held, section, editions=False)
            if verdict is not None and in_force(section):
                now, source = self._clock.now(), said[section.id]
                found.append(find(source, held, section, verdict, now, outranked=False))
        return found

    async def _of_a_source(self, place: Place, epoch: int, held: MemCube) -> bool:
        """Whether a memory is a section of a source, or of one whose text is being stored."""
        if await self._book.said_by(place, epoch, held.id) is not None:
            return True
        uris = {ref.uri for ref in held.descriptive.sources}
        reading = [
            one
            for one in await self._book.sources(place, epoch)
            if one.stage is Stage.READING and one.added_by == held.governance.owner
        ]
        return any(uri_of(one.id) in uris for one in reading)

    async def heads(self, place: Place, ids: Iterable[str]) -> dict[str, MemCube]:
        """Returns memories by id, unjudged; those of another namespace are left out."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, MemCube] = {}
        for start in range(0, len(wanted), _HEADS):
            keys = [CubeKey(place.tenant, id) for id in wanted[start : start + _HEADS]]
            heads = await self._run(self._store.heads, place.partition, keys)
            found.update({cube.id: cube for cube in heads.values()})
        return {id: cube for id, cube in found.items() if cube.namespace == place.namespace}

    async def verdict(self, held: MemCube, replacing: MemCube | None, editions: bool) -> Any:
        """Returns what a pair is to each other, nothing when it has nothing to do."""
        if replacing is None:
            return withdrawn()
        if editions:
            return await self._run(compare_editions, held.text, replacing.text)
        speaker = held.descriptive.setting.speaker
        return await self._run(compare, held.text, replacing.text, speaker)

    async def _by_editions(
        self, place: Place, source: Source, section: MemCube, editions: Editions
    ) -> list[Finding]:
        now, found = self._clock.now(), []
        pairs: list[tuple[Source, str, str | None]] = []
        if editions.before is not None and section.id in editions.replaced:
            pairs.append((source, editions.replaced[section.id], section.id))
        if editions.after is not None:
            pairs.append((editions.after, section.id, editions.replacing.get(section.id)))
        for authority, held_id, new_id in pairs:
            heads = await self.heads(place, filter(None, (held_id, new_id)))
            held, new = heads.get(held_id), heads.get(new_id or "")
            if held is None or not in_force(held) or (new is None) is not (new_id is None):
                continue
            if new is not None and not in_force(new):
                continue
            verdict: Verdict = await self.verdict(held, new, editions=True)
            found.append(find(authority, held, new, verdict, now, outranked=False))
        return found

    async def _gone(self, place: Place, source: Source, ids: Sequence[str]) -> list[Finding]:
        now, heads = self._clock.now(), await self.heads(place, ids)
        return [
            find(source, held, None, withdrawn(), now, outranked=False)
            for held in heads.values()
            if in_force(held)
        ]

    async def _by_words(
        self, place: Place, epoch: int, source: Source, section: MemCube
    ) -> list[Finding]:
        index = await self._residency.index(place)
        if index is None:
            return []
        near = await self._run(_near, index, section.text)
        heads = await self.heads(place, (id for id in near if id != section.id))
        found = []
        for held in heads.values():
            said_by = await self._book.said_by(place, epoch, held.id)
            if not in_force(held) or (said_by is not None and _one_document(said_by, source)):
                continue
            verdict = await self.verdict(held, section, editions=False)
            if verdict is not None:
                outranked = said_by is not None and said_by.trust > source.trust
                now = self._clock.now()
                found.append(find(source, held, section, verdict, now, outranked=outranked))
        return found

    async def _among(self, place: Place, epoch: int, source: Source) -> Editions:
        before, after = neighbours(source, await self._book.sources(place, epoch))
        names = (place, source.id, before.id if before else "", after.id if after else "")
        known = self._editions.get(names)
        if known is not None:
            return known
        replaced: dict[str, str] = {}
        replacing: dict[str, str | None] = {}
        gone: list[str] = []
        if before is not None:
            aligned = await self._aligned(place, before, source)
            replaced = {new: old for old, new in aligned.items() if new is not None}
            gone = [old for old, new in aligned.items() if new is None]
        if after is not None:
            replacing = await self._aligned(place, source, after)
        made = Editions(before, after, replaced, replacing, gone)
        if source.compared == 0:
            self._editions.clear()
        self._editions[names] = made
        return made

    async def _aligned(self, place: Place, older: Source, newer: Source) -> dict[str, str | None]:
        heads = await self.heads(place, (*older.sections, *newer.sections))
        sides = [
            [_section(heads[id]) for id in edition.sections if id in heads]
            for edition in (older, newer)
        ]
        found: dict[str, str | None] = await self._run(align, *sides)
        return found

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def in_force(cube: MemCube) -> bool:
    """Whether a memory holds, and may be made to hold no longer."""
    return (
        isinstance(cube.payload, Plaintext)
        and cube.state in LIVE
        and not cube.frozen
        and cube.descriptive.valid_to is None
    )


def _near(
    index: ResidentIndex,
    text: str,
    speaker: str | None = None,
    among: Container[str] | None = None,
) -> list[str]:
    """Returns what may speak of the same as a text; a bounded number of memories."""
    wanted = [windows for claim in claims(text) for windows in cues(claim)]
    wanted += [cue for one in statements(text, speaker) for cue in one.cues]
    return index.worded(wanted[:_CUES], _RIVALS, among) if wanted else []


def _one_document(one: Source, other: Source) -> bool:
    return (one.name, one.issuer) == (other.name, other.issuer)


def _section(cube: MemCube) -> Section:
    trail = tuple((cube.descriptive.setting.session or "").split(" > "))
    return Section(cube.id, trail if trail != ("",) else (), cube.text)
