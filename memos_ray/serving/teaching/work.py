"""One lesson from end to end: train, examine, decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import (
    GateReport,
    GateThresholds,
    Knowledge,
    TrainingSettings,
    decide,
)
from memos_ray.serving.teaching.evaluation import ProbeSettings, examine
from memos_ray.serving.teaching.training import Watch, train


def teach(
    folder: Path,
    knowledge: Sequence[Knowledge],
    settings: TrainingSettings,
    thresholds: GateThresholds,
    *,
    checkpoints: Path,
    watch: Watch,
) -> tuple[AdapterPayload, GateReport] | None:
    """Trains an adapter and lets the gate decide; nothing when `watch` has stopped it.

    Args:
        folder: of the base model.
        checkpoints: a folder of this lesson alone.

    Raises:
        InvalidInputError: there is nothing to teach, or the model has no such layers.
        DeadlineExceededError: it took too long.
    """
    trained = train(folder, knowledge, settings, checkpoints=checkpoints, watch=watch)
    if trained is None:
        return None
    probes = ProbeSettings(
        answer_tokens=settings.answer_tokens, device=settings.device, threads=settings.threads
    )
    figures = examine(folder, trained.payload, knowledge, seed=settings.seed, probes=probes)
    report = decide(
        trained.payload.manifest.digest,
        figures,
        thresholds,
        losses=trained.losses,
        train_s=trained.train_s,
    )
    return trained.payload, report
