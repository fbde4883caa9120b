"""Trainers as Ray actors: one for each lesson, where there is room for it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.training_group import TrainingGroup, leave_room, shared, training_room
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.parameter import AdapterPayload, fusion_advice
from memos_ray.core.teaching import (
    GateReport,
    Knowledge,
    ProbedStatement,
    Verdict,
    as_markdown,
)
from memos_ray.errors import InternalError, MemosError, UnavailableError
from memos_ray.ports import (
    AdapterRoom,
    CombinedAdapters,
    ForeignAdapter,
    ProbingSpec,
    Trained,
    TrainingProgress,
    TrainingSpec,
    Wordings,
)

_LOOK_S = 1.0
_RESTARTS = 3
_ABANDONED_S = 86_400.0
_MADE_SHARE = 0.5


class AdapterTrainer:
    """What runs in the process of a trainer; restarted by Ray, it goes on from its checkpoint."""

    def __init__(self, settings: Settings, spec: TrainingSpec, room: Any = None) -> None:
        """Takes a room for workers where they share the training."""
        self._settings = settings
        self._spec = spec
        self._room = room
        self._progress = TrainingProgress(0.0)

    def progress(self) -> TrainingProgress:
        """Says how far the training is."""
        return self._progress

    def run(self, *objects: Any) -> tuple[GateReport, AdapterPayload]:
        """Makes the adapter, and lets the gate decide.

        Args:
            objects: what the adapter is made of; see `references` in `TrainingSpec.made_of`.
        """
        (model,) = [one for one in self._settings.models if one.name == self._spec.model]
        if self._spec.made_of is None:
            return self._taught(model) if self._room is None else self._together()
        return self._given(model, self._spec.made_of, objects)

    def _taught(self, model: ModelSettings) -> tuple[GateReport, AdapterPayload]:
        # Whoever only describes the actor does not load torch.
        from memos_ray.serving.teaching.training import Progress
        from memos_ray.serving.teaching.work import teach

        def watch(step: Progress) -> bool:
            self._progress = TrainingProgress(step.step / max(step.steps, 1), step.loss)
            return True

        chosen = self._settings.teaching
        checkpoints = _checkpoints(self._settings) / self._spec.id
        # Cancelling a lesson ends the process.
        made = teach(
            model.folder,
            self._spec.knowledge,
            chosen.training(model),
            chosen.thresholds(),
            checkpoints=checkpoints,
            watch=watch,
        )
        assert made is not None
        payload, report = made
        return report, payload

    def _together(self) -> tuple[GateReport, AdapterPayload]:
        def note(progress: TrainingProgress) -> None:
            self._progress = progress

        checkpoints = _checkpoints(self._settings) / self._spec.id
        return TrainingGroup(self._settings, self._spec, self._room, checkpoints, note).run()

    def _given(
        self,
        model: ModelSettings,
        made_of: CombinedAdapters | ForeignAdapter,
        objects: tuple[Any, ...],
    ) -> tuple[GateReport, AdapterPayload]:
        from memos_ray.serving.teaching.fusion import fuse
        from memos_ray.serving.teaching.work import adopt, judge

        chosen, room = self._settings.teaching, _room(model)
        match made_of:
            case CombinedAdapters():
                payload = fuse(
                    model.folder,
                    objects,
                    made_of.plan,
                    bytes_max=room.bytes_max,
                    threads=chosen.threads,
                )
            case ForeignAdapter():
                payload = adopt(
                    model.folder,
                    made_of.config,
                    *objects,
                    rank_max=room.rank_max,
                    bytes_max=room.bytes_max,
                )
            case _:
                assert_never(made_of)
        self._progress = TrainingProgress(_MADE_SHARE)
        knowledge = self._spec.knowledge
        report = judge(
            model.folder, payload, knowledge, chosen.training(model), chosen.thresholds()
        )
        if isinstance(made_of, CombinedAdapters) and report.verdict is Verdict.REJECTED:
            report = replace(report, reasons=(*report.reasons, fusion_advice(made_of.plan)))
        return report, payload


class RayTrainer:
    """Starts a trainer for each lesson. Implements `ports.TrainerPort`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Those of lessons whose shard was killed.
        for folder in _checkpoints(settings).glob("*"):
            # Another shard may be sweeping, too.
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                    _forget(folder)

    @property
    def models(self) -> Mapping[str, AdapterRoom]:
        """See `TrainerPort`: those whose replicas take adapters."""
        served = self._settings.served_models
        return {model.name: _room(model) for model in served if model.adapter_slots}

    async def word(self, spec: TrainingSpec) -> Wordings | None:
        """See `TrainerPort`: nobody here writes any."""
        return None

    async def train(
        self, spec: TrainingSpec, progress: Callable[[TrainingProgress], None]
    ) -> Trained:
        """See `TrainerPort`."""
        actor = await asyncio.to_thread(self._start, _described(spec))
        try:
            given = () if spec.made_of is None else spec.made_of.references
            report_reference, payload = actor.run.options(num_returns=2).remote(*given)
            report = await followed(actor, report_reference, progress)
        except RayTaskError as error:
            raise _named(error) from None
        except RayActorError:
            raise UnavailableError("the trainer has died too often") from None
        finally:
            ray.kill(actor)
            if shared(self._settings, spec):
                await asyncio.to_thread(leave_room, spec.id)
        # One that was cut off is for the next owner of the partition to go on with; whoever ends a
        # lesson otherwise calls `forget`.
        await self.forget(spec.id)
        figures = report.figures
        return Trained(
            manifest=(await payload).manifest,
            reference=payload,
            accepted=report.verdict is Verdict.ACCEPTED,
            report=as_markdown(report),
            figures={
                "base_recall": figures.base.recall,
                "recall": figures.adapter.recall,
                "base_in_context": figures.base.in_context,
                "in_context": figures.adapter.in_context,
                "absent_kept": figures.absent_kept,
                "leaked": float(figures.leaked),
                "train_s": report.train_s,
            },
        )

    async def forget(self, lesson_id: str) -> None:
        """See `TrainerPort`."""
        await asyncio.to_thread(_forget, _checkpoints(self._settings) / lesson_id)
        if self._settings.teaching.workers > 1:
            await asyncio.to_thread(leave_room, lesson_id)

    async def probe(self, spec: ProbingSpec) -> tuple[ProbedStatement, ...]:
        """See `TrainerPort`; a task of its own, where there is room for a trainer."""
        chosen = self._settings.teaching
        task: Any = ray.remote(_probed).options(
            num_cpus=chosen.cpus, num_gpus=chosen.gpus, max_retries=_RESTARTS
        )
        # The reference travels by itself, so that the task gets the adapter.
        reference = await asyncio.to_thread(
            task.remote, self._settings, spec.model, spec.knowledge, spec.adapter
        )
        try:
            found: tuple[ProbedStatement, ...] = await reference
        except RayTaskError as error:
            raise _named(error) from None
        except RayError as error:
            raise UnavailableError("nobody asks the adapter", kind=type(error).__name__) from None
        except asyncio.CancelledError:
            ray.cancel(reference, force=True)
            raise
        return found

    def _start(self, spec: TrainingSpec) -> Any:
        chosen = self._settings.teaching
        room = training_room(self._settings, spec.id) if shared(self._settings, spec) else None
        # Where workers share a training, it is they that compute.
        own = 1.0 if room is None else 0.0
        return (
            ray.remote(AdapterTrainer)
            .options(
                num_cpus=own * chosen.cpus,
                num_gpus=own * chosen.gpus,
                max_restarts=_RESTARTS,
                max_task_retries=_RESTARTS,
                # One thread trains, the other one tells how far it is.
                max_concurrency=2,
            )
            .remote(self._settings, spec, room)
        )


