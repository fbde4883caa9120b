"""Trains a LoRA adapter: the same lessons and settings give the same, interrupted or not.

Several workers may share a training. Each has a copy of the adapter and takes its part of every
batch; their gradients are added up, so that all take the same step.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import AdapterOrigin, AdapterPayload
from memos_ray.core.teaching import (
    Knowledge,
    Lessons,
    TrainingSettings,
    digest_of,
)
from memos_ray.errors import DeadlineExceededError, InvalidInputError
from memos_ray.serving.teaching.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from memos_ray.serving.teaching.group import ALONE, Group
from memos_ray.serving.teaching.phrasings import phrasings_for
from memos_ray.serving.teaching.student import Example, Student, computing, of_like_length

_log = logging.getLogger(__name__)
_BETAS = (0.9, 0.98)
_WARMUP_SHARE = 0.05
_LAST_SHARE = 0.02
_CLIP = 1.0
# What becomes of a training after a step.
_GO_ON, _STOP, _LATE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: steps that are done.
        steps: how many there are.
        loss: of the last step.
        spent_s: how long it has been training, earlier runs included.
    """

    step: int
    steps: int
    loss: float
    spent_s: float


Watch = Callable[[Progress], bool]
"""Called after each step; tells whether to go on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter, and how it came to be."""

    payload: AdapterPayload
    losses: tuple[float, ...]
    train_s: float


def train(
    folder: Path,
    knowledge: Sequence[Knowledge],
    settings: TrainingSettings,
    *,
    checkpoints: Path | None = None,
    watch: Watch = lambda progress: True,
    group: Group = ALONE,
) -> Trained | None:
    """Teaches memories to a model; nothing when `watch` has stopped it.

    Args:
        folder: of the base model.
        checkpoints: a folder of this training alone; one that holds an earlier state of the same
            training goes on from there, and gives the same adapter as without the interruption.
        watch: of the first worker; what the others' say does not count.
        group: the workers that share the training; all of them call this with the same arguments.

    Raises:
        InvalidInputError: there is nothing to teach, or nothing short enough, or the model has no
            such layers.
        DeadlineExceededError: it took too long; its checkpoint is there.
    """
    lessons = Lessons(knowledge, phrasings_for(folder), seed=settings.seed, mix=settings.mix)
    sources = tuple(dict.fromkeys(one.source for one in knowledge))
    with computing(settings.threads):
        training = _Training(Student(folder, settings.device), lessons, settings, group)
        training.restore(checkpoints, f"{settings.recipe}/{digest_of(knowledge)}")
        if not training.run(watch):
            return None
        return training.result(sources)


