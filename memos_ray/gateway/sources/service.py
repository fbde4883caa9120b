"""SourceService: authoritative documents against what is held, for all doors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice

from memos_ray.core.access.context import CallContext
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.pdf import WITHOUT_TEXT
from memos_ray.core.sources import SECTIONS_MAX, ShownFinding, Source, Stage, source_id, uri_of
from memos_ray.errors import InvalidInputError, MemosError, PayloadTooLargeError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.memories.ingestion import Ingestion, IngestOptions, drafts_of
from memos_ray.gateway.memories.mapping import problem_of
from memos_ray.gateway.memories.models import NewMemory, WriteReport
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.problems import error_of_problem
from memos_ray.gateway.routing import Router
from memos_ray.gateway.sources.models import (
    FINDINGS_MAX,
    DecidedFinding,
    Deciding,
    DecisionReport,
    FindingInfo,
    FindingList,
    NewSource,
    SourceInfo,
    SourceList,
)
from memos_ray.ports import ClockPort

_SECTION_WORDS = 400
_PIECES_AT_ONCE = 8
_BULK = 50


class SourceService:
    """Adds sources, shows their findings and has them decided.

    Every method takes the `Caller`; errors are those of `MemoryService`. What a call leaves undone
    because it was cut off is done by repeating it.
    """

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        memories: MemoryService,
        clock: ClockPort,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._memories = memories
        self._placement = Placement(router, clock)
        self._clock = clock

    async def add(self, caller: Caller, new: NewSource, namespace: str | None = None) -> SourceInfo:
        """Stores an edition, section by section, and begins to compare it with what is held.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
            ConflictError: the edition is there with another text or rank.
            PayloadTooLargeError: the document has too many sections.
            InvalidInputError: it is damaged, or has no text.
        """
        context, place, partition = await self._place(caller, namespace)
        id = source_id(place, new.name, new.issuer, new.valid_from)
        text = new.document
        source = Source(
            id,
            context.principal.tenant,
            place,
            new.name,
            new.issuer,
            new.trust,
            new.valid_from,
            blake2b(text, digest_size=16).hexdigest(),
            context.principal.id,
            self._clock.now(),
        )
        options = _options(new, id)
        # No more is read than may be: a small file may have any number of pages.
        most = SECTIONS_MAX + 1
        items = await asyncio.to_thread(lambda: list(islice(drafts_of(text, options), most)))
        if len(items) == most:
            raise PayloadTooLargeError("the document has too many sections", limit=SECTIONS_MAX)
        drafts, blank = _sections(items)
        kept = await self._put(partition, context, source)
        if not kept.sections:
            sections = await self._store(caller, new, place, options, drafts)
            kept = await self._put(partition, context, replace(source, sections=sections))
        info = await self.compare(caller, id, place)
        return info.model_copy(update={"pages_without_text": blank})

    async def compare(self, caller: Caller, id: str, namespace: str | None = None) -> SourceInfo:
        """Goes on comparing a source with what is held, until it is done or this takes long.

        Raises:
            NotFoundError: there is no such source.
            PermissionDeniedError: the caller does not administer the namespace.
        """
        context, place, partition = await self._place(caller, namespace)
        for _ in range(_PIECES_AT_ONCE):
            source = await self._router.call(
                partition, lambda shard, _: shard.compare_source(partition, context, place, id)
            )
            if source.stage is Stage.READY:
                break
        return _info(source)

    async def list(self, caller: Caller, namespace: str | None = None) -> SourceList:
        """Lists the sources of a namespace."""
        context, place, partition = await self._place(caller, namespace)
        found = await self._router.call(
            partition, lambda shard, _: shard.sources(partition, context, place)
        )
        return SourceList(sources=[_info(one) for one in found])

    async def findings(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        source: str | None = None,
        decided: bool = False,
        limit: int = 50,
    ) -> FindingList:
        """Shows what would be superseded, with reasons and both texts; or what was decided."""
        if not 1 <= limit <= FINDINGS_MAX:
            raise InvalidInputError("limit is out of range", limit=limit)
        context, place, partition = await self._place(caller, namespace)
        found = await self._findings(partition, context, place, source, limit, decided)
        return FindingList(findings=[_finding(one) for one in found])

    async def decide(
        self, caller: Caller, which: Deciding, namespace: str | None = None, *, accept: bool
    ) -> DecisionReport:
        """Accepts or refuses findings, each with its own outcome.

        Raises:
            NotFoundError: there is no such namespace or source.
        """
        context, place, partition = await self._place(caller, namespace)
        ids, more = list(which.ids or ()), False
        if which.source is not None:
            found = await self._findings(
                partition, context, place, which.source, FINDINGS_MAX, False
            )
            ids = [one.finding.id for one in found if not one.finding.outranked]
            more = len(found) == FINDINGS_MAX
        results: list[DecidedFinding] = []
        for start in range(0, len(ids), _BULK):
            piece = ids[start : start + _BULK]
            results += await self._settle(partition, context, place, piece, accept=accept)
        return DecisionReport(results=results, more=more and any(one.finding for one in results))

    async def _settle(
        self, partition: int, context: CallContext, place: str, ids: Sequence[str], *, accept: bool
    ) -> Sequence[DecidedFinding]:
        outcomes = await self._router.call(
            partition,
            lambda shard, _: shard.settle_findings(partition, context, place, ids, accept),
        )
        return [
            DecidedFinding(id=id, error=problem_of(outcome, context.request_id))
            if isinstance(outcome, MemosError)
            else DecidedFinding(id=id, finding=_finding(outcome))
            for id, outcome in zip(ids, outcomes, strict=True)
        ]

    async def _findings(
        self,
        partition: int,
        context: CallContext,
        place: str,
        source: str | None,
        limit: int,
        decided: bool,
    ) -> Sequence[ShownFinding]:
        return await self._router.call(
            partition,
            lambda shard, _: shard.source_findings(
                partition, context, place, source, limit, decided
            ),
        )

    async def _put(self, partition: int, context: CallContext, source: Source) -> Source:
        return await self._router.call(
            partition, lambda shard, _: shard.put_source(partition, context, source)
        )

    async def _store(
        self,
        caller: Caller,
        new: NewSource,
        place: str,
        options: IngestOptions,
        drafts: Sequence[Draft],
    ) -> tuple[str, ...]:
        async def write(memories: Sequence[NewMemory]) -> WriteReport:
            dated = [one.model_copy(update={"valid_from": new.valid_from}) for one in memories]
            return await self._memories.add(caller, dated, place)

        report = await Ingestion(options, write).run(iter(drafts))
        for item in report.results:
            if item.error is not None:
                # The next try goes on behind what is stored.
                raise error_of_problem(item.error)
        return tuple(dict.fromkeys(item.id for item in report.results if item.id is not None))

    async def _place(self, caller: Caller, namespace: str | None) -> tuple[CallContext, str, int]:
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        return context.hop(), place, await self._placement.home(context, place)


def _sections(items: Sequence[Draft | ItemError]) -> tuple[list[Draft], list[int]]:
    """Returns what is stored of a document, and the pages that have no text.

    A document of which a part cannot be read is none to be believed.
    """
    drafts, blank = [], []
    for item in items:
        if isinstance(item, Draft):
            drafts.append(item)
        elif item.code == WITHOUT_TEXT:
            blank.append(item.position)
        else:
            raise InvalidInputError(item.message, reason=item.code, position=item.position)
    if not drafts:
        raise InvalidInputError("the document has no text", reason="empty")
    return drafts, blank


def _options(new: NewSource, id: str) -> IngestOptions:
    edition = new.valid_from.date().isoformat()
    return IngestOptions(
        format=new.read_as,
        source=uri_of(id),
        conversation=f"{new.name} ({edition})",
        language=new.language,
        chunk_words=_SECTION_WORDS,
        tags=["source"],
        attributes={"source": new.name, "issuer": new.issuer, "edition": edition},
        visibility=new.visibility,
    )


def _info(source: Source) -> SourceInfo:
    return SourceInfo(
        id=source.id,
        namespace=source.namespace,
        name=source.name,
        issuer=source.issuer,
        trust=source.trust,
        valid_from=source.valid_from,
        stage=source.stage,
        sections=len(source.sections),
        compared=source.compared,
        added_by=source.added_by,
        added_at=source.added_at,
    )


def _finding(one: ShownFinding) -> FindingInfo:
    finding = one.finding
    return FindingInfo(
        id=finding.id,
        source=finding.source,
        source_title=one.source.title,
        kind=finding.kind,
        state=finding.state,
        confidence=finding.confidence,
        outranked=finding.outranked,
        held=one.held.id,
        held_text=one.held.text,
        replacing=None if one.replacing is None else one.replacing.id,
        replacing_text=None if one.replacing is None else one.replacing.text,
        reasons=list(one.reasons),
        found_at=finding.found_at,
        decided_by=finding.decided_by,
        decided_at=finding.decided_at,
    )
