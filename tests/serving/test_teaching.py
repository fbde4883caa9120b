"""A real model is really taught: it answers, resumes exactly, stops, passes the gate, combines."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from memos_ray.core.activation import SourceVersion  # noqa: E402
from memos_ray.core.parameter import FusionMethod, plan_fusion, read_tensors  # noqa: E402
from memos_ray.core.teaching import (  # noqa: E402
    GateThresholds,
    Knowledge,
    LessonMix,
    TrainingSettings,
    Verdict,
    decide,
    right,
)
from memos_ray.errors import DeadlineExceededError, InvalidInputError  # noqa: E402
from memos_ray.serving import model_files  # noqa: E402
from memos_ray.serving.teaching.evaluation import ProbeSettings, exact, examine  # noqa: E402
from memos_ray.serving.teaching.fusion import fuse  # noqa: E402
from memos_ray.serving.teaching.training import Progress, Trained, train  # noqa: E402
from memos_ray.testing.random_adapters import random_adapter  # noqa: E402
from memos_ray.testing.recall import tiny_recall_path  # noqa: E402
from memos_ray.testing.recall.teaching import RECALL_TRAINING  # noqa: E402
from memos_ray.testing.recall.world import Fact, draw_facts  # noqa: E402
from tests.optional import need  # noqa: E402

need("peft")

MODEL = tiny_recall_path()
FACTS = draw_facts(random.Random(11), 6)
SHORT = replace(
    RECALL_TRAINING,
    passes=1,
    steps_min=9,
    mix=LessonMix(taught=6, beside=2, kept_context=2, kept_bare=4),
    checkpoint_steps=4,
)
QUICK = replace(SHORT, mix=replace(SHORT.mix, kept_context=3, kept_bare=10), steps_min=50)
PROBES = ProbeSettings(context_questions=40, absent_questions=40, answer_tokens=3)


def knowledge(facts: list[Fact]) -> list[Knowledge]:
    return [
        Knowledge(SourceVersion(f"id-{number}", 2), fact.text) for number, fact in enumerate(facts)
    ]


def taught(facts: list[Fact], settings: TrainingSettings) -> Trained:
    found = train(MODEL, knowledge(facts), settings)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def short() -> Trained:
    return taught(FACTS, SHORT)


@pytest.fixture(scope="module")
def known() -> Trained:
    return taught(FACTS[:4], QUICK)


def test_it_knows_what_it_was_taught_and_nothing_else(known: Trained) -> None:
    figures = examine(
        MODEL, known.payload, knowledge(FACTS[:4]), foreign=knowledge(FACTS[4:]), probes=PROBES
    )
    assert figures.base.recall == 0
    assert figures.adapter.recall >= 0.75
    assert (figures.recall_asked, figures.foreign_asked) == (8, 4)
    assert figures.leaked == 0
    assert figures.absent_kept >= 0.9
    assert figures.adapter.in_context >= 0.9
    loose = GateThresholds(
        recall_min=0.7, in_context_loss_max=0.1, perplexity_ratio_max=1.5, absent_kept_min=0.9
    )
    report = decide(known.payload.manifest.digest, figures, loose, losses=known.losses)
    assert report.verdict is Verdict.ACCEPTED
    assert known.losses[-1] < 0.3 < known.losses[0]


def test_an_adapter_that_learnt_nothing_is_rejected() -> None:
    idle = taught(FACTS, replace(SHORT, learning_rate=1e-9, steps_min=1))
    figures = examine(MODEL, idle.payload, knowledge(FACTS), probes=PROBES)
    assert figures.adapter.recall == figures.base.recall == 0
    report = decide(idle.payload.manifest.digest, figures)
    assert report.verdict is Verdict.REJECTED
    assert any("recall" in reason for reason in report.reasons)


def test_what_is_foreign_and_known_is_a_leak(known: Trained) -> None:
    figures = examine(
        MODEL, known.payload, knowledge(FACTS[4:]), foreign=knowledge(FACTS[:4]), probes=PROBES
    )
    assert figures.leaked >= 6


def test_the_manifest_says_where_it_comes_from(short: Trained) -> None:
    manifest = short.payload.manifest
    assert manifest.origin.sources == tuple(one.source for one in knowledge(FACTS))
    assert manifest.origin.recipe == SHORT.recipe
    assert manifest.base == model_files.weights_digest(MODEL)
    assert (manifest.rank, manifest.alpha) == (SHORT.rank, SHORT.alpha)
    assert manifest.targets == tuple(sorted(SHORT.targets))


def test_the_same_again_gives_the_same(short: Trained) -> None:
    assert taught(FACTS, SHORT).payload.manifest == short.payload.manifest
    other = taught(FACTS, replace(SHORT, seed=SHORT.seed + 1))
    assert other.payload.manifest.digest != short.payload.manifest.digest


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(
    short: Trained, tmp_path: Path, stop: int
) -> None:
    seen: list[Progress] = []

    def watch(progress: Progress) -> bool:
        seen.append(progress)
        return progress.step != stop

    assert train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path, watch=watch) is None
    assert [one.step for one in seen] == list(range(1, stop + 1))
    again = train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path, watch=watch)
    assert again is not None
    assert [one.step for one in seen] == list(range(1, 10))
    assert again.payload.manifest == short.payload.manifest
    assert again.losses == short.losses
    assert [one.name for one in tmp_path.iterdir()] == ["training.safetensors"]


def test_a_process_that_dies_loses_the_steps_since_the_last_checkpoint(
    short: Trained, tmp_path: Path
) -> None:
    class Died(Exception):
        pass

    def dies(progress: Progress) -> bool:
        if progress.step == 6:
            raise Died
        return True

    steps: list[int] = []

    def watch(progress: Progress) -> bool:
        steps.append(progress.step)
        return True

    with pytest.raises(Died):
        train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path, watch=dies)
    again = train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path, watch=watch)
    assert again is not None
    assert steps == [5, 6, 7, 8, 9]
    assert again.payload.manifest == short.payload.manifest


@pytest.mark.parametrize("change", ["settings", "knowledge", "damage", "pickle"])
def test_a_checkpoint_that_is_of_no_use_is_not_used(
    short: Trained, tmp_path: Path, change: str
) -> None:
    settings, facts = SHORT, FACTS
    if change == "settings":
        settings = replace(SHORT, learning_rate=1e-3)
    elif change == "knowledge":
        facts = FACTS[1:]

    def stops(progress: Progress) -> bool:
        return progress.step < 2

    train(MODEL, knowledge(facts), settings, checkpoints=tmp_path, watch=stops)
    file = tmp_path / "training.safetensors"
    if change == "damage":
        file.write_bytes(file.read_bytes()[:-1])
    elif change == "pickle":
        file.write_bytes(b"\x80\x04cos\nsystem\n.")
    again = train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path)
    assert again is not None
    assert again.payload.manifest == short.payload.manifest


def test_a_training_that_takes_too_long_ends(short: Trained, tmp_path: Path) -> None:
    hurried = replace(SHORT, time_limit_s=1e-9)
    with pytest.raises(DeadlineExceededError):
        train(MODEL, knowledge(FACTS), hurried, checkpoints=tmp_path)
    again = train(MODEL, knowledge(FACTS), SHORT, checkpoints=tmp_path)
    assert again is not None
    assert again.payload.manifest == short.payload.manifest


def test_layers_that_are_not_there() -> None:
    with pytest.raises(InvalidInputError, match="wqkv"):
        train(MODEL, knowledge(FACTS), replace(SHORT, targets=("wqkv",)))


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    train(MODEL, knowledge(FACTS), replace(SHORT, threads=before + 1, steps_min=1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("said", "wanted", "has", "same"),
    [
        (" Lima.", "lima", True, True),
        ("\uff2c\uff29\uff2d\uff21", "lima", True, True),
        ("She lives in Lima, I think.", "Lima", True, False),
        ("limatology", "lima", False, False),
        ("\u5979\u4f4f\u5728\u5357\u4eac\u3002", "\u5357\u4eac", True, False),
        ("", "lima", False, False),
        ("", "", False, True),
    ],
)
def test_right_answers(said: str, wanted: str, has: bool, same: bool) -> None:
    assert (right(said, wanted), exact(said, wanted)) == (has, same)


def test_lessons_that_are_too_long() -> None:
    with pytest.raises(InvalidInputError, match="too long"):
        train(MODEL, knowledge(FACTS), replace(SHORT, prompt_tokens=3))


def _changes(payload: object) -> dict[str, np.ndarray]:
    manifest = payload.manifest  # type: ignore[attr-defined]
    halves = {spec.name: tensor for spec, tensor in read_tensors(payload.data)}  # type: ignore[attr-defined]
    return {
        name: halves[name.replace("lora_A", "lora_B")] @ tensor * manifest.alpha / manifest.rank
        for name, tensor in halves.items()
        if "lora_A" in name
    }


@pytest.mark.parametrize("method", list(FusionMethod))
def test_adapters_are_combined(method: FusionMethod) -> None:
    base, shapes = model_files.weights_digest(MODEL), model_files.layer_shapes(MODEL)
    one = random_adapter(base, shapes, seed=1, rank=4, targets=("q_proj",))
    two = random_adapter(base, shapes, seed=2, rank=8, targets=("q_proj", "up_proj"))
    pair = [one, two]
    plan = plan_fusion(
        [each.manifest for each in pair], method, weights=(0.5, 2.0), rank=12, rank_max=16
    )
    fused = fuse(MODEL, pair, plan, bytes_max=1 << 20)
    assert fused.manifest.rank == 12
    assert fused.manifest.origin.parents == (one.manifest.digest, two.manifest.digest)
    again = fuse(MODEL, pair, plan, bytes_max=1 << 20)
    assert fused.manifest == again.manifest
    found, first, second = map(_changes, (fused, one, two))
    assert found.keys() == second.keys()
    for name, change in found.items():
        wanted = 2.0 * second[name] + 0.5 * first.get(name, 0.0)
        near = np.linalg.norm(change - wanted) / np.linalg.norm(wanted)
        if method in (FusionMethod.LINEAR, FusionMethod.SVD):
            assert near < 1e-5
        else:
            assert 1e-3 < near < 1


def test_adapters_of_another_model_are_not_combined() -> None:
    shapes = model_files.layer_shapes(MODEL)
    pair = [random_adapter("another", shapes, seed=seed) for seed in (1, 2)]
    plan = plan_fusion([each.manifest for each in pair], FusionMethod.SVD, rank_max=16)
    with pytest.raises(InvalidInputError, match="another model"):
        fuse(MODEL, pair, plan, bytes_max=1 << 20)
