"""A trainer that learns nothing, for tests of everything around one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from memos_ray.core.parameter import AdapterLimits, AdapterPayload, check
from memos_ray.core.parameter.peft_format import from_peft
from memos_ray.core.teaching import BUILT_IN, ProbedStatement, probes, stated
from memos_ray.errors import MemosError
from memos_ray.ports import (
    AdapterRoom,
    ForeignAdapter,
    ProbingSpec,
    Trained,
    TrainingProgress,
    TrainingSpec,
    Wordings,
)
from memos_ray.testing.engines import HASHING_SHAPES
from memos_ray.testing.random_adapters import random_adapter


@dataclass(slots=True)
class RandomTrainer:
    """Makes random adapters for `HashingEngine`s, the same for the same memories.

    One that was made elsewhere is taken as it is, if it fits. Implements `TrainerPort`.

    Attributes:
        go_on: a lesson ends when this is set.
        accepted: what its gate says.
        fail: raised instead of an adapter.
        lessons: all that it was given.
        room: what its model takes.
        answers: what its models say to a question, with an adapter and without.
        asked: all that it was to ask.
        forgotten: the lessons that nobody goes on with.
        words: makes the further question of a memory, one for each.
    """

    base: str = "hashing"
    model: str = "hashing"
    accepted: bool = True
    fail: MemosError | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    lessons: list[TrainingSpec] = field(default_factory=list)
    room: AdapterRoom = field(default_factory=lambda: AdapterRoom(16, 1 << 20))
    answers: Callable[[str], tuple[str, str]] = lambda question: ("", "")
    asked: list[ProbingSpec] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    words: Callable[[str], str] | None = None

    @property
    def models(self) -> Mapping[str, AdapterRoom]:
        """See `TrainerPort`."""
        return {self.model: self.room}

    async def word(self, spec: TrainingSpec) -> Wordings | None:
        """See `TrainerPort`."""
        if self.words is None:
            return None
        questions = {one.source: (self.words(one.text),) for one in spec.knowledge}
        return Wordings(questions, "By hand.")

    async def train(
        self, spec: TrainingSpec, progress: Callable[[TrainingProgress], None]
    ) -> Trained:
        """See `TrainerPort`."""
        self.lessons.append(spec)
        progress(TrainingProgress(0.5, loss=1.0))
        await self.go_on.wait()
        if self.fail is not None:
            raise self.fail
        payload = self._made(spec)
        return Trained(
            payload.manifest, payload, self.accepted, "# Report\n", {"heldout_recall": 1.0}
        )

    async def forget(self, lesson_id: str) -> None:
        """See `TrainerPort`."""
        self.forgotten.append(lesson_id)

    async def probe(self, spec: ProbingSpec) -> tuple[ProbedStatement, ...]:
        """See `TrainerPort`; asks with the built-in phrasings."""
        self.asked.append(spec)
        await self.go_on.wait()
        if self.fail is not None:
            raise self.fail
        found = []
        for one in probes(spec.knowledge, BUILT_IN):
            said = [self.answers(question) for question in one.questions]
            found.append(stated(one, [own for own, _ in said], [base for _, base in said]))
        return tuple(each for each in found if each is not None)

    def _made(self, spec: TrainingSpec) -> AdapterPayload:
        if isinstance(spec.made_of, ForeignAdapter):
            tensors: Any = spec.made_of.references[0]
            payload = from_peft(spec.made_of.config, tensors, base=self.base)
            room = self.room
            check(payload, AdapterLimits(self.base, HASHING_SHAPES, room.rank_max, room.bytes_max))
            return payload
        text = "\n".join(one.text for one in spec.knowledge)
        if spec.made_of is not None:
            text += spec.made_of.plan.recipe
        seed = int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")
        return random_adapter(self.base, HASHING_SHAPES, seed=seed)