def _checkpoints(settings: Settings) -> Path:
    return DataFolder(settings.data).run / "lessons"


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _described(spec: TrainingSpec) -> TrainingSpec:
    """Returns a spec whose references go as arguments, which Ray fetches."""
    if spec.made_of is None:
        return spec
    return replace(spec, made_of=replace(spec.made_of, references=()))


def _room(model: ModelSettings) -> AdapterRoom:
    return AdapterRoom(model.adapter_rank_max, model.adapter_host_bytes)


def _probed(
    settings: Settings, name: str, knowledge: tuple[Knowledge, ...], payload: AdapterPayload
) -> tuple[ProbedStatement, ...]:
    """What runs in the process of a task."""
    # Whoever only describes the task does not load torch.
    from memos_ray.serving.teaching.probing import probe

    (model,) = [one for one in settings.models if one.name == name]
    return probe(model.folder, payload, knowledge, settings.teaching.training(model))


def _named(error: RayTaskError) -> MemosError:
    cause = error.cause
    if isinstance(cause, MemosError):
        return cause
    return InternalError("a trainer failed", kind=type(cause).__name__)


async def followed(
    actor: Any, reference: Any, progress: Callable[[TrainingProgress], None]
) -> GateReport:
    """Returns the result of a trainer, and tells of its progress until then, however late.

    Args:
        actor: the trainer; it may be busy, or started again, when it is asked.
        reference: what its result will be.
    """
    running: asyncio.Future[Any] = asyncio.ensure_future(_result(reference))
    asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    try:
        while not running.done():
            await asyncio.wait([running], timeout=_LOOK_S)
            if running.done():
                break
            # One that is very busy, or is being started again, may take long to answer.
            asked = asyncio.ensure_future(_result(actor.progress.remote()))
            await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                with suppress(RayActorError):
                    progress(asked.result())
        report: GateReport = await running
        return report
    finally:
        running.cancel()
        asked.cancel()


async def _result(reference: Any) -> Any:
    return await reference
