"""SourceDesk: trusted sources of a shard's namespaces, and what is decided about their findings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from memos_ray.actors.activation.promoting import Writing
from memos_ray.actors.errands import Errands
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.sources.book import SourceBook
from memos_ray.actors.sources.comparing import SourceComparing, in_force
from memos_ray.actors.sources.watching import SourceWatch
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import TenantPolicy, no_namespace
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.organising import Proposed
from memos_ray.core.sources import (
    Finding,
    ShownFinding,
    Source,
    Stage,
    closed_by,
    write_of,
)
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    ConflictError,
    IllegalStateError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
)
from memos_ray.ports import ClockPort, RecordStorePort

_PIECE = 16
_SHARED = {"visibility": Visibility.SHARED.value, "owner": ""}
_log = logging.getLogger(__name__)


class SourceDesk:
    """Adds sources, shows what they supersede, and has it superseded.

    Everything rests as rows before it is answered. An acceptance is a write of the memory, and then
    a row: cut off between the two, the memory says by itself that the source has ended it.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        residency: Residency,
        reader: RecordReader,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
        write: Writing,
    ) -> None:
        self._book = SourceBook(store, executor)
        self._comparing = SourceComparing(
            store=store, residency=residency, book=self._book, clock=clock, executor=executor
        )
        self._reader = reader
        self._guard = guard
        self._usage = usage
        self._clock = clock
        self._write = write
        self.counters: Counter[str] = Counter()
        self.watch = SourceWatch(
            self._book, self._comparing, store=store, executor=executor, counters=self.counters
        )
        self._errands = Errands("findings about erased memories")

    def erased(self, partition: int, epoch: int, keys: Sequence[CubeKey]) -> None:
        """Removes findings about memories that are gone, behind their erasure.

        What is cut off is done when the log is followed (see `SourceWatch`).
        """
        self._errands.leave(self._book.forget_about(partition, epoch, keys))

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self._book.drop(partition)
        self._comparing.drop(partition)

    async def close(self) -> None:
        """Returns when what was to be removed is."""
        await self._errands.settle()

    async def trusts(self, place: Place, epoch: int, cube_id: str) -> bool:
        """Tells whether a memory is a section of a source."""
        return await self._book.said_by(place, epoch, cube_id) is not None

    async def put(self, place: Place, epoch: int, context: CallContext, source: Source) -> Source:
        """Keeps an edition, or its sections; once it has those it stays as it is.

        Raises:
            NotFoundError: there is no such namespace, or a section is not there.
            PermissionDeniedError: the caller does not administer the namespace.
            ConflictError: the edition is there with another text or rank.
        """
        await self._demand_administrator(place, context)
        known = await self._book.source(place, epoch, source.id)
        if known is None:
            known = replace(source, sections=(), compared=0)
            await self._book.put_source(place, epoch, known)
            self._usage.read(
                *(place.partition, context, "source_add", place.namespace, (), self._clock.now()),
                detail={"source": source.id, "trust": source.trust},
            )
        if (known.digest, known.trust) != (source.digest, source.trust):
            raise ConflictError("this edition is there with another text or rank", source=source.id)
        if known.sections or not source.sections:
            return known
        found = await self._reader.get(place.partition, context, source.sections)
        if any(cube is None or cube.namespace != place.namespace for cube in found):
            raise NotFoundError("a section is not there", source=source.id)
        known = replace(known, sections=source.sections)
        await self._book.put_source(place, epoch, known)
        return known

    async def compare(self, place: Place, epoch: int, context: CallContext, id: str) -> Source:
        """Compares the next sections of a source; a bounded number of them.

        Raises:
            NotFoundError: there is no such source.
            PermissionDeniedError: the caller does not administer the namespace.
            IllegalStateError: its text has not been stored yet.
        """
        await self._demand_administrator(place, context)
        source = await self._known(place, epoch, id)
        if source.stage is Stage.READING:
            raise IllegalStateError("the text is not stored yet: add the source again", source=id)
        if source.stage is Stage.READY:
            return source
        for finding in await self._comparing.piece(place, epoch, source, _PIECE):
            self.counters["source_findings"] += await self._book.add(place, epoch, finding)
        # Behind the findings: a piece that was cut off is done again, and finds what is known.
        done = min(source.compared + _PIECE, len(source.sections))
        self.counters["source_sections_compared"] += done - source.compared
        source = replace(source, compared=done)
        await self._book.put_source(place, epoch, source)
        if source.stage is Stage.READY:
            _log.info("sources: %s is compared, %d sections", source.id, done)
        return source

    async def sources(self, place: Place, epoch: int, context: CallContext) -> list[Source]:
        """Lists the sources of a namespace that the caller may read in.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
        """
        await self._admit(place, context)
        return await self._book.sources(place, epoch)

    async def findings(
        self,
        place: Place,
        epoch: int,
        context: CallContext,
        source_id: str | None,
        limit: int,
        *,
        decided: bool,
    ) -> list[ShownFinding]:
        """Shows what would be superseded, or was decided, where the caller may read both texts.

        Raises:
            NotFoundError: there is no such namespace or source.
        """
        await self.sources(place, epoch, context)
        if source_id is not None:
            await self._known(place, epoch, source_id)
        shown: list[ShownFinding] = []
        for finding in await self._book.findings(place, epoch, decided=decided):
            if len(shown) >= limit:
                break
            if source_id in (None, finding.source):
                one = await self._show(place, epoch, context, finding)
                if one is not None:
                    shown.append(one)
        return shown

    async def settle(
        self,
        place: Place,
        epoch: int,
        context: CallContext,
        ids: Sequence[str],
        *,
        accept: bool,
    ) -> list[ShownFinding | MemosError]:
        """Accepts or refuses findings, each with its own outcome, in order."""
        outcomes: list[ShownFinding | MemosError] = []
        for id in ids:
            try:
                outcomes.append(await self._settle(place, epoch, context, id, accept=accept))
            except MemosError as error:
                outcomes.append(error)
        return outcomes

    async def _settle(
        self, place: Place, epoch: int, context: CallContext, id: str, *, accept: bool
    ) -> ShownFinding:
        finding = await self._book.finding(place, epoch, id)
        shown = None
        if finding is not None:
            shown = await self._show(place, epoch, context, finding, closed=accept)
        if finding is None or shown is None:
            raise NotFoundError("there is no such finding, or not any more", finding=id)
        wanted = Proposed.ACCEPTED if accept else Proposed.REFUSED
        if finding.state is wanted:
            return shown
        if finding.state is not Proposed.OPEN:
            raise IllegalStateError("this has been decided", finding=id, state=finding.state)
        policy, now = await self._guard.ensure_for(context), self._clock.now()
        facets = facets_of(shown.held)
        policy.require(context, Action.UPDATE, facets, place.namespace, now)
        if accept and not closed_by(shown.held, finding.source):
            write = write_of(shown.source, shown.held, shown.replacing, shown.finding.kind, now)
            (outcome,) = await self._write(place.partition, [Submission(context, write)])
            if isinstance(outcome, MemosError):
                raise outcome
        decided = replace(
            shown.finding,
            state=wanted,
            decided_by=context.principal.id,
            decided_at=self._clock.now(),
        )
        await self._book.put(place, epoch, decided)
        self.counters[f"source_{wanted.value}"] += 1
        self._usage.read(
            *(place.partition, context, f"source_{wanted.value}", place.namespace, (), now),
            detail={"finding": id, "source": finding.source, "held": finding.held},
        )
        _log.info("sources: finding %s of %s %s", id, finding.source, wanted.value)
        return replace(shown, finding=decided)

    async def _show(
        self,
        place: Place,
        epoch: int,
        context: CallContext,
        finding: Finding,
        *,
        closed: bool = False,
    ) -> ShownFinding | None:
        """A finding as it stands; nothing when it is hidden, or does not hold any more.

        Args:
            closed: whether what the source has ended already is shown, too.
        """
        source = await self._book.source(place, epoch, finding.source)
        ids = [one for one in (finding.held, finding.replacing) if one]
        found = await self._reader.get(place.partition, context, ids)
        held = found[0]
        replacing = found[1] if len(ids) > 1 else None
        if source is None or held is None or (finding.replacing and replacing is None):
            gone = {id for id in ids if id not in await self._comparing.heads(place, ids)}
            if gone or source is None:
                await self._book.forget(place, epoch, [finding])
            return None
        over = closed and closed_by(held, source.id)
        if finding.state is not Proposed.OPEN or over:
            return ShownFinding(finding, source, held, replacing, ())
        if not in_force(held) or (replacing is not None and not in_force(replacing)):
            return None
        said_by = await self._book.said_by(place, epoch, held.id)
        editions = said_by is not None and (said_by.name, said_by.issuer) == (
            source.name,
            source.issuer,
        )
        verdict = await self._comparing.verdict(held, replacing, editions)
        if verdict is None:
            return None
        # As the texts stand now, which may have changed since they were found.
        now = replace(finding, kind=verdict.kind, confidence=verdict.confidence)
        return ShownFinding(now, source, held, replacing, verdict.reasons)

    async def _known(self, place: Place, epoch: int, id: str) -> Source:
        found = await self._book.source(place, epoch, id)
        if found is None:
            raise NotFoundError("there is no such source", source=id)
        return found

    async def _admit(self, place: Place, context: CallContext) -> TenantPolicy:
        policy, now = await self._guard.ensure_for(context), self._clock.now()
        # Being named on single memories is no admission: who reads what is shared there is let in.
        if not policy.decide(context, Action.READ, _SHARED, place.namespace, now).allowed:
            raise no_namespace(place.namespace)
        return policy

    async def _demand_administrator(self, place: Place, context: CallContext) -> None:
        policy, now = await self._admit(place, context), self._clock.now()
        if not policy.may_administer(context, place.namespace, now):
            raise PermissionDeniedError(
                "only administrators of a namespace say whom it trusts", namespace=place.namespace
            )
