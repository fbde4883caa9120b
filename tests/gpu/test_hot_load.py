"""Adapters in an engine on a GPU: loaded from memory, exchanged, and never taken for each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from memos_ray.serving.model_files import layer_shapes, weights_digest  # noqa: E402
from memos_ray.testing.engine_process import Asked, EngineProcess  # noqa: E402
from memos_ray.testing.random_models import Family, write_model  # noqa: E402
from tests.optional import need  # noqa: E402
from tests.serving.adapting import Base, with_adapter  # noqa: E402
from tests.serving.asking import QUESTION  # noqa: E402
from tests.serving.conftest import vllm  # noqa: E402

need("vllm")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "qwen3", Family.QWEN3)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EngineProcess]:
    with vllm(folder, adapter_slots=2) as engine:
        yield engine


def test_each_answers_as_itself_however_often_it_is_exchanged(
    engine: EngineProcess, folder: Path
) -> None:
    base = Base(weights_digest(folder), layer_shapes(folder))
    adapters = [None, *(base.adapter(seed) for seed in range(4))]
    asked = [Asked(with_adapter(QUESTION, one), adapter=one) for one in adapters]
    alone = [engine.ask([one])[0].tokens for one in asked]
    assert len(set(alone)) == len(alone), "each is another model"
    # Two slots for four of them: each is loaded again.
    for one, wanted in zip(reversed(asked), reversed(alone), strict=True):
        assert engine.ask([one])[0].tokens == wanted
