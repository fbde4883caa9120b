"""Has a model put summaries into better words, behind their acceptance.

    wanted, written down ─▶ accepted ─▶ attempt written ─▶ asked ─▶ reworded ─▶ noted ─▶ row gone
              │                │               │ counts        │          │ the version's reason
              ▼                ▼               ▼               ▼          ▼ tells that it is done
       nothing to reword    asked by the next owner, at its next look for evolution

Until then, and where nothing can be taken of the answer, a summary is in the memories' own words.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import blake2b
from uuid import uuid4

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.evolution.book import EvolutionBook
from memos_ray.actors.extraction.asking import Asking
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.defects import describe_defect
from memos_ray.core.evolution import EvolutionKind, Evolved, EvolvedState
from memos_ray.core.extraction.summaries import ANSWER_TOKENS, summary_of, summary_prompt
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError, VersionConflictError
from memos_ray.ports import ClockPort, RecordStorePort

REASON = "evolution: summary in a model's words"
_log = logging.getLogger(__name__)

WritingAll = Callable[[int, Sequence[Submission]], Awaitable[list[Written]]]


class Wording:
    """Rewords accepted summaries, one at a time, with the rights of who owns them.

    A model is given the memories of one summary, which have one owner and one access, and nothing
    else. A summary that its owner has edited, or undone, is left alone.

    Concurrency: runs on the actor's event loop; one summary at a time.
    """

    def __init__(
        self,
        asking: Asking | None,
        *,
        book: EvolutionBook,
        store: RecordStorePort,
        reader: RecordReader,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        executor: Executor,
        write_all: WritingAll,
        courtesy: Courtesy,
        counters: Counter[str],
    ) -> None:
        self._asking = asking
        self._book = book
        self._store = store
        self._reader = reader
        self._guard = guard
        self._usage = usage
        self._clock = clock
        self._executor = executor
        self._write_all = write_all
        self._courtesy = courtesy
        self._counters = counters
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def want(self, place: Place, proposal: Evolved) -> None:
        """Writes down that a summary is to be reworded, before it is made."""
        if self._asking is not None and proposal.kind is EvolutionKind.SUMMARY:
            await self._book.want_words(place, proposal.id, 0)

    def begin(self, place: Place, id: str) -> None:
        """Rewords a summary that was accepted, behind the answer."""
        if self._asking is not None:
            task = asyncio.create_task(self._try(self._asking, place, id, 0))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def resume(self, partition: int) -> None:
        """Goes on with what was cut off, or could not be asked."""
        if self._asking is not None:
            for place, id, attempts in await self._book.wanted_words(partition):
                await self._try(self._asking, place, id, attempts)

    async def close(self) -> None:
        """Leaves what is under way to the next owner."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _try(self, asking: Asking, place: Place, id: str, attempts: int) -> None:
        try:
            async with self._turn:
                await self._courtesy.turn()
                if await self._reword(asking, place, id, attempts):
                    await self._book.need_no_words(place, id)
        except MemosError as error:
            # It is tried again with the next look.
            self._counters["evolution_wording_failed"] += 1
            _log.info("a summary is not yet in a model's words: %s", error.code)
        except Exception as error:
            self._counters["evolution_wording_failed"] += 1
            _log.error("a summary was not put into other words: %s", describe_defect(error))

    async def _reword(self, asking: Asking, place: Place, id: str, attempts: int) -> bool:
        """Rewords a summary; tells whether that is over, whatever has come of it."""
        proposal = await self._book.one(place, id)
        if proposal is None or proposal.state is not EvolvedState.ACCEPTED:
            return True
        ((made, version),) = proposal.made
        key = CubeKey(place.tenant, made)
        loop = asyncio.get_running_loop()
        heads = await loop.run_in_executor(
            self._executor, self._store.heads, place.partition, [key]
        )
        head = heads.get(key)
        if head is None or head.version.number != version:
            if head is not None and head.version.reason == REASON:
                # It was done, and not noted.
                await self._noted(place, proposal, head.version.number)
            return True
        policy = await self._guard.ensure(place.tenant)
        acting = policy.acting(head.governance.owner, place.namespace)
        context = replace(acting, application="evolution").aside()
        sources = await self._sources(place, context, proposal)
        if sources is None:
            return True
        if attempts >= asking.attempts:
            self._counters["evolution_wording_refused"] += 1
            return True
        salt = blake2b(f"summary {place.tenant}".encode(), digest_size=16).hexdigest()
        prompt = summary_prompt(uuid4().hex, sources, salt)
        if prompt.tokens - ANSWER_TOKENS > asking.prompt_tokens:
            return True
        # Before it is asked: what kills this process on the way is an attempt.
        await self._book.want_words(place, id, attempts + 1)
        self._usage.read(
            *(place.partition, context, "summarise", place.namespace, sources, self._clock.now()),
            detail={"model": asking.model},
        )
        answer = await asking.ask(place.tenant, prompt)
        if answer is None:
            # No fault of the summary's: the budget, or the model, is away.
            await self._book.want_words(place, id, attempts)
            return False
        text = await asyncio.to_thread(summary_of, answer.text, sources)
        if text is None:
            self._counters["evolution_wording_refused"] += 1
            _log.info("evolution: the words of %s for %s are not taken", asking.model, id)
            return True
        await self._rewrite(asking, place, context, proposal, text)
        return True

    async def _sources(
        self, place: Place, context: CallContext, proposal: Evolved
    ) -> list[MemCube] | None:
        """Returns what is summed up; nothing when its owner may not read all of it any more."""
        ids = [id for id, _ in proposal.sources]
        found = await self._reader.peek(place.partition, context, ids)
        cubes = [one for one in found if one is not None and isinstance(one.payload, Plaintext)]
        return cubes if len(cubes) == len(ids) else None

    async def _rewrite(
        self, asking: Asking, place: Place, context: CallContext, proposal: Evolved, text: str
    ) -> None:
        ((made, version),) = proposal.made
        update = Update(
            made,
            UpdateMode.MERGE,
            text=text,
            attributes={"written_by": asking.model},
            expected=version,
        )
        write = Write(place.namespace, update, reason=REASON)
        try:
            (written,) = await self._write_all(place.partition, [Submission(context, write)])
        except VersionConflictError:
            # Somebody has edited it meanwhile.
            return
        await self._noted(place, proposal, written.version)
        self._counters["evolution_reworded"] += 1
        _log.info("evolution: summary %s is in the words of %s", proposal.id, asking.model)

    async def _noted(self, place: Place, proposal: Evolved, version: int) -> None:
        ((made, _),) = proposal.made
        await self._book.put(place, replace(proposal, made=((made, version),)))
