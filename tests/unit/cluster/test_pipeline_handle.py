"""PIPE-2: whoever wants a pipeline finds a runner, in whatever order things have died."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from memos_ray.actors.supervisor import Supervisor
from memos_ray.cluster.authorities import CONTROL, Authority
from memos_ray.cluster.packing import Packed, pack, unpack
from memos_ray.cluster.pipeline_handle import PIPELINES, PipelineHandle
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.testing.in_process import Crew, InProcess, in_process
from memos_ray.testing.pipelines import runner_over

CALLER = CallContext(Principal("default", "user:admin", ("admin",)))


@dataclass
class Method:
    """What Ray makes of an actor's method."""

    remote: Callable[..., Any]


@dataclass
class Actors:
    """The named actors of a cluster, as far as calls go: each is an object of this process."""

    named: dict[str, Any] = field(default_factory=dict)

    def lose(self, name: str) -> None:
        """Has an actor die, so that Ray does not start it again."""
        self.named.pop(name).alive = False

    def get(self, name: str, namespace: str) -> Any:
        if name not in self.named:
            raise ValueError(f"no actor is named {name}")
        return self.named[name]


class Control:
    """The authorities' actor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.alive = True
        self.ask = Method(self._ask)
        self._supervisor = supervisor

    async def _ask(self, authority: Authority, method: str, *args: object) -> object:
        assert authority is Authority.SUPERVISOR
        if not self.alive:
            raise RayActorError
        return await getattr(self._supervisor, method)(*args)


class Runner:
    """The runner's actor."""

    def __init__(self, memos: InProcess) -> None:
        self.alive = True
        self.runner = runner_over(memos.backend, memos.control)
        self.call = Method(self._call)

    async def _call(self, method: str, packed: Packed) -> Packed:
        if not self.alive:
            raise RayActorError
        return pack(await getattr(self.runner, method)(*unpack(packed)))


@dataclass
class Starting(Crew):
    """A crew that starts the runner as an actor."""

    actors: Actors = field(default_factory=Actors)
    runner: Callable[[], Runner] | None = None

    async def has_pipelines(self) -> bool:
        return PIPELINES in self.actors.named

    async def start_pipelines(self) -> None:
        assert self.runner is not None
        if PIPELINES not in self.actors.named:
            self.actors.named[PIPELINES] = self.runner()


@asynccontextmanager
async def cluster(folder: Path, actors: Actors) -> AsyncIterator[Callable[[], Supervisor]]:
    """Gives what starts the authorities, again and again."""
    settings = VaultSettings(partitions=4)
    supervisors: list[Supervisor] = []
    runners: list[Runner] = []
    async with in_process(folder, settings=settings) as memos:

        def runner() -> Runner:
            runners.append(Runner(memos))
            return runners[-1]

        def start() -> Supervisor:
            crew = Starting(memos.crew.make, memos.crew.shards, actors=actors, runner=runner)
            supervisors.append(Supervisor(memos.control, crew, settings))
            actors.named[CONTROL] = Control(supervisors[-1])
            return supervisors[-1]

        yield start
        for supervisor in supervisors:
            await supervisor.close()
        for one in runners:
            await one.runner.close()


async def test_PIPE_2_a_runner_that_is_gone_for_good_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actors = Actors()
    monkeypatch.setattr(ray, "get_actor", actors.get)
    async with cluster(tmp_path, actors) as start:
        first = start()
        await first.boot()
        handle = PipelineHandle("memos")
        assert await handle.runs(CALLER) == []
        # The node of both is lost: nobody who is left knows that there was a runner.
        actors.lose(PIPELINES)
        actors.lose(CONTROL)
        await first.close()
        second = start()
        await second.boot()
        assert await handle.runs(CALLER) == []
        assert PIPELINES in actors.named
