"""Engines, each in a process of its own, started once for a module."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_ray.config import DType, ModelSettings
from memos_ray.testing.engine_process import EngineProcess
from memos_ray.testing.random_models import Family, write_model

pytest.importorskip("vllm")


def settings_of(folder: Path, **changes: object) -> ModelSettings:
    """Small settings, in float32: outputs can be compared token by token."""
    values: dict[str, object] = {
        "name": folder.name,
        "path": folder,
        "dtype": DType.FLOAT32,
        "context_tokens": 2048,
        "kv_bytes": 64 << 20,
        "batch_tokens": 256,
        **changes,
    }
    return ModelSettings.model_validate(values)


def prompt(length: int, seed: int) -> tuple[int, ...]:
    """Returns tokens that mean nothing."""
    chosen = random.Random(seed)
    return tuple(chosen.randrange(3, 250) for _ in range(length))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "qwen3", Family.QWEN3)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EngineProcess]:
    with EngineProcess(settings_of(folder)) as engine:
        yield engine
