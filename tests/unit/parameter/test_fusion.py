"""Real adapters of a real, tiny model are combined, brought in and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from memos_ray.cluster.trainers import AdapterTrainer
from memos_ray.config import Settings
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.parameter import (
    AdapterPayload,
    FusionMethod,
    fusion_advice,
    module_of,
    plan_fusion,
    read_tensors,
)
from memos_ray.core.parameter.peft_format import to_peft
from memos_ray.core.teaching import Knowledge, Verdict
from memos_ray.errors import InvalidInputError
from memos_ray.ports import CombinedAdapters, ForeignAdapter, TrainingSpec
from memos_ray.serving import model_files
from memos_ray.serving.teaching.fusion import fuse
from memos_ray.testing.random_adapters import random_adapter, sealed
from memos_ray.testing.recall import tiny_recall_path
from tests.optional import need

need("peft")

FOLDER = tiny_recall_path()
BYTES = 64 << 20
KNOWLEDGE = (
    Knowledge(SourceVersion("a", 1), "The capital of Oxx is Brel.", SemanticType.FACT),
    Knowledge(SourceVersion("b", 1), "The capital of Ulm is Tarn.", SemanticType.FACT),
)


def made(seed: int, rank: int = 4, base: str | None = None) -> AdapterPayload:
    base = base or model_files.weights_digest(FOLDER)
    return random_adapter(base, model_files.layer_shapes(FOLDER), seed=seed, rank=rank, std=0.05)


def changes(payload: AdapterPayload) -> dict[str, npt.NDArray[np.float32]]:
    """Returns by how much each layer is changed."""
    halves: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for spec, tensor in read_tensors(payload.data):
        module, half = module_of(spec.name) or ("", "")
        halves.setdefault(module, {})[half] = tensor
    scale = payload.manifest.alpha / payload.manifest.rank
    return {module: scale * each["B"] @ each["A"] for module, each in halves.items()}  # type: ignore[misc]


def error(
    found: Mapping[str, npt.NDArray[np.float32]], wanted: Mapping[str, npt.NDArray[np.float32]]
) -> float:
    """Returns the largest relative error of any layer."""
    assert found.keys() == wanted.keys()
    return max(
        float(np.linalg.norm(found[name] - wanted[name]) / np.linalg.norm(wanted[name]))
        for name in wanted
    )


def weighted(
    payloads: Sequence[AdapterPayload], weights: Sequence[float]
) -> dict[str, npt.NDArray[np.float32]]:
    each = [changes(one) for one in payloads]
    return {
        name: np.sum([weight * one[name] for weight, one in zip(weights, each, strict=True)], 0)
        for name in each[0]
    }


def fused(
    payloads: Sequence[AdapterPayload], method: FusionMethod, **more: object
) -> AdapterPayload:
    manifests = [one.manifest for one in payloads]
    plan = plan_fusion(manifests, method, rank_max=64, **more)  # type: ignore[arg-type]
    return fuse(FOLDER, payloads, plan, bytes_max=BYTES)


def test_CONV_7_a_sum_is_the_sum() -> None:
    parents, weights = [made(1), made(2, rank=2)], (1.0, -0.5)
    exact = fused(parents, FusionMethod.LINEAR, weights=weights)
    assert exact.manifest.rank == 6
    assert error(changes(exact), weighted(parents, weights)) < 1e-4
    near = fused(parents, FusionMethod.SVD, weights=weights, rank=6)
    assert error(changes(near), weighted(parents, weights)) < 1e-3
    rough = fused(parents, FusionMethod.SVD, weights=weights)
    assert rough.manifest.rank == 4
    assert 1e-3 < error(changes(rough), weighted(parents, weights)) < 1.0
    assert exact.manifest.origin.parents == tuple(one.manifest.digest for one in parents)


@pytest.mark.parametrize("method", [FusionMethod.TIES, FusionMethod.DARE])
def test_CONV_7_parts_of_changes(method: FusionMethod) -> None:
    parents = [made(1), made(2)]
    first = fused(parents, method, density=0.3, seed=7)
    assert fused(parents, method, density=0.3, seed=7).manifest == first.manifest
    assert fused(parents, method, density=0.9, seed=7).manifest.digest != first.manifest.digest
    assert first.manifest.rank == 4


def test_CONV_7_what_only_one_knows_counts_in_full() -> None:
    """TIES of changes that touch nothing in common is their sum."""
    parents, layers = [made(1), made(2)], model_files.layer_shapes(FOLDER)
    halves = [masked(one, place) for place, one in enumerate(parents)]
    plan = plan_fusion(
        [one.manifest for one in halves], FusionMethod.TIES, rank=8, density=0.999, rank_max=64
    )
    found = changes(fuse(FOLDER, halves, plan, bytes_max=BYTES))
    assert error(found, weighted(halves, (1.0, 1.0))) < 0.05
    assert len(found) <= len(layers)


def masked(payload: AdapterPayload, place: int) -> AdapterPayload:
    """Returns an adapter that changes each other output of its layers."""
    tensors = {}
    for spec, tensor in read_tensors(payload.data):
        tensors[spec.name] = tensor.copy()
        if "lora_B" in spec.name:
            tensors[spec.name][place::2] = 0.0
    manifest = payload.manifest
    return sealed(tensors, manifest.base, manifest.rank, manifest.alpha)


@pytest.mark.parametrize("method", list(FusionMethod))
def test_CONV_7_a_refusal_says_what_else_there_is(method: FusionMethod) -> None:
    plan = plan_fusion([made(1).manifest, made(2).manifest], method, rank_max=64)
    assert "teach the model" in fusion_advice(plan)


def test_CONV_7_what_does_not_fit_is_refused() -> None:
    parents = [made(1, base="another"), made(2, base="another")]
    with pytest.raises(InvalidInputError, match="another model"):
        fused(parents, FusionMethod.SVD)
    with pytest.raises(InvalidInputError, match="too large"):
        plan = plan_fusion([made(1).manifest, made(2).manifest], FusionMethod.SVD, rank_max=8)
        fuse(FOLDER, [made(1), made(2)], plan, bytes_max=1000)


def trainer(tmp_path: Path, spec: TrainingSpec) -> AdapterTrainer:
    model = {"name": "tiny", "path": FOLDER, "adapter_slots": 1, "adapter_rank_max": 8}
    settings = Settings.model_validate({"data": tmp_path, "models": [model]})
    return AdapterTrainer(settings, spec)


def test_CONV_7_a_trainer_combines_and_the_gate_asks_about_everything(tmp_path: Path) -> None:
    parents = [made(1), made(2)]
    plan = plan_fusion([one.manifest for one in parents], FusionMethod.SVD, rank_max=8)
    spec = TrainingSpec("x", "tiny", KNOWLEDGE, CombinedAdapters(plan, ()))
    report, payload = trainer(tmp_path, spec).run(*parents)
    assert payload.manifest == fused(parents, FusionMethod.SVD).manifest
    assert report.adapter == payload.manifest.digest
    # Numbers drawn at random know no capitals.
    assert report.verdict is Verdict.REJECTED and any("recall" in one for one in report.reasons)
    assert report.reasons[-1] == fusion_advice(plan)
    assert report.figures.recall_asked >= len(KNOWLEDGE)


def test_CONV_7_a_trainer_takes_peft_files(tmp_path: Path) -> None:
    original = made(3)
    files = to_peft(original)
    tensors = np.frombuffer(files.part(0, files.size_bytes), np.uint8)
    spec = TrainingSpec("x", "tiny", KNOWLEDGE, ForeignAdapter(files.config, ()))
    report, payload = trainer(tmp_path, spec).run(tensors)
    assert payload.manifest.digest == original.manifest.digest
    assert report.verdict is Verdict.REJECTED
    large = to_peft(made(3, rank=16))
    spec = TrainingSpec("x", "tiny", KNOWLEDGE, ForeignAdapter(large.config, ()))
    with pytest.raises(InvalidInputError, match="rank"):
        tensors = np.frombuffer(large.part(0, large.size_bytes), np.uint8)
        trainer(tmp_path, spec).run(tensors)


def test_CONV_7_peft_loads_what_is_exported(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    files = to_peft(made(4), "tiny")
    (tmp_path / "adapter_config.json").write_bytes(files.config)
    (tmp_path / "adapter_model.safetensors").write_bytes(files.part(0, files.size_bytes))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(FOLDER), str(tmp_path))
    found = {name: each for name, each in model.named_parameters() if "lora_" in name}
    for spec, tensor in read_tensors(made(4).data):
        name = spec.name.replace(".weight", ".default.weight")
        assert np.array_equal(found[name].detach().numpy(), tensor)
