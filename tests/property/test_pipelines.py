"""PIPE-2: whatever dies when, a run has all of its effects or none, and each of them once.

The runner is killed after any of its durable steps, and shards answer, refuse or lose their answers
at any call; then another runner goes on. `Crash` is raised where a process would have ended: what
was saved before it is all that its successor knows.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import State
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED, Run, RunState
from memos_ray.core.vault.log import ControlChange, Event
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import NotFoundError, UnavailableError, VersionConflictError
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.ports import ControlStorePort, ShardPort
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.pipelines import RememberedHooks, runner_over
from memos_ray.testing.record_store import MemoryRecordStore

HOOK = "https://hooks.example/x"
CONTEXT = CallContext(Principal("default", "user:admin", ("admin",)))


@dataclass(slots=True)
class Fuse:
    """Ends a runner at its `left`-th durable act: before it, or behind it, so that it is lost."""

    left: int
    behind: bool
    blown: asyncio.Event
    loop: asyncio.AbstractEventLoop

    def burn(self) -> bool:
        """Counts an act; tells whether the process is gone. May be called from any thread."""
        self.left -= 1
        if self.left == 0:
            self.loop.call_soon_threadsafe(self.blown.set)
        return self.left <= 0

    async def __call__(self) -> None:
        """Counts an act; nothing goes on from here when the process is gone."""
        if self.burn():
            await asyncio.Event().wait()


class FusedStore:
    """The control store as one runner has it: its journal entries count."""

    def __init__(self, store: ControlStorePort, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """Commits, unless the runner has ended; a runner without its journal does nothing more."""
        dead = self._fuse.left <= 0 or (not self._fuse.behind and self._fuse.burn())
        if not dead:
            self._store.commit(changes, events)
            dead = self._fuse.behind and self._fuse.burn()
        if dead:
            raise VersionConflictError("the runner has ended")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class FusedShard:
    """A shard whose writes count, for one runner."""

    def __init__(self, shard: ShardPort, fuse: Fuse) -> None:
        self._shard = shard
        self._fuse = fuse

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits, unless the runner has ended; behind a late fuse, the answer is lost."""
        if not self._fuse.behind:
            await self._fuse()
        written = await self._shard.write_all(partition, submissions)
        if self._fuse.behind:
            await self._fuse()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


class FusedHooks(RememberedHooks):
    """A webhook whose messages count."""

    fuse: Fuse

    async def post(self, url: str, key: str, body: bytes, timeout_s: float) -> None:
        """Sends, unless the runner has ended."""
        if not self.fuse.behind:
            await self.fuse()
        await super().post(url, key, body, timeout_s)
        if self.fuse.behind:
            await self.fuse()


class FusedControl(MemoryControlStore):
    """A store whose next commits fail, as when it is away."""

    failures = 0

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """Commits, or says that it is away."""
        if self.failures and any(change.tenant == "/runs" for change in changes):
            self.failures -= 1
            raise UnavailableError("the store is away")
        super().commit(changes, events)


def _definition(other: str, clash: bool) -> Any:
    steps: list[dict[str, Any]] = [
        {"kind": "retrieve", "id": "facts", "filter": "tags:fact"},
        {"kind": "retrieve", "id": "old", "ids": ["summary"]},
        {"kind": "update", "id": "write", "of": "old", "text": "{facts.count} facts"},
        {"kind": "tag", "id": "mark", "of": "old", "tags": ["done"]},
        {"kind": "archive", "id": "away", "of": "old"},
        {"kind": "create", "id": "note", "text": "{item.id}", "each": "facts", "tags": ["note"]},
        {"kind": "delete", "id": "drop", "of": "facts"},
        {
            "kind": "create",
            "id": "far",
            "text": "far",
            "namespace": other,
            "memory_id": "taken" if clash else "far-1",
        },
        {"kind": "publish", "id": "tell", "url": HOOK, "text": "x"},
    ]
    return read_definition({"name": "p", "steps": steps})


