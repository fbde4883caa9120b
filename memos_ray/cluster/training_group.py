"""Workers that share one training: processes in a placement group, which come and go together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.placement_group import (
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from memos_ray.config import Settings
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import GateReport
from memos_ray.errors import MemosError, UnavailableError
from memos_ray.ports import TrainingProgress, TrainingSpec

_LOOK_S = 1.0
_RESTARTS = 3
# Ray has no empty bundles.
_SOME_CPU = 0.001
_log = logging.getLogger(__name__)


class TrainingWorker:
    """One of the workers; all of them are of one shape, and the first knows what came of it."""

    def __init__(self, settings: Settings, spec: TrainingSpec, checkpoints: Path) -> None:
        self._settings = settings
        self._spec = spec
        self._checkpoints = checkpoints
        self._progress = TrainingProgress(0.0)
        self._meeting: Any = None

    def open(self) -> tuple[str, int]:
        """Says where the others find this one, the first."""
        from memos_ray.serving.teaching.group import Meeting

        # Ray gives it no types.
        util: Any = ray.util
        self._meeting = Meeting(util.get_node_ip_address())
        found: tuple[str, int] = self._meeting.address
        return found

    def progress(self) -> TrainingProgress:
        """Says how far the training is."""
        return self._progress

    def run(self, rank: int, address: tuple[str, int]) -> tuple[GateReport, AdapterPayload] | None:
        """Trains with the others; the first lets the gate decide."""
        # Whoever only describes the actor does not load torch.
        from memos_ray.serving.teaching.group import joined
        from memos_ray.serving.teaching.training import Progress
        from memos_ray.serving.teaching.work import teach

        def watch(step: Progress) -> bool:
            self._progress = TrainingProgress(step.step / max(step.steps, 1), step.loss)
            return True

        chosen = self._settings.teaching
        (model,) = [one for one in self._settings.models if one.name == self._spec.model]
        size, device = chosen.workers, chosen.device
        with (
            joined(address, rank, size, device) if rank else self._meeting.joined(size, device)
        ) as group:
            made = teach(
                model.folder,
                self._spec.knowledge,
                chosen.training(model),
                chosen.thresholds(),
                checkpoints=self._checkpoints,
                watch=watch,
                group=group,
            )
        if made is None:
            return None
        payload, report = made
        return report, payload


class TrainingGroup:
    """Has workers train, and begins again with new ones, from the checkpoint, when one has died.

    The workers end with the actor that this runs in; their room is left by whoever has made it.
    """

    def __init__(
        self,
        settings: Settings,
        spec: TrainingSpec,
        room: Any,
        checkpoints: Path,
        note: Callable[[TrainingProgress], None],
    ) -> None:
        """Takes, beside what is to be trained, a `training_room`."""
        self._settings = settings
        self._spec = spec
        self._room = room
        self._checkpoints = checkpoints
        self._note = note

    def run(self) -> tuple[GateReport, AdapterPayload]:
        """Returns what the first worker has.

        Raises:
            MemosError: what stops the training whoever does it.
            UnavailableError: workers have died too often.
        """
        # As long as it takes, like a trainer that is alone.
        ray.get(self._room.ready())
        for _ in range(_RESTARTS + 1):
            found = self._attempt()
            if found is not None:
                return found
        raise UnavailableError("the workers of a training have died too often")

    def _attempt(self) -> tuple[GateReport, AdapterPayload] | None:
        """Trains once; nothing when a worker has died."""
        workers = [self._start(place) for place in range(self._settings.teaching.workers)]
        try:
            address = ray.get(workers[0].open.remote())
            running = [one.run.remote(rank, address) for rank, one in enumerate(workers)]
            pending = list(running)
            asked: Any = None
            while pending:
                done, pending = ray.wait(pending, timeout=_LOOK_S)
                # The first that fails ends it: the others wait for it in vain.
                ray.get(done)
                asked = self._look(workers[0], asked)
            found: tuple[GateReport, AdapterPayload] = ray.get(running[0])
            return found
        except RayTaskError as error:
            if isinstance(error.cause, MemosError):
                raise error.cause from None
            # One that has lost another says so in the words of its transport.
            _log.warning("a worker of a training failed: %s", type(error.cause).__name__)
        except RayActorError:
            _log.warning("a worker of a training has died")
        finally:
            for one in workers:
                ray.kill(one)
        return None

    def _look(self, first: Any, asked: Any) -> Any:
        """Notes how far the first worker is; returns a question that it has not answered yet."""
        asked = asked or first.progress.remote()
        said, unsaid = ray.wait([asked], timeout=_LOOK_S)
        if said:
            self._note(ray.get(asked))
        return unsaid[0] if unsaid else None

    def _start(self, place: int) -> Any:
        chosen = self._settings.teaching
        return (
            ray.remote(TrainingWorker)
            .options(
                num_cpus=chosen.cpus,
                num_gpus=chosen.gpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._room, place),
                # One thread trains, the other one tells how far it is.
                max_concurrency=2,
            )
            .remote(self._settings, self._spec, self._checkpoints)
        )


def training_room(settings: Settings, lesson_id: str) -> Any:
    """Makes room for the workers of a lesson, or finds what there is from an earlier attempt.

    Ray does not end it with whoever has made it: `leave_room` does.
    """
    # A shard that was killed has left it to the next owner of the partition.
    with suppress(ValueError):
        return get_placement_group(_named(lesson_id))
    chosen = settings.teaching
    bundle = {"CPU": chosen.cpus, "GPU": chosen.gpus}
    bundle = {name: count for name, count in bundle.items() if count} or {"CPU": _SOME_CPU}
    return placement_group([bundle] * chosen.workers, strategy="PACK", name=_named(lesson_id))


def leave_room(lesson_id: str) -> None:
    """Gives back the room of a lesson; none is fine."""
    with suppress(ValueError):
        remove_placement_group(get_placement_group(_named(lesson_id)))


def shared(settings: Settings, spec: TrainingSpec) -> bool:
    """Tells whether workers share what is to be done: only training is shared."""
    return spec.made_of is None and settings.teaching.workers > 1


def _named(lesson_id: str) -> str:
    return f"lesson-{lesson_id}"