class _Training:
    """One worker's part of a training."""

    def __init__(
        self, student: Student, lessons: Lessons, settings: TrainingSettings, group: Group
    ) -> None:
        self._student = student
        self._lessons = lessons
        self._settings = settings
        self._group = group
        self._steps = max(settings.steps_min, lessons.batches(settings.passes))
        student.learn(settings.rank, settings.alpha, settings.targets, settings.seed)
        self._parameters = student.parameters
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=settings.learning_rate, betas=_BETAS, weight_decay=0.0
        )
        self._losses: list[float] = []
        self._spent_s = 0.0
        self._checkpoints: Path | None = None
        self._name = ""

    def restore(self, checkpoints: Path | None, name: str) -> None:
        """Takes up what the first worker's folder holds of the same training, if anything."""
        self._name = f"{name}/{self._student.base}"
        found = None
        if self._group.rank == 0 and checkpoints is not None:
            self._checkpoints = checkpoints
            found = read_checkpoint(checkpoints, self._name)
        # Not all of them may see the folder.
        done = int(self._group.total(len(found.losses) if found else 0))
        if not done:
            return
        if found is not None:
            self._losses, self._spent_s = list(found.losses), found.spent_s
        losses = torch.zeros(done, dtype=torch.float64, device=self._student.device)
        losses[: len(self._losses)] = torch.tensor(self._losses, dtype=torch.float64)
        self._group.spread([losses])
        self._losses = losses.tolist()
        for name, parameter in self._parameters.items():
            self._resume(name, parameter, found, done)
        _log.info("training goes on after step %d of %d", done, self._steps)

    def run(self, watch: Watch) -> bool:
        """Trains to the end; tells whether it got there."""
        settings = self._settings
        while len(self._losses) < self._steps:
            started = time.monotonic()
            self._losses.append(self._step(len(self._losses)))
            self._spent_s += time.monotonic() - started
            step = len(self._losses)
            go_on = watch(Progress(step, self._steps, self._losses[-1], self._spent_s))
            late = self._spent_s > settings.time_limit_s and step < self._steps
            # By the clock of the first: the others would wait for one that has stopped.
            verdict = _LATE if late else _GO_ON if go_on else _STOP
            verdict = int(self._group.total(verdict if self._group.rank == 0 else _GO_ON))
            if step % settings.checkpoint_steps == 0 or verdict:
                self._save()
            if verdict == _LATE:
                raise DeadlineExceededError(
                    "the training took too long", limit_s=settings.time_limit_s, step=step
                )
            if verdict == _STOP and step < self._steps:
                return False
        return True

    def result(self, sources: tuple[SourceVersion, ...]) -> Trained:
        """Returns the adapter."""
        settings = self._settings
        payload = AdapterPayload.seal(
            self._student.packed(),
            base=self._student.base,
            rank=settings.rank,
            alpha=settings.alpha,
            origin=AdapterOrigin(sources, settings.recipe, settings.seed),
        )
        return Trained(payload, tuple(self._losses), self._spent_s)

    def _resume(
        self, name: str, parameter: torch.Tensor, found: Checkpoint | None, done: int
    ) -> None:
        first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
        with torch.no_grad():
            if found is not None:
                parameter.copy_(found.weights[name])
                first.copy_(found.first[name])
                second.copy_(found.second[name])
            self._group.spread([parameter.data, first, second])
        self._optimizer.state[parameter] = {
            "step": torch.tensor(float(done)),
            "exp_avg": first,
            "exp_avg_sq": second,
        }

    def _step(self, step: int) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(step)
        examples = self._examples(step)
        total = self._group.total(sum(len(one.answer) for one in examples))
        if not total:
            raise InvalidInputError(
                "all lessons are too long", prompt_tokens=self._settings.prompt_tokens
            )
        loss = 0.0
        self._optimizer.zero_grad()
        lengths = [len(one.prompt) + len(one.answer) for one in examples]
        for places in of_like_length(lengths):
            lost, _ = self._student.losses([examples[place] for place in places])
            (lost / total).backward()
            loss += lost.item() / total
        self._group.add([_gradient(each) for each in self._parameters.values()])
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), _CLIP)
        self._optimizer.step()
        return self._group.total(loss)

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1.0, _WARMUP_SHARE * self._steps))
        falling = (1 + math.cos(math.pi * step / self._steps)) / 2
        return self._settings.learning_rate * warm * (_LAST_SHARE + (1 - _LAST_SHARE) * falling)

    def _examples(self, step: int) -> list[Example]:
        """Returns this worker's part of a batch."""
        longest = self._settings.prompt_tokens
        mine = slice(self._group.rank, None, self._group.size)
        found = [self._student.example(one) for one in self._lessons.teaching(step)[mine]]
        prompts = [self._student.prompt(one.messages) for one in self._lessons.keeping(step)[mine]]
        prompts = [one for one in prompts if len(one) <= longest]
        with self._student.as_base():
            answers = self._student.answers(prompts, self._settings.answer_tokens)
        found += [Example(*each) for each in zip(prompts, answers, strict=True)]
        return [one for one in found if len(one.prompt) + len(one.answer) <= longest]

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        states: dict[str, Any] = {
            name: self._optimizer.state[each] for name, each in self._parameters.items()
        }
        write_checkpoint(
            self._checkpoints,
            Checkpoint(
                self._name,
                tuple(self._losses),
                self._spent_s,
                {name: each.detach() for name, each in self._parameters.items()},
                {name: state["exp_avg"] for name, state in states.items()},
                {name: state["exp_avg_sq"] for name, state in states.items()},
            ),
        )


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    """Returns the gradient of a parameter: nothing for a worker without any example."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
