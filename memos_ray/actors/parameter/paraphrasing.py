"""A trainer whose lessons have further wordings, written by a model."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from uuid import uuid4

from memos_ray.core.activation import SourceVersion
from memos_ray.core.defects import describe_defect
from memos_ray.core.generation import ChatRequest, Sampling
from memos_ray.core.teaching import (
    Item,
    Objection,
    PhrasingSet,
    ProbedStatement,
    items,
    questions_of,
    reworded,
    rewording_prompt,
)
from memos_ray.errors import MemosError
from memos_ray.ports import (
    AdapterRoom,
    ModelPort,
    ProbingSpec,
    Trained,
    TrainerPort,
    TrainingProgress,
    TrainingSpec,
    Wordings,
)

_AT_ONCE = 4
_FAILURES_MOST = 3
_TOKENS_EACH = 48
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Paraphrasing:
    """Who writes wordings, and how many.

    Attributes:
        name: of the model.
        phrasings: how a model that is taught is asked, by its name.
        seed: of trainings: what is held out follows from it.
        most: wordings of each memory, at most.
        limit_s: longest time for all of a lesson.
    """

    name: str
    model: ModelPort
    phrasings: Callable[[str], Sequence[PhrasingSet]]
    seed: int
    most: int
    limit_s: float


@dataclass(slots=True)
class _Written:
    """What became of the wordings of a lesson.

    Attributes:
        failures: codes of errors.
        late: whether there was not time for all.
    """

    memories: int
    wordings: dict[SourceVersion, tuple[str, ...]] = field(default_factory=dict)
    objections: Counter[Objection] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    late: bool = False

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.wordings.values()))


class ParaphrasingTrainer:
    """Has wordings written for a lesson, and the trainer do the rest. Implements `TrainerPort`.

    Whatever the model does, the lesson goes on: with the wordings of the templates alone, if need
    be. The report says what was written and why not all of it was taken. The model sees the text of
    the memories; no prefix cache of its replicas is shared with anything else.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(self, trainer: TrainerPort, how: Paraphrasing) -> None:
        self._trainer = trainer
        self._how = how

    @property
    def models(self) -> Mapping[str, AdapterRoom]:
        """See `TrainerPort`."""
        return self._trainer.models

    async def word(self, spec: TrainingSpec) -> Wordings | None:
        """See `TrainerPort`."""
        if spec.made_of is not None:
            return None
        written = await self._write(spec)
        return Wordings(written.wordings, _said(self._how.name, written))

    async def train(
        self, spec: TrainingSpec, progress: Callable[[TrainingProgress], None]
    ) -> Trained:
        """See `TrainerPort`."""
        wordings = spec.wordings
        if wordings is None:
            return await self._trainer.train(spec, progress)
        knowledge = tuple(
            replace(one, wordings=wordings.questions.get(one.source, ())) for one in spec.knowledge
        )
        spec = replace(spec, knowledge=knowledge, wordings=None)
        trained = await self._trainer.train(spec, progress)
        count = sum(len(one.wordings) for one in knowledge)
        return replace(
            trained,
            report=f"{trained.report}\n{wordings.said}\n",
            figures={**trained.figures, "wordings": float(count)},
        )

    async def forget(self, lesson_id: str) -> None:
        """See `TrainerPort`."""
        await self._trainer.forget(lesson_id)

    async def probe(self, spec: ProbingSpec) -> tuple[ProbedStatement, ...]:
        """See `TrainerPort`."""
        return await self._trainer.probe(spec)

    async def _write(self, spec: TrainingSpec) -> _Written:
        try:
            known = await asyncio.to_thread(self._how.phrasings, spec.model)
        except MemosError as error:
            # Whoever trains says so, too.
            return _Written(0, failures=[error.code])
        there = items(spec.knowledge, known, self._how.seed)
        written, taken = _Written(len(there)), questions_of(there)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def write(item: Item) -> None:
            async with turns:
                if len(written.failures) < _FAILURES_MOST:
                    await self._of(item, spec.id, written, taken)

        tasks = [asyncio.create_task(write(item)) for item in there if item.shown]
        try:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=self._how.limit_s)
                written.late = bool(late)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return written

    async def _of(self, item: Item, lesson: str, written: _Written, taken: set[str]) -> None:
        try:
            said = await self._ask(item, lesson)
        except MemosError as error:
            written.failures.append(error.code)
            _log.warning("no wordings were written: %s", error.code)
            return
        except Exception as error:
            written.failures.append("internal")
            _log.warning("no wordings were written: %s", describe_defect(error))
            return
        found = reworded(item, said, self._how.most, taken)
        written.objections += found.objections
        if found.wordings:
            written.wordings[item.of.source] = found.wordings

    async def _ask(self, item: Item, lesson: str) -> str:
        how = self._how
        request = ChatRequest(
            id=uuid4().hex,
            messages=rewording_prompt(item, how.most),
            # So that the same is written again, as far as that is up to us.
            sampling=Sampling(max_tokens=_TOKENS_EACH * how.most, temperature=0.0, seed=how.seed),
            salt=blake2b(f"lesson {lesson}".encode(), digest_size=16).hexdigest(),
        )
        text = ""
        async with aclosing(how.model.chat(request)) as parts:
            async for part in parts:
                text += part.text
        return text


def _said(name: str, written: _Written) -> str:
    """Returns what the report says of the wordings."""
    if not written.count:
        text = f"No wordings by `{name}`: the lesson has those of the templates."
    else:
        text = (
            f"{written.count} wordings by `{name}`, of {len(written.wordings)} of "
            f"{written.memories} things to learn, beside those of the templates."
        )
    refused = written.objections.total()
    if refused:
        why = ", ".join(f"{count} {one.value}" for one, count in sorted(written.objections.items()))
        text += f" Not taken: {refused} ({why})."
    if written.failures:
        text += f" Failed: {len(written.failures)} ({', '.join(sorted(set(written.failures)))})."
    return f"{text} There was not time for all." if written.late else text