async def _drive(
    memos: InProcess, hooks: FusedHooks, fuse: Fuse, spec: Any, patience_s: float = 60.0
) -> Run | None:
    """Runs one incarnation: until the run has ended, or the fuse has blown."""
    hooks.fuse = fuse
    runner = runner_over(
        memos.backend,
        FusedStore(memos.control, fuse),  # type: ignore[arg-type]
        hooks=hooks,
        shard=lambda name: FusedShard(memos.crew.shard(name), fuse),  # type: ignore[arg-type,return-value]
    )
    try:
        try:
            run = await runner.start(CONTEXT, spec, {}, "k")
        except (VersionConflictError, UnavailableError):
            # Told to the caller, and nothing was begun.
            return None

        async def look() -> Run:
            while True:
                try:
                    found = await runner.run(CONTEXT, run.id)
                except NotFoundError:
                    # This runner has let go of it.
                    await fuse.blown.wait()
                    continue
                if found.state in ENDED:
                    return found
                await asyncio.sleep(0.001)

        looking = asyncio.create_task(look())
        blown = asyncio.create_task(fuse.blown.wait())
        await asyncio.wait([looking, blown], return_when="FIRST_COMPLETED", timeout=patience_s)
        ended = looking.result() if looking.done() else None
        looking.cancel()
        blown.cancel()
        return ended
    finally:
        await runner.close()


async def _check(memos: InProcess, other: str, state: RunState, hooks: FusedHooks) -> None:
    service, admin = memos.service, memos.administrator
    home = (await service.list(admin, include_deleted=True, limit=100)).memories
    far = (await service.list(admin, other, include_deleted=True, limit=100)).memories
    by_id = {memory.id: memory for memory in (*home, *far)}
    notes = [one for one in home if "note" in one.tags and one.state in LIVE]
    facts = [by_id[id].state.value for id in ("f1", "f2")]
    summary = by_id["summary"]
    if state is RunState.DONE:
        assert (summary.text, "done" in summary.tags) == ("2 facts", True)
        assert summary.state is State.ARCHIVED
        assert sorted(note.text for note in notes) == ["f1", "f2"]
        assert facts == ["deleted", "deleted"] and by_id["far-1"].text == "far"
        assert {key for _, key, _ in hooks.sent} == {hooks.sent[0][1]}
    else:
        assert state is RunState.FAILED
        assert (summary.text, "done" in summary.tags) == ("nothing yet", False)
        assert summary.state is State.ACTIVATED
        assert notes == [] and facts == ["activated", "activated"]
        assert "far-1" not in by_id and by_id["taken"].text == "there"
        assert hooks.sent == []


async def _scenario(fuses: list[tuple[int, bool]], clash: bool, away: int) -> None:
    control, loop = FusedControl(), asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        contents = ArchivedContents(lambda: BlobStore.local(Path(folder) / "blobs"))
        store = MemoryRecordStore(contents)
        async with in_process(Path(folder), control=control, store=store) as memos:
            home = partition_of("default", "user:admin", 0, 4)
            names = [f"user:admin/{n}" for n in range(60)]
            # Home commits first, so that a clash elsewhere has something to undo.
            other = next(one for one in names if partition_of("default", one, 0, 4) > home)
            await memos.namespace(other)
            first = [NewMemory(id=id, text=id, tags=["fact"]) for id in ("f1", "f2")]
            first.append(NewMemory(id="summary", text="nothing yet"))
            await memos.service.add(memos.administrator, first)
            taken = NewMemory(id="taken", text="there")
            await memos.service.add(memos.administrator, [taken], other)
            control.failures = 0
            hooks, spec = FusedHooks((HOOK,)), _definition(other, clash)
            ended: Run | None = None
            for left, behind in fuses:
                ended = await _drive(memos, hooks, Fuse(left, behind, asyncio.Event(), loop), spec)
                if ended is not None:
                    break
                control.failures = away
            if ended is None:
                control.failures = 0
                last = Fuse(1_000_000, False, asyncio.Event(), loop)
                ended = await _drive(memos, hooks, last, spec)
            assert ended is not None
            assert ended.state is (RunState.FAILED if clash else RunState.DONE), ended.message
            await _check(memos, other, ended.state, hooks)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 19), st.booleans()), max_size=3),
    st.booleans(),
    st.integers(0, 1),
)
def test_PIPE_2_all_or_nothing_whatever_dies_when(
    fuses: list[tuple[int, bool]], clash: bool, away: int
) -> None:
    asyncio.run(_scenario(fuses, clash, away))


@pytest.mark.parametrize("clash", [False, True], ids=["commits", "is undone"])
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_PIPE_2_a_crash_at_each_durable_act(clash: bool, behind: bool) -> None:
    for act in range(1, 20):
        asyncio.run(_scenario([(act, behind)], clash, 0))
