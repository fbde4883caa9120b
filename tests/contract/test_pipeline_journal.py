"""PIPE-2: the journal of pipelines on every control store: killed at any save, a run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_ray.actors.pipelines.journal import PipelineJournal
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED, Run, RunState
from memos_ray.errors import VersionConflictError
from memos_ray.ports import ControlStorePort
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.in_process import in_process
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.pipelines import runner_over

CONTEXT = CallContext(Principal("default", "user:admin", ("admin",)))
SPEC = read_definition(
    {
        "name": "notes",
        "steps": [
            {"kind": "augment", "id": "text", "template": "Words."},
            {"kind": "create", "id": "note", "text": "{text.text}", "memory_id": "note"},
            {"kind": "tag", "id": "mark", "of": "note", "tags": ["new"]},
        ],
    }
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def control(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlStorePort]:
    made: ControlStorePort
    match request.param:
        case "memory":
            made = MemoryControlStore()
        case "sqlite":
            made = SqlControlStore.embedded(tmp_path / "control")
        case _:
            made = SqlControlStore.clustered(request.getfixturevalue("postgres").new_database())
    yield made


async def test_PIPE_2_a_run_goes_on_from_its_journal(
    control: ControlStorePort, tmp_path: Path
) -> None:
    async with in_process(tmp_path, control=control, models={"quoting": QuotingModel()}) as memos:
        run: Run | None = None
        # Each runner is cut off as soon as it has done something; the last one ends the run.
        for _ in range(20):
            runner = runner_over(memos.backend, control)
            run = await runner.start(CONTEXT, SPEC, {}, "key")
            await asyncio.sleep(0)
            await runner.close()
        last = runner_over(memos.backend, control)
        assert run is not None
        async with asyncio.timeout(60):
            while (run := await last.run(CONTEXT, run.id)).state not in ENDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert run.state is RunState.DONE, run
        memory = await memos.service.get(memos.administrator, "note")
        assert (memory.text, memory.tags, memory.version) == ("Words.", ["new"], 2)
        await last.close()


async def test_PIPE_2_of_two_runners_one_lets_go(control: ControlStorePort, tmp_path: Path) -> None:
    async with in_process(tmp_path, control=control) as memos:
        ours = PipelineJournal(control, memos.clock, 10)
        theirs = PipelineJournal(control, memos.clock, 10)
        now = memos.clock.now()
        run = Run("a" * 32, CONTEXT, SPEC, {}, now, now)
        ours.save(run, "", "started")
        (found,) = theirs.open_runs()
        assert found == run
        theirs.save(run.committed(), "", "committing")
        with pytest.raises(VersionConflictError):
            ours.save(run, "", "late")
        theirs.end(run.over(RunState.CANCELLED, now))
        assert ours.ended_run("default", run.id) is not None and ours.open_runs() == []
