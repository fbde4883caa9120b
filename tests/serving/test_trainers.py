"""Trainers under Ray: alone and several for one lesson; killed, cancelled, and gone on with."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ray.util.placement_group import placement_group_table

from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.ray_node import start_node
from memos_ray.cluster.scratch import scratch_folder
from memos_ray.cluster.trainers import RayTrainer
from memos_ray.config import Settings
from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import Knowledge
from memos_ray.errors import InvalidInputError, UnavailableError
from memos_ray.ports import Trained, TrainingProgress, TrainingSpec
from memos_ray.serving.teaching.training import train
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import Split, draw_facts
from memos_ray.testing.waiting import eventually
from tests.optional import need

need("peft")

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

MODEL = "tiny-recall"
FACTS = draw_facts(random.Random(11), 4, Split.HELD_OUT)
KNOWLEDGE = tuple(
    Knowledge(SourceVersion(f"id-{number}", 1), fact.text) for number, fact in enumerate(FACTS)
)
STEPS, CHECKPOINT_STEPS = 24, 4


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = DataFolder(tmp_path_factory.mktemp("cluster"))
    folder.create()
    settings = Settings.model_validate({"data": folder.root, "cluster_cpus": 2})
    start_node(settings, scratch_folder(folder))
    yield
    ray.shutdown()


def settings(folder: Path, **teaching: object) -> Settings:
    model = {"name": MODEL, "path": tiny_recall_path(), "adapter_slots": 1}
    quick = {
        "learning_rate": 4e-3,
        "passes": 1,
        "steps_min": STEPS,
        "checkpoint_steps": CHECKPOINT_STEPS,
    }
    return Settings.model_validate(
        {"data": folder, "models": [model], "teaching": {**quick, **teaching}}
    )


def spec(id: str = "lesson") -> TrainingSpec:
    return TrainingSpec(id, MODEL, KNOWLEDGE)


def processes(name: str) -> list[int]:
    """Those of this test's own cluster, and of no other on the machine."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if f"ray::{name}" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def idle() -> bool:
    """Whether nobody trains, and the room for it is free again."""
    groups = [one["state"] for one in placement_group_table().values()]
    here = processes("AdapterTrainer") + processes("TrainingWorker")
    free = ray.available_resources().get("CPU", 0.0) == ray.cluster_resources()["CPU"]
    return not here and set(groups) <= {"REMOVED"} and free


class Watching:
    """Sees how far a lesson is; does something once at half of it."""

    def __init__(self, at_half: Callable[[], None] = lambda: None) -> None:
        self.before: list[float] = []
        self.after: list[float] = []
        self._at_half = at_half
        self._done = False

    def __call__(self, progress: TrainingProgress) -> None:
        (self.after if self._done else self.before).append(progress.share)
        if progress.share >= 0.5 and not self._done:
            self._done = True
            self._at_half()


def kill(name: str, which: int = 0) -> Callable[[], None]:
    return lambda: os.kill(processes(name)[which], signal.SIGKILL)


def digest(trained: Trained) -> str:
    payload: AdapterPayload = ray.get(trained.reference)  # type: ignore[call-overload]
    assert payload.intact() and payload.manifest == trained.manifest
    return payload.manifest.digest


def goes_on(watching: Watching) -> bool:
    """Whether nothing that came behind the death was done before it.

    Behind a death in the last moments there may be nothing left to be seen.
    """
    again = [share for share in watching.after if share]
    return min(again, default=1.0) > 0.5 - CHECKPOINT_STEPS / STEPS


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The adapter of a training that nothing has interrupted, without Ray."""
    chosen = settings(tmp_path_factory.mktemp("alone"))
    (model,) = chosen.models
    made = train(model.folder, KNOWLEDGE, chosen.teaching.training(model))
    assert made is not None
    return made.payload.manifest.digest


async def test_a_killed_trainer_goes_on_from_its_checkpoint(tmp_path: Path, alone: str) -> None:
    trainer = RayTrainer(settings(tmp_path))
    watching = Watching(kill("AdapterTrainer"))
    trained = await trainer.train(spec(), watching)
    assert digest(trained) == alone
    assert goes_on(watching), watching.after
    assert trained.figures["train_s"] > 0 and "# " in trained.report
    assert not list((tmp_path / "run" / "lessons").iterdir())
    await eventually(idle)


async def test_a_cancelled_lesson_leaves_nobody_and_what_somebody_may_go_on_with(
    tmp_path: Path, alone: str
) -> None:
    trainer, half = RayTrainer(settings(tmp_path)), asyncio.Event()
    lesson = asyncio.create_task(trainer.train(spec(), Watching(half.set)))
    await half.wait()
    lesson.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lesson
    await eventually(idle)
    folder = tmp_path / "run" / "lessons" / "lesson"
    assert [one.name for one in folder.iterdir()] == ["training.safetensors"]
    watching = Watching()
    assert digest(await trainer.train(spec(), watching)) == alone
    assert min(share for share in (*watching.before, *watching.after) if share) > 1 / 3
    await trainer.forget("lesson")
    assert not folder.exists()


async def test_one_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    # So long a lesson that none of them is done with it before it is killed.
    trainer = RayTrainer(settings(tmp_path, steps_min=100_000))
    lesson = asyncio.create_task(trainer.train(spec(), lambda progress: None))
    killed: set[int] = set()
    async with asyncio.timeout(500):
        while not lesson.done():
            for pid in set(processes("AdapterTrainer")) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            await asyncio.sleep(0.1)
    with pytest.raises(UnavailableError):
        await lesson
    await eventually(idle)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_cannot_be_taught_is_said_at_once(tmp_path: Path, workers: int) -> None:
    trainer = RayTrainer(settings(tmp_path, workers=workers))
    with pytest.raises(InvalidInputError):
        await trainer.train(TrainingSpec("lesson", MODEL, ()), lambda progress: None)
    await eventually(idle)


async def test_workers_share_a_lesson_and_outlive_each_other(tmp_path: Path) -> None:
    trainer = RayTrainer(settings(tmp_path, workers=2, steps_min=60, recall_min=0.8))
    watching = Watching()
    whole = await trainer.train(spec(), watching)
    assert whole.accepted, whole.report
    assert whole.figures["recall"] >= 0.8 and whole.figures["base_recall"] == 0
    assert max(watching.before + watching.after) > 0.5
    await eventually(idle)
    # The second one: it has no checkpoint, and the first waits for it.
    watching = Watching(kill("TrainingWorker", 1))
    trained = await trainer.train(spec("again"), watching)
    assert digest(trained) == digest(whole)
    assert min(share for share in watching.after if share) > 1 / 3
    assert not list((tmp_path / "run" / "lessons").iterdir())
    await eventually(idle)


async def test_workers_end_with_whoever_has_started_them(tmp_path: Path) -> None:
    trainer = RayTrainer(settings(tmp_path, workers=2))
    watching = Watching(kill("AdapterTrainer"))
    trained = await trainer.train(spec(), watching)
    assert digest(trained)
    assert goes_on(watching), watching.after
    await eventually(idle)


async def test_workers_end_with_their_lesson(tmp_path: Path) -> None:
    trainer, half = RayTrainer(settings(tmp_path, workers=2)), asyncio.Event()
    lesson = asyncio.create_task(trainer.train(spec(), Watching(half.set)))
    await half.wait()
    lesson.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lesson
    await eventually(idle)
    folder = tmp_path / "run" / "lessons" / "lesson"
    assert [one.name for one in folder.iterdir()] == ["training.safetensors"]
