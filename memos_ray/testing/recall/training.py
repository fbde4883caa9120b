"""Trains the recall model, on one core.

    OMP_WAIT_POLICY=PASSIVE python -m memos_ray.testing.recall.training --out FOLDER --minutes 30

Everything follows from the seed and the number of steps. A run of so many minutes ends with a
number of steps; `--steps` with that number and the same seed repeats it.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from memos_ray.testing.recall.architecture import new_model
from memos_ray.testing.recall.curriculum import Curriculum, Sample
from memos_ray.testing.recall.phrasings import save_phrasings
from memos_ray.testing.recall.tokenizer import END, build_tokenizer, save_tokenizer, vocabulary

_log = logging.getLogger(__name__)

_LEARNING_RATE = 2e-3
_WARMUP_STEPS = 100
_DECAY_FROM = 3, 5
_POOL = 256
_BATCH_TOKENS = 6000
_MOST_SAMPLES = 128
_IGNORED = -100
_REPORT_S = 30.0
_SAVE_S = 180.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one kind: token ids, and the ids to predict at graded places (`[batch, time]`)."""

    kind: str
    hard: bool
    inputs: torch.Tensor
    targets: torch.Tensor


@dataclass(slots=True)
class Schedule:
    """A learning rate that rises, stays, and falls to nothing over the last two fifths.

    Until `steps` is known (a run that is limited by time), it stays.
    """

    steps: int | None

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        rate = _LEARNING_RATE * min(1.0, (step + 1) / _WARMUP_STEPS)
        if self.steps is None:
            return rate
        start = self.steps * _DECAY_FROM[0] // _DECAY_FROM[1]
        through = (step - start) / (self.steps - start)
        return rate * (0.02 + 0.98 * (1 + math.cos(math.pi * max(0.0, through))) / 2)

    def settle(self, step: int) -> None:
        """Fixes the number of steps such that the fall begins with this one."""
        self.steps = step * _DECAY_FROM[1] // _DECAY_FROM[0]


class Training:
    """One run: a model, its optimiser and its curriculum."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = new_model()
        self.curriculum = Curriculum(random.Random(seed))
        self._tokenizer = build_tokenizer()
        self._end = vocabulary()[END]
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, weights in self.model.named_parameters():
            plain = weights.dim() > 1 and "embed" not in name
            (matrices if plain else others).append(weights)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": 0.05},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=_LEARNING_RATE,
            betas=(0.9, 0.98),
        )

    def batches(self) -> Iterator[Batch]:
        """Yields batches without end; samples of about one length come together."""
        while True:
            groups = defaultdict(list)
            for sample in self.curriculum.draw(_POOL):
                groups[sample.kind, sample.hard].append(sample)
            ready: list[Batch] = []
            for (kind, hard), samples in groups.items():
                ready += self._packed(kind, hard, samples)
            self.curriculum.rng.shuffle(ready)
            yield from ready

    def step(self, batch: Batch, rate: float) -> float:
        """Learns from a batch, and returns the loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        hidden = self.model.model(batch.inputs).last_hidden_state[:, :-1]
        targets = batch.targets[:, 1:]
        graded = targets != _IGNORED
        logits, wanted = self.model.lm_head(hidden[graded]), targets[graded]
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        values = wanted != self._end
        accuracy = (logits.argmax(-1) == wanted)[values].float().mean().item()
        self.curriculum.record(batch.kind, accuracy, batch.hard)
        return float(loss.item())

    def save(self, folder: Path) -> None:
        """Writes the model, its tokenizer and its phrasings."""
        self.model.save_pretrained(folder)
        save_tokenizer(folder)
        save_phrasings(folder)

    def _packed(self, kind: str, hard: bool, samples: Sequence[Sample]) -> Iterator[Batch]:
        encoded = sorted(
            (self._encoded(sample) for sample in samples), key=lambda each: len(each[0])
        )
        start = 0
        while start < len(encoded):
            end = start + 1
            while (
                end < min(len(encoded), start + _MOST_SAMPLES)
                and (end - start + 1) * len(encoded[end][0]) <= _BATCH_TOKENS
            ):
                end += 1
            yield _padded(kind, hard, encoded[start:end])
            start = end

    def _encoded(self, sample: Sample) -> tuple[list[int], list[int]]:
        encode = self._tokenizer.backend_tokenizer.encode_batch_fast
        ids: list[int] = []
        targets: list[int] = []
        encodings = encode([text for text, _ in sample.parts], add_special_tokens=False)
        for encoding, (_, graded) in zip(encodings, sample.parts, strict=True):
            ids += encoding.ids
            targets += encoding.ids if graded else [_IGNORED] * len(encoding.ids)
        return ids, targets


def train(folder: Path, seed: int, minutes: float, steps: int | None) -> int:
    """Trains a model for some steps or, when these are not given, some minutes of computing.

    Returns:
        The number of steps.
    """
    training = Training(seed)
    schedule = Schedule(steps)
    constant_s = time.process_time() + 60 * minutes * _DECAY_FROM[0] / _DECAY_FROM[1]
    started = reported = saved = time.process_time()
    smooth = 0.0
    for step, batch in enumerate(training.batches()):
        now = time.process_time()
        if schedule.steps is None and now > constant_s and step % _DECAY_FROM[0] == 0:
            schedule.settle(step)
        if step == schedule.steps:
            break
        loss = training.step(batch, schedule.rate(step))
        smooth += (loss - smooth) * (0.03 if step else 1.0)
        if now - reported > _REPORT_S:
            reported = now
            marks = {kind: round(value, 3) for kind, value in training.curriculum.accuracy.items()}
            level = training.curriculum.level
            _log.info(
                "%.0f s, step %d, loss %.3f, %s, %s", now - started, step, smooth, level, marks
            )
        if now - saved > _SAVE_S:
            saved = now
            training.save(folder)
    training.save(folder)
    _log.info("%d steps in %.1f minutes", step, (time.process_time() - started) / 60)
    return step


def _padded(kind: str, hard: bool, encoded: Sequence[tuple[list[int], list[int]]]) -> Batch:
    longest = max(len(ids) for ids, _ in encoded)
    inputs = torch.zeros(len(encoded), longest, dtype=torch.long)
    targets = torch.full_like(inputs, _IGNORED)
    for row, (ids, wanted) in enumerate(encoded):
        inputs[row, : len(ids)] = torch.tensor(ids)
        targets[row, : len(ids)] = torch.tensor(wanted)
    return Batch(kind, hard, inputs, targets)


def main() -> None:
    """Runs the training that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, help="so many instead of some minutes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    train(options.out, options.seed, options.minutes, options.steps)


if __name__ == "__main__":
    main()
