"""Extraction by a model, for one shard: its log feeds, its jobs, and what callers may ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.extraction.asking import Asking
from memos_ray.actors.extraction.book import FEED, ExtractionBook
from memos_ray.actors.extraction.extracting import Extracting, Storing
from memos_ray.actors.extraction.feed import ExtractConsumer, concerns
from memos_ray.actors.extraction.paid_model import PaidModel
from memos_ray.actors.extraction.sources import ExtractionSources
from memos_ray.actors.feed import LOG_BATCH, LogFeed
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.submitting import SubmittingPort
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.config import ExtractionSettings
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_namespace
from memos_ray.core.cube.metadata import Origin
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.extraction import (
    Aside,
    ExtractionAnswer,
    ExtractionPrompt,
    ExtractionReport,
    Job,
    JobReport,
    SourceProgress,
    task_tokens,
)
from memos_ray.core.vault.entries import DERIVE, LEARN
from memos_ray.core.vault.log import Commit
from memos_ray.core.vault.operations import Create
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FencedError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    PermissionDeniedError,
)
from memos_ray.ports import AllowancePort, ClockPort, ExtractorPort, RecordStorePort

QUEUED, RUNNING, PARKED, ASIDE = "queued", "running", "parked", "aside"
_JOBS_MOST = 200
# What a machine has made is not read again.
_SAID = (Origin.USER_INPUT, Origin.IMPORT, Origin.RETRIEVAL)


@dataclass(frozen=True, slots=True)
class ExtractionParts:
    """Who reads, and how; without a model jobs are kept and wait.

    Attributes:
        allowances: the accounts of budgets, where there are any.
    """

    extractor: ExtractorPort | None = None
    settings: ExtractionSettings = field(default_factory=ExtractionSettings)
    allowances: AllowancePort | None = None


class Extraction:
    """What a shard knows of extraction.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        parts: ExtractionParts,
        *,
        store: RecordStorePort,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
        store_all: Storing,
        pressing: Callable[[], bool],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = parts.settings
        self._store = store
        self._guard = guard
        self._clock = clock
        self._executor = executor
        self._pressing = pressing
        self._book = ExtractionBook(store, executor)
        self._feeds: dict[int, LogFeed] = {}
        self._consumers: dict[int, ExtractConsumer] = {}
        self._model: PaidModel | None = None
        self._extracting: Extracting | None = None
        if parts.extractor is not None:
            self._model = PaidModel(
                parts.extractor,
                parts.settings,
                now=clock.now,
                counters=self.counters,
                allowances=parts.allowances,
            )
            self._extracting = Extracting(
                self._model,
                parts.settings,
                book=self._book,
                sources=ExtractionSources(
                    store, guard, usage, clock, executor, parts.settings.context
                ),
                store_all=store_all,
                courtesy=Courtesy(pressing),
                counters=self.counters,
            )

    @property
    def queued(self) -> int:
        """How many jobs are not done and not parked."""
        return self._book.queued

    @property
    def asking(self) -> Asking | None:
        """The model, for other questions than those of extraction; nothing where there is none."""
        chosen, model = self._settings, self._model
        if model is None:
            return None

        async def ask(tenant: str, prompt: ExtractionPrompt) -> ExtractionAnswer | None:
            return await model.ask_if_free(tenant, prompt, lambda: tenant in self._book.waiting)

        return Asking(model.name, chosen.prompt_tokens, chosen.attempts, ask)

    def follow(
        self,
        partition: int,
        epoch: int,
        submit: SubmittingPort,
        on_fenced: Callable[[int], None],
        on_error: Callable[[str, MemosError], None],
    ) -> LogFeed:
        """Begins to serve a partition; returns the feed that follows its log.

        Args:
            submit: commits writes that have been decided about already.
        """
        self._book.open(partition, epoch)
        consumer = self._consumers[partition] = ExtractConsumer(
            partition,
            book=self._book,
            store=self._store,
            executor=self._executor,
            submit=submit,
            guard=self._guard,
            now=self._clock.now,
            position=lambda: self._feeds[partition].position,
            window=self._settings.window,
            tokens=self._settings.prompt_tokens - task_tokens(),
            counters=self.counters,
        )
        feed = self._feeds[partition] = LogFeed(
            FEED,
            partition,
            epoch,
            cursor=FEED,
            store=self._store,
            executor=self._executor,
            consumer=consumer,
            ceiling=lambda: None,
            batch=LOG_BATCH,
            on_moved=partial(self._moved, partition),
            courtesy=Courtesy(self._pressing),
            on_fenced=on_fenced,
            on_error=on_error,
        )
        return feed

    def concerned(self, commit: Commit) -> bool:
        """Tells whether the feed of a partition has anything to do about a commit."""
        if any(event.operation in (DERIVE, LEARN) for event in commit.events):
            self._book.note_derived(commit.partition)
        return concerns(commit, self._book.extracted(commit.partition))

    def drop(self, partition: int) -> None:
        """Leaves a partition to its next owner."""
        self._feeds.pop(partition, None)
        self._consumers.pop(partition, None)
        if self._extracting is not None:
            self._extracting.drop(partition)
        self._book.drop(partition)

    async def tick(self, partition: int) -> None:
        """Has what was set aside follow its sources, where its pause is over."""
        consumer = self._consumers.get(partition)
        if consumer is not None:
            with suppress(NotOwnerError, FencedError):
                await consumer.again()

    async def close(self) -> None:
        """Stops; what was under way is done again by the next owner."""
        if self._extracting is not None:
            await self._extracting.close()

    async def marked(
        self, partition: int, submissions: Sequence[Submission]
    ) -> Sequence[Submission]:
        """Marks what is to be read because its namespace wants it; all else stays as it is."""
        derived = next(
            (one for one in submissions if one.write.derived_from or one.write.learnt), None
        )
        if derived is not None:
            # Whoever owns the partition next knows by this that something follows its sources.
            await self._book.tell(partition, derived.context.principal.tenant)
        if self._extracting is None:
            return submissions
        await self._book.load(partition)
        return [
            replace(one, write=replace(one.write, extract=True))
            if self._wanted(partition, one)
            else one
            for one in submissions
        ]

    def _wanted(self, partition: int, one: Submission) -> bool:
        write, operation = one.write, one.write.operation
        if write.extract or not isinstance(operation, Create):
            return False
        said = operation.origin in _SAID and isinstance(operation.payload, Plaintext)
        tenant = one.context.principal.tenant
        return said and self._book.automatic(partition, tenant, write.namespace)

    async def automate(self, place: Place, context: CallContext, *, automatic: bool) -> None:
        """Has all that is stored in a namespace from now on read, or no longer.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
            PermissionDeniedError: the caller does not administer it.
            InvalidInputError: no model is set up.
        """
        if not await self._administers(place, context):
            raise PermissionDeniedError(
                "only administrators of a namespace have it read", namespace=place.namespace
            )
        if automatic and self._extracting is None:
            raise InvalidInputError("no model is set up for extraction", field="automatic")
        await self._book.load(place.partition)
        by = context.principal.id if automatic else None
        await self._book.automate(place.partition, place.tenant, place.namespace, by)

    async def report(self, place: Place, context: CallContext, last: int) -> ExtractionReport:
        """Says how extraction stands in a namespace: the caller's own, or all for who administers.

        Args:
            last: LSN of the newest log entry.

        Raises:
            NotFoundError: there is no such namespace, or the caller is not admitted.
        """
        all_of_them = await self._administers(place, context)
        await self._book.load(place.partition)
        feed = self._feeds[place.partition]
        # It sleeps through what does not concern it.
        feed.notify()
        me = context.principal.id
        jobs = [
            job
            for job in self._book.of(place.partition, place.tenant, place.namespace)
            if all_of_them or job.owner == me
        ]
        states = Counter(self._state(place, job) for job in jobs)
        asides = self._asides(place, None if all_of_them else me)
        totals = self._book.totals(place.partition, place.tenant, place.namespace)
        sources = [one for one in totals.sources if all_of_them or one.owner == me]
        return ExtractionReport(
            model="" if self._extracting is None else self._extracting.model,
            automatic=self._book.automatic(place.partition, place.tenant, place.namespace),
            lag=max(last - feed.position, 0),
            queued=states[QUEUED],
            running=states[RUNNING],
            parked=states[PARKED],
            done=totals.done,
            read=totals.read,
            memories=totals.memories,
            tokens=totals.tokens,
            refused=totals.refused,
            sources=self._progress(place, jobs, sources),
            jobs=tuple(
                [*map(_shown_aside, asides), *(self._shown(place, job) for job in jobs)][
                    :_JOBS_MOST
                ]
            ),
        )

    async def retry(self, place: Place, context: CallContext, id: str | None) -> int:
        """Has tried again what was parked or set aside: one, or all that the caller may.

        Returns:
            How many.

        Raises:
            NotFoundError: there is no such job that is parked and the caller's, nor such a
                namespace.
        """
        all_of_them = await self._administers(place, context)
        await self._book.load(place.partition)
        found = [
            job
            for job in self._book.of(place.partition, place.tenant, place.namespace)
            if job.parked is not None
            and id in (None, job.id)
            and (all_of_them or job.owner == context.principal.id)
        ]
        mine = None if all_of_them else context.principal.id
        keys = [one.key for one in self._asides(place, mine) if id in (None, one.key.id)]
        if id is not None and not (found or keys):
            raise NotFoundError("there is no such parked job", job=id)
        for job in found:
            fresh = replace(job, attempts=0, not_before=None, parked=None)
            await self._book.put(place.partition, fresh)
        if keys:
            await self._consumers[place.partition].again(keys)
        self.counters["extraction_retried"] += len(found) + len(keys)
        if self._extracting is not None:
            self._extracting.wake()
        return len(found) + len(keys)

    def _asides(self, place: Place, owner: str | None) -> list[Aside]:
        """Returns what is set aside in a namespace, of one owner or of all."""
        return [
            one
            for one in self._book.asides(place.partition)
            if (one.key.tenant, one.namespace) == (place.tenant, place.namespace)
            and owner in (None, one.owner)
        ]

    async def _administers(self, place: Place, context: CallContext) -> bool:
        """Tells whether a caller who is admitted administers a namespace, too.

        To be named in a memory there does not suffice to be told of all others.
        """
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        if place.namespace not in policy.visible_namespaces(context, now):
            raise no_namespace(place.namespace)
        return policy.may_administer(context, place.namespace, now)

    def _moved(self, partition: int) -> None:
        feed = self._feeds.get(partition)
        if feed is not None and self._extracting is not None:
            self._extracting.reached(partition, feed.position)

    def _state(self, place: Place, job: Job) -> str:
        if job.parked is not None:
            return PARKED
        key = (place.partition, job.tenant, job.id)
        running = self._extracting is not None and self._extracting.runs(key)
        return RUNNING if running else QUEUED

    def _shown(self, place: Place, job: Job) -> JobReport:
        reason = job.parked or ""
        if job.parked is None and self._extracting is not None:
            reason = self._extracting.reason((place.partition, job.tenant, job.id))
        return JobReport(
            job.id,
            self._state(place, job),
            job.source,
            job.owner,
            job.ids,
            job.attempts,
            reason if self._extracting is not None or reason else "no_model",
            job.not_before,
        )

    def _progress(
        self, place: Place, jobs: list[Job], done: list[SourceProgress]
    ) -> tuple[SourceProgress, ...]:
        found = {(one.source, one.owner): one for one in done}
        for job in jobs:
            held = found.get((job.source, job.owner), SourceProgress(job.source, job.owner))
            state = self._state(place, job)
            count = getattr(held, state) + len(job.ids)
            found[job.source, job.owner] = replace(held, **{state: count})
        return tuple(found.values())


def _shown_aside(one: Aside) -> JobReport:
    ids = (one.key.id,)
    return JobReport(
        one.key.id, ASIDE, "", one.owner, ids, one.attempts, one.reason, one.not_before
    )
