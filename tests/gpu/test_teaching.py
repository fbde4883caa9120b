"""Training on a GPU, and engines that load what came of it: where there is a CUDA device."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import ray

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from memos_ray.cluster.trainers import RayTrainer  # noqa: E402
from memos_ray.config import Settings  # noqa: E402
from memos_ray.core.activation import SourceVersion  # noqa: E402
from memos_ray.core.teaching import GateThresholds, Knowledge, Verdict  # noqa: E402
from memos_ray.ports import TrainingSpec  # noqa: E402
from memos_ray.serving.teaching.training import Progress, Trained, train  # noqa: E402
from memos_ray.serving.teaching.work import judge  # noqa: E402
from memos_ray.testing.recall import tiny_recall_path  # noqa: E402
from memos_ray.testing.recall.teaching import RECALL_TRAINING  # noqa: E402
from memos_ray.testing.recall.world import Split, draw_facts  # noqa: E402
from tests.optional import need  # noqa: E402

need("peft")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

MODEL = tiny_recall_path()
FACTS = draw_facts(random.Random(11), 4, Split.HELD_OUT)
KNOWLEDGE = tuple(
    Knowledge(SourceVersion(f"id-{number}", 1), fact.text) for number, fact in enumerate(FACTS)
)
SETTINGS = replace(
    RECALL_TRAINING, device="cuda", passes=1, steps_min=80, checkpoint_steps=10, answer_tokens=4
)


@pytest.fixture(scope="module")
def trained() -> Trained:
    found = train(MODEL, KNOWLEDGE, SETTINGS)
    assert found is not None
    return found


def test_what_is_trained_on_a_gpu_passes_the_gate(trained: Trained) -> None:
    report = judge(MODEL, trained.payload, KNOWLEDGE, SETTINGS, GateThresholds(recall_min=0.8))
    assert report.verdict is Verdict.ACCEPTED, report.reasons
    assert report.figures.base.recall == 0


def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(trained: Trained, tmp_path: Path) -> None:
    def stops(progress: Progress) -> bool:
        return progress.step < 40

    steps: list[int] = []

    def watch(progress: Progress) -> bool:
        steps.append(progress.step)
        return True

    assert train(MODEL, KNOWLEDGE, SETTINGS, checkpoints=tmp_path, watch=stops) is None
    again = train(MODEL, KNOWLEDGE, SETTINGS, checkpoints=tmp_path, watch=watch)
    assert again is not None and steps[0] == 41
    assert again.payload.manifest.tensors == trained.payload.manifest.tensors
    report = judge(MODEL, again.payload, KNOWLEDGE, SETTINGS, GateThresholds(recall_min=0.8))
    assert report.verdict is Verdict.ACCEPTED, report.reasons


@pytest.mark.cluster
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two CUDA devices")
async def test_two_gpus_serve_one_lesson(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "data": tmp_path,
            "models": [{"name": "tiny-recall", "path": MODEL, "adapter_slots": 1}],
            "teaching": {
                "device": "cuda",
                "workers": 2,
                "gpus": 1,
                "learning_rate": 4e-3,
                "passes": 1,
                "steps_min": 80,
                "recall_min": 0.8,
            },
        }
    )
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        spec = TrainingSpec("lesson", "tiny-recall", KNOWLEDGE)
        made = await RayTrainer(settings).train(spec, lambda progress: None)
    finally:
        ray.shutdown()
    assert made.accepted, made.report
