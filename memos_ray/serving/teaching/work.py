"""One lesson from end to end: train or take what is there, examine, decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memos_ray.core.parameter import AdapterLimits, AdapterPayload, Bytes, check
from memos_ray.core.parameter.peft_format import from_peft
from memos_ray.core.teaching import (
    GateReport,
    GateThresholds,
    Knowledge,
    TrainingSettings,
    decide,
)
from memos_ray.serving import model_files
from memos_ray.serving.teaching.evaluation import ProbeSettings, examine
from memos_ray.serving.teaching.group import ALONE, Group
from memos_ray.serving.teaching.training import Watch, train


def teach(
    folder: Path,
    knowledge: Sequence[Knowledge],
    settings: TrainingSettings,
    thresholds: GateThresholds,
    *,
    checkpoints: Path,
    watch: Watch,
    group: Group = ALONE,
) -> tuple[AdapterPayload, GateReport] | None:
    """Trains an adapter and lets the gate decide; nothing when `watch` has stopped it.

    Args:
        folder: of the base model.
        checkpoints: a folder of this lesson alone.
        group: the workers that share the training. The first examines what came of it; the others
            get nothing.

    Raises:
        InvalidInputError: there is nothing to teach, or the model has no such layers.
        DeadlineExceededError: it took too long.
    """
    trained = train(folder, knowledge, settings, checkpoints=checkpoints, watch=watch, group=group)
    if trained is None or group.rank > 0:
        return None
    report = judge(
        folder,
        trained.payload,
        knowledge,
        settings,
        thresholds,
        losses=trained.losses,
        train_s=trained.train_s,
    )
    return trained.payload, report


def judge(
    folder: Path,
    payload: AdapterPayload,
    knowledge: Sequence[Knowledge],
    settings: TrainingSettings,
    thresholds: GateThresholds,
    *,
    losses: tuple[float, ...] = (),
    train_s: float = 0.0,
) -> GateReport:
    """Examines an adapter and lets the gate decide.

    Args:
        folder: of the base model.
        knowledge: what the adapter is to know.
        losses, train_s: of its training, when there was one.

    Raises:
        InvalidInputError: the adapter does not fit the model, or there is nothing to know.
    """
    probes = ProbeSettings(
        answer_tokens=settings.answer_tokens, device=settings.device, threads=settings.threads
    )
    figures = examine(folder, payload, knowledge, seed=settings.seed, probes=probes)
    digest = payload.manifest.digest
    return decide(digest, figures, thresholds, losses=losses, train_s=train_s)


def adopt(
    folder: Path, config: bytes, tensors: Bytes, *, rank_max: int, bytes_max: int
) -> AdapterPayload:
    """Makes an adapter of PEFT's files, whoever wrote them.

    Args:
        folder: of the model that it is for.

    Raises:
        InvalidInputError: they are no files of a plain LoRA adapter, or it does not fit the model.
    """
    limits = AdapterLimits(
        model_files.weights_digest(folder), model_files.layer_shapes(folder), rank_max, bytes_max
    )
    payload = from_peft(config, tensors, base=limits.base)
    check(payload, limits)
    return payload
