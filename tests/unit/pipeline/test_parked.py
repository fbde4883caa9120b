"""PIPE-2: one run that cannot be read, or one failure to read, leaves all others alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import Run, RunState, parked
from memos_ray.core.vault.log import ControlChange, ControlRecord
from memos_ray.errors import IllegalStateError, InternalError
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.in_process import in_process
from memos_ray.testing.pipelines import runner_over

CONTEXT = CallContext(Principal("default", "user:admin", ("admin",)))
STRANGER = CallContext(Principal("default", "user:none"))
NOTE = read_definition({"name": "note", "steps": [{"kind": "create", "id": "w", "text": "Words."}]})


class Breakable(MemoryControlStore):
    """A store whose next loads of open runs fail in a way that nobody has foreseen."""

    defects = 0

    def load(self, tenant: str) -> list[ControlRecord]:
        """Fails as often as it is told to."""
        if tenant == "/runs" and self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        return super().load(tenant)


def damaged(run: Run) -> bytes:
    """A journal of another, unknown version of the software."""
    return orjson.dumps(
        {
            "id": run.id,
            "context": {"principal": {"tenant": "default", "id": run.context.principal.id}},
            "spec": NOTE.model_dump(mode="json"),
            "started": "2026-01-01T00:00:00+00:00",
            "state": "of tomorrow",
        }
    )


async def test_PIPE_2_a_defect_while_resuming_is_not_for_ever(tmp_path: Path) -> None:
    control = Breakable()
    async with in_process(tmp_path, control=control) as memos:
        runner = runner_over(memos.backend, control)
        control.defects = 1
        with pytest.raises(InternalError):
            await runner.runs(CONTEXT)
        assert await runner.runs(CONTEXT) == []
        await runner.close()


@pytest.mark.parametrize("body", [None, b"{}", b"\xff", b'{"context": 5}'])
async def test_PIPE_2_a_journal_that_cannot_be_read_parks_its_run(
    tmp_path: Path, body: bytes | None
) -> None:
    control = MemoryControlStore()
    async with in_process(tmp_path, control=control) as memos:
        first = runner_over(memos.backend, control)
        other = await first.start(CONTEXT, NOTE, {}, "other")
        await first.close()
        known = body is None
        unread = damaged(other) if body is None else body
        control.commit([ControlChange("/runs", "run", "f" * 32, unread, 0)], [])
        runner = runner_over(memos.backend, control)
        runs = {run.id: run for run in await runner.runs(CONTEXT)}
        assert ("f" * 32 in runs) is known
        counts = await runner.counts()
        assert counts["runs_parked"] == 1
        if known:
            one = runs["f" * 32]
            assert (one.state, one.reason) == (RunState.PARKED, "store_corrupt")
            assert one.spec == NOTE
            assert (await runner.cancel(CONTEXT, one.id)).state is RunState.PARKED
            assert one.id not in {run.id for run in await runner.runs(STRANGER)}
        # The journal is as it was, and the runner works.
        record = control.get("/runs", "run", "f" * 32)
        assert record is not None and record.body == unread
        assert (await runner.start(CONTEXT, NOTE, {}, "third")).state is RunState.RUNNING
        await runner.close()


async def test_PIPE_2_the_key_of_a_parked_run_begins_no_other(tmp_path: Path) -> None:
    control = MemoryControlStore()
    async with in_process(tmp_path, control=control) as memos:
        first = runner_over(memos.backend, control)
        run = await first.start(CONTEXT, NOTE, {}, "key")
        await first.close()
        record = control.get("/runs", "run", run.id)
        if record is None:
            pytest.skip("the run was faster")
        change = ControlChange("/runs", "run", run.id, damaged(run), record.revision)
        control.commit([change], [])
        runner = runner_over(memos.backend, control)
        with pytest.raises(IllegalStateError, match="parked"):
            await runner.start(CONTEXT, NOTE, {}, "key")
        await runner.close()


async def test_PIPE_2_ended_runs_and_kept_pipelines_that_cannot_be_read(tmp_path: Path) -> None:
    control = MemoryControlStore()
    async with in_process(tmp_path, control=control) as memos:
        changes = [
            ControlChange("/runs/default", "run", "e" * 32, b"{", 0),
            ControlChange("/pipelines/default", "user:admin", "note/7", b"{", 0),
        ]
        control.commit(changes, [])
        runner = runner_over(memos.backend, control)
        assert await runner.runs(CONTEXT) == []
        assert await runner.kept(CONTEXT, "user:admin") == []
        # The number of the unreadable version is not given again.
        assert (await runner.keep(CONTEXT, "user:admin", NOTE)).version == 8
        assert [one.version for one in await runner.kept(CONTEXT, "user:admin")] == [8]
        await runner.close()


def test_PIPE_2_what_cannot_be_told_of_a_parked_run_is_left_open() -> None:
    run = parked("a" * 32, b"no journal")
    assert (run.context.principal.tenant, run.spec.name) == ("", "unreadable")
