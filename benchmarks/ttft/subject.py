"""The model that is measured, and what it is asked."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

from memos_ray.config import DType, ModelSettings
from memos_ray.core.generation import GenerationRequest, Sampling
from memos_ray.testing.random_models import HUNDRED_MILLION, Family, Size, write_model

SALT = "bench"
WARMING_TOKENS = (64, 300)
"""Prompts that come first: they pay for memory and code that later ones find ready."""
_ANSWER_TOKENS = 8
_SPARE_TOKENS = 64


class Scale(StrEnum):
    """How large the model is: the one that figures are about, or one to try the benchmark with."""

    HUNDRED_MILLION = "100m"
    TINY = "tiny"


_SIZES = {Scale.HUNDRED_MILLION: HUNDRED_MILLION, Scale.TINY: Size()}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model on disk."""

    folder: Path
    scale: Scale
    dtype: DType

    @classmethod
    def write(cls, folder: Path, scale: Scale, dtype: DType) -> Subject:
        """Makes the model."""
        return cls(write_model(folder, Family.QWEN3, _SIZES[scale]), scale, dtype)

    def settings(self, longest_prompt: int, **more: Any) -> ModelSettings:
        """Returns the settings of an engine that computes such a prompt in one step."""
        longest_prompt = max(longest_prompt, *WARMING_TOKENS)
        values = {
            "name": "bench",
            "path": self.folder,
            "dtype": self.dtype,
            "context_tokens": longest_prompt + _SPARE_TOKENS,
            "kv_bytes": 1 << 30,
            "shelf_bytes": 1 << 30,
            "batch_tokens": longest_prompt,
            "sequences": 8,
        }
        return ModelSettings.model_validate(values | more)

    def kv_bytes(self, length: int) -> int:
        """Returns the size of the KV cache of so many tokens."""
        size, element = _SIZES[self.scale], 4 if self.dtype is DType.FLOAT32 else 2
        return 2 * size.layers * size.kv_heads * (size.hidden // size.heads) * element * length

    def description(self) -> dict[str, object]:
        """Says what the model is."""
        # float32 on disk, four bytes a weight.
        weights = sum(file.stat().st_size for file in self.folder.glob("*.safetensors")) // 4
        return {
            "family": Family.QWEN3.value,
            "weights": f"{weights / 1e6:.3g} million, random",
            "dtype": self.dtype.value,
            **asdict(_SIZES[self.scale]),
        }


def tokens(length: int, seed: int) -> tuple[int, ...]:
    """Returns tokens that mean nothing."""
    chosen = random.Random(seed)
    return tuple(chosen.randrange(3, 250) for _ in range(length))


def context(length: int) -> tuple[int, ...]:
    """Returns the context of a length; a longer one begins with the shorter ones."""
    return tokens(length, 1)


def question(length: int, number: int = 0) -> tuple[int, ...]:
    """Returns one of many questions of a length."""
    return tokens(length, 1000 + number)


def greedy(prompt: tuple[int, ...], adapter: str = "") -> GenerationRequest:
    """Asks for a few tokens of an answer."""
    sampling = Sampling(max_tokens=_ANSWER_TOKENS, temperature=0.0, ignore_eos=True)
    return GenerationRequest(uuid4().hex, prompt, sampling, SALT, adapter)


def say(text: str) -> None:
    """Reports progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def announced(section: str) -> Iterator[None]:
    """Says when a section begins and ends."""
    say(f"{section}: begins")
    yield
    say(f"{section}: done")
