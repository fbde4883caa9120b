"""Engines, each in a process of its own, started as seldom as tests allow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from memos_ray.config import DType, ModelSettings
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.engine_process import EngineProcess
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.random_models import Family, write_model
from tests.optional import need

need("vllm")


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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "qwen3", Family.QWEN3)


def vllm(folder: Path, **changes: object) -> EngineProcess:
    """Returns a vLLM engine that is still to be started."""
    return EngineProcess(partial(VllmEngine, settings_of(folder, **changes)))


@pytest.fixture(scope="session")
def plain_vllm(folder: Path) -> Iterator[EngineProcess]:
    """One that all modules share which need nothing special of it."""
    with vllm(folder) as engine:
        yield engine


@pytest.fixture(scope="module", params=["fake", "vllm"])
def engine(request: pytest.FixtureRequest) -> Iterator[EngineProcess]:
    if request.param == "vllm":
        yield request.getfixturevalue("plain_vllm")
        return
    with EngineProcess(HashingEngine) as fake:
        yield fake
