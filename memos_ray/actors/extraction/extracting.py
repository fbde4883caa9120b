"""Has a model read memories behind the log, job by job.

What a crash at each line leaves behind:

    paid ─▶ attempt written ─▶ asked ─▶ stored ─▶ counted ─▶ row gone
          │ counts as an attempt       │        │ the replies of the commit tell that it is
          ▼                            ▼        ▼ done; the model is not asked again
      asked again                 asked again   counted once
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from uuid import uuid4

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.errands import Errands
from memos_ray.actors.extraction.book import ExtractionBook, Key
from memos_ray.actors.extraction.purse import Purse
from memos_ray.actors.extraction.sources import ExtractionSources
from memos_ray.config import ExtractionSettings
from memos_ray.core.defects import describe_defect
from memos_ray.core.extraction import (
    Checked,
    Done,
    ExtractionAnswer,
    ExtractionPrompt,
    Job,
    SourceTurn,
    check,
    pause_s,
    prompt_of,
    retried,
    write_of,
)
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    ConfigurationError,
    DeadlineExceededError,
    FencedError,
    InternalError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnavailableError,
    VersionConflictError,
)
from memos_ray.ports import AllowancePort, ExtractorPort

Storing = Callable[[int, Sequence[Submission]], Awaitable[list[Written]]]
"""Commits writes, all or none."""

BUDGET, AWAY = "budget", "model_away"
"""Why jobs wait that have not failed."""

_LOOK_S = 1.0
_FOR_GOOD = (NotFoundError, PermissionDeniedError, PayloadTooLargeError)
_OF_THE_MODEL = (UnavailableError, ConfigurationError)
_log = logging.getLogger(__name__)


class Extracting:
    """Works through the jobs of a book, a few at once, tenants in turns.

    A model that is away is left alone for growing pauses, after each of which one job tries it;
    a tenant whose budget is spent waits for the next hour. Both are seen in the report. A job that
    fails too often by itself is parked.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        extractor: ExtractorPort,
        settings: ExtractionSettings,
        *,
        book: ExtractionBook,
        sources: ExtractionSources,
        store_all: Storing,
        courtesy: Courtesy,
        counters: Counter[str],
        allowances: AllowancePort | None = None,
    ) -> None:
        """Takes its parts.

        Args:
            allowances: whom to ask before a budget is spent; there is none without.

        Raises:
            ConfigurationError: there is a budget, and nobody to ask.
        """
        self._purse: Purse | None = None
        if settings.budget().limited:
            if allowances is None:
                raise ConfigurationError("nobody keeps the budgets of extraction")
            self._purse = Purse(allowances, sources.clock.now, counters)
        self._leaving = Errands("parts of budgets that were left")
        self._closing = False
        self._extractor = extractor
        self._settings = settings
        self._book = book
        self._sources = sources
        self._store_all = store_all
        self._courtesy = courtesy
        self._counters = counters
        self._now = sources.clock.now
        self._news = asyncio.Event()
        self._reached: dict[int, int] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._served: dict[str, int] = {}
        self._blocked: dict[str, datetime] = {}
        self._failures: dict[Key, int] = {}
        self._reasons: dict[Key, str] = {}
        self._away_until: datetime | None = None
        self._away_times = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """Who reads."""
        return self._extractor.name

    def reached(self, partition: int, lsn: int) -> None:
        """Says that the jobs of memories up to an LSN are written down, and may run."""
        self._reached[partition] = lsn
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def drop(self, partition: int) -> None:
        """Leaves a partition to its next owner."""
        self._reached.pop(partition, None)
        for key in [key for key in self._failures if key[0] == partition]:
            self._forget(key)
        for key in [key for key in self._running if key[0] == partition]:
            self._running[key].cancel()

    def runs(self, key: Key) -> bool:
        """Tells whether a job is under way."""
        return key in self._running

    def reason(self, key: Key) -> str:
        """Says why a queued job waits; nothing when it is only its turn that it waits for."""
        now = self._now()
        if self._away_until is not None and now < self._away_until:
            return AWAY
        blocked = self._blocked.get(key[1])
        return BUDGET if blocked is not None and now < blocked else self._reasons.get(key, "")

    def wake(self) -> None:
        """Looks again what can be done."""
        self._news.set()

    async def ask(
        self, partition: int, tenant: str, prompt: ExtractionPrompt
    ) -> ExtractionAnswer | None:
        """See `Asking.ask`."""
        await self._book.load(partition)
        now, blocked = self._now(), self._blocked.get(tenant)
        away = self._away_until is not None and now < self._away_until
        if away or (blocked is not None and now < blocked):
            return None
        return await self._paid(tenant, prompt)

    async def close(self) -> None:
        """Stops; what was under way is done again by the next owner."""
        self._closing = True
        tasks = [*self._running.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leaving.settle()
        await self._extractor.close()

    async def _run(self) -> None:
        while True:
            self._news.clear()
            while len(self._running) < self._settings.at_once and (key := self._pick()):
                self._start(key)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if self._book.waiting else None):
                    await self._news.wait()

    def _start(self, key: Key) -> None:
        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(key, None)
            self._news.set()
            idle = key[1] not in self._book.waiting
            if idle and self._purse is not None and not self._closing:
                self._leaving.leave(self._purse.leave(key[1]))

        turn = max(self._served.values(), default=0) + 1
        # Who has nothing to be read has no turn to be remembered.
        waiting = self._book.waiting
        self._served = {one: last for one, last in self._served.items() if one in waiting}
        self._served[key[1]] = turn
        task = self._running[key] = asyncio.create_task(self._work(key))
        task.add_done_callback(ended)

    def _forget(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._reasons.pop(key, None)

    def _pick(self) -> Key | None:
        now = self._now()
        if self._away_until is not None and (now < self._away_until or self._running):
            return None
        waiting = self._book.waiting
        for tenant in sorted(waiting, key=lambda one: self._served.get(one, 0)):
            blocked = self._blocked.get(tenant)
            if blocked is not None and now < blocked:
                continue
            for key, job in waiting[tenant].items():
                due = job.not_before is None or job.not_before <= now
                known = job.last_lsn <= self._reached.get(key[0], -1)
                if due and known and key not in self._running:
                    return key
        return None

    async def _work(self, key: Key) -> None:
        try:
            await self._courtesy.turn()
            job = self._book.job(key)
            if job is not None:
                await self._do(key, job)
        except (NotOwnerError, FencedError):
            # Another owner has the partition now, and does it.
            return
        except MemosError as error:
            await self._failed(key, error)
        except Exception as error:
            _log.error("a job of extraction failed: %s", describe_defect(error))
            await self._failed(key, InternalError("a job failed", kind=type(error).__name__))

    async def _do(self, key: Key, job: Job) -> None:
        partition, book = key[0], self._book
        most = self._settings.items_max
        made = await book.replies(partition, job, [job.key(place) for place in range(most)])
        if made:
            # Stored before, and not counted: this shard, or another one, ended between the two.
            await self._done(key, job, read=len(job.ids), memories=made)
            return
        if job.attempts >= self._settings.attempts:
            raise InternalError("the job has ended with its process too often")
        turns = await self._sources.read(partition, job)
        read = sum(not turn.background for turn in turns)
        if not read:
            await self._done(key, job)
            return
        attempt = replace(job, attempts=job.attempts + 1, not_before=None)
        prompt = self._prompt(job, turns)
        begun = partial(book.put, partition, attempt)
        answer = await self._paid(job.tenant, prompt, begun)
        if answer is None:
            return
        checked = await asyncio.to_thread(check, answer.text, turns, most)
        if checked is None:
            raise InvalidInputError("the model's answer is not of the schema")
        stored = await self._store(partition, job, checked)
        refused = {one.value: count for one, count in checked.objections.items()}
        await self._done(key, job, read, stored, answer.tokens, refused)

    def _prompt(self, job: Job, turns: Sequence[SourceTurn]) -> ExtractionPrompt:
        """Asks for all that is to be read, with as much before it as there is room for."""
        salt = blake2b(f"extraction {job.tenant}".encode(), digest_size=16).hexdigest()
        tokens = self._settings.answer_tokens
        while True:
            prompt = prompt_of(uuid4().hex, turns, salt=salt, answer_tokens=tokens)
            if prompt.tokens - tokens <= self._settings.prompt_tokens:
                return prompt
            if not turns[0].background:
                raise PayloadTooLargeError("the memories are too long to be read together")
            turns = turns[1:]

    async def _paid(
        self,
        tenant: str,
        prompt: ExtractionPrompt,
        begun: Callable[[], Awaitable[None]] | None = None,
    ) -> ExtractionAnswer | None:
        """Asks within the budget; nothing when there is none left now.

        Args:
            begun: writes down that it is asked.
        """
        now = self._now()
        until = None if self._purse is None else await self._purse.take(tenant, prompt.tokens)
        if until is not None:
            self._blocked = {one: at for one, at in self._blocked.items() if now < at}
            self._blocked[tenant] = until
            self._counters["extraction_budget_waits"] += 1
            _log.info("extraction waits for a budget until %s", until.isoformat())
            return None
        # Before it is asked: what kills this process on the way is an attempt, and has its price.
        if begun is not None:
            await begun()
        self._counters["extraction_requests"] += 1
        try:
            answer = await self._asked(prompt)
        except OverloadedError:
            self._settle(tenant, prompt.tokens, now)
            raise
        self._settle(tenant, prompt.tokens - answer.tokens, now)
        self._counters["extraction_tokens"] += answer.tokens
        return answer

    def _settle(self, tenant: str, tokens: int, at: datetime) -> None:
        if self._purse is not None:
            self._purse.settle(tenant, tokens, at)

    async def _asked(self, prompt: ExtractionPrompt) -> ExtractionAnswer:
        try:
            answer = await self._extractor.extract(prompt)
        except PayloadTooLargeError as error:
            raise InvalidInputError(error.message) from None
        except DeadlineExceededError:
            raise
        except _OF_THE_MODEL as error:
            self._away_times += 1
            pause = timedelta(seconds=self._pause_s(self._away_times, error))
            self._away_until = self._now() + pause
            self._counters["extraction_model_away"] += 1
            _log.warning("the model that extracts is away: %s", error.code)
            raise
        self._away_until, self._away_times = None, 0
        return answer

    async def _store(self, partition: int, job: Job, checked: Checked) -> int:
        """Stores what is new of an answer, all or nothing; returns how much that is."""
        model = self._extractor.name
        writes = [
            write_of(taken, partition, job.namespace, model, job.key(place))
            for place, taken in enumerate(checked.taken)
        ]
        known = await self._book.known(partition, job.tenant, [w.operation.cube_id for w in writes])
        new = [write for write in writes if write.operation.cube_id not in known]
        if new:
            context = replace(job.context, hops=0)
            await self._store_all(partition, [Submission(context, write) for write in new])
        return len(new)

    async def _done(
        self,
        key: Key,
        job: Job,
        read: int = 0,
        memories: int = 0,
        tokens: int = 0,
        refused: dict[str, int] | None = None,
    ) -> None:
        counts = (read, memories, tokens, refused or {})
        done = Done(job.id, job.source, job.owner, *counts, self._now(), job.ids[-1])
        await self._book.done(key[0], job, done)
        self._forget(key)
        self._counters["extraction_done"] += 1
        self._counters["extraction_memories"] += memories
        self._counters["extraction_refused"] += sum(done.refused.values())
        _log.info(
            "extraction: %d memories read, %d made, %d refused",
            read,
            memories,
            sum(done.refused.values()),
        )

    async def _failed(self, key: Key, error: MemosError) -> None:
        job = self._book.job(key)
        if job is None:
            return
        times = self._failures[key] = self._failures.get(key, 0) + 1
        self._reasons[key] = error.code
        self._counters["extraction_failures"] += 1
        pause = self._pause_s(times, error)
        now = self._now()
        if isinstance(error, _FOR_GOOD):
            found = replace(job, parked=error.code)
        elif isinstance(error, OverloadedError):
            # No fault of the job's.
            later = now + timedelta(seconds=pause)
            found = replace(job, attempts=max(job.attempts - 1, 0), not_before=later)
        elif isinstance(error, VersionConflictError):
            found = retried(job, error.code, self._settings.attempts, 0.0, now)
        else:
            found = retried(job, error.code, self._settings.attempts, pause, now)
        if found.parked is not None:
            self._forget(key)
            self._counters["extraction_parked"] += 1
            _log.warning("extraction: a job is parked, %s, tries: %d", error.code, job.attempts)
        try:
            await self._book.put(key[0], found)
        except MemosError as failing:
            # It stays as it is at rest. Nothing more is asked while nothing can be written down.
            _log.warning("a job of extraction is not written: %s", failing.code)
            self._away_until = now + timedelta(seconds=pause)

    def _pause_s(self, times: int, error: MemosError) -> float:
        chosen = self._settings
        wished = error.details.get("retry_after_s")
        least = float(wished) if isinstance(wished, int | float) else 0.0
        return max(least, pause_s(times, chosen.retry_min_s, chosen.retry_max_s, random.random()))
