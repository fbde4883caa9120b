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
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from uuid import uuid4

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.extraction.book import ExtractionBook, Key
from memos_ray.actors.extraction.paid_model import PaidModel
from memos_ray.actors.extraction.sources import ExtractionSources
from memos_ray.config import ExtractionSettings
from memos_ray.core.defects import describe_defect
from memos_ray.core.extraction import (
    Checked,
    Done,
    ExtractionPrompt,
    Job,
    SourceTurn,
    check,
    prompt_of,
    retried,
    write_of,
)
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FencedError,
    InternalError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    NotOwnerError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    VersionConflictError,
)

Storing = Callable[[int, Sequence[Submission]], Awaitable[list[Written]]]
"""Commits writes, all or none."""

_LOOK_S = 1.0
_FOR_GOOD = (NotFoundError, PermissionDeniedError, PayloadTooLargeError, QuotaExceededError)
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
        model: PaidModel,
        settings: ExtractionSettings,
        *,
        book: ExtractionBook,
        sources: ExtractionSources,
        store_all: Storing,
        courtesy: Courtesy,
        counters: Counter[str],
    ) -> None:
        self._model = model
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
        self._failures: dict[Key, int] = {}
        self._reasons: dict[Key, str] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """Who reads."""
        return self._model.name

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
        return self._model.waits(key[1]) or self._reasons.get(key, "")

    def wake(self) -> None:
        """Looks again what can be done."""
        self._news.set()

    async def close(self) -> None:
        """Stops; what was under way is done again by the next owner."""
        self._model.closing()
        tasks = [*self._running.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._model.close()

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
            if key[1] not in self._book.waiting:
                self._model.leave(key[1])

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
        if self._model.suspect and self._running:
            return None
        waiting = self._book.waiting
        for tenant in sorted(waiting, key=lambda one: self._served.get(one, 0)):
            if self._model.waits(tenant):
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
        answer = await self._model.ask(job.tenant, prompt, begun)
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

    async def _store(self, partition: int, job: Job, checked: Checked) -> int:
        """Stores what is new of an answer, all or nothing; returns how much that is."""
        model = self._model.name
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
        pause = self._model.pause_s(times, error)
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
            self._model.pause(pause)
